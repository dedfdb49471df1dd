from __future__ import annotations

import threading

from foliot_worker.executors.threads import Threads


def test_threads_are_started_as_needed_and_used_again() -> None:
    threads = Threads(2, name="tested")
    names: list[str] = []
    done = threading.Semaphore(0)

    def note() -> None:
        names.append(threading.current_thread().name)
        done.release()

    for _ in range(20):
        threads.submit(note)
        done.acquire()
    assert set(names) <= {"tested-1", "tested-2"}
    threads.close()


def test_one_that_is_stuck_can_be_replaced() -> None:
    threads = Threads(1, name="tested")
    release, ran = threading.Event(), threading.Event()

    def stick() -> None:
        release.wait()

    threads.submit(stick)
    threads.replace_one()
    threads.submit(ran.set)
    assert ran.wait(30)
    release.set()
    threads.close()
