"""A pool of threads that never keep the process from ending.

The standard library's pool joins its threads when the interpreter ends, so one handler that hangs would hang the exit; and
a thread that is lost cannot be replaced there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Threads:
    """At most `count` daemon threads, started as they are needed. `submit` is called from one thread only."""

    def __init__(self, count: int, *, name: str) -> None:
        self._count = count
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = 0
        # Released once for each thread that begins to wait for work.
        self._idle = threading.Semaphore(0)

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work`, which must not raise, as soon as a thread is free."""
        if not self._idle.acquire(blocking=False) and self._started < self._count:
            self._started += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        self._work.put(work)

    def replace_one(self) -> None:
        """Allow one thread more, in place of one that will not come back soon."""
        self._count += 1

    def close(self) -> None:
        """End the threads that wait; the others end with their work, or with the process."""
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            work()
            self._idle.release()
