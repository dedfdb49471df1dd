"""Celery as it does best: Redis as broker and for results, two worker processes, 64 tasks prefetched for each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from celery import Celery, signals
from celery.worker import state

app = Celery("peer", broker=os.environ["PEER_REDIS_URL"], backend=os.environ["PEER_REDIS_URL"])
app.conf.update(
    worker_prefetch_multiplier=64,
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=10,
)


def tell(*words: object) -> None:
    """Write one line at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@app.task
def noop() -> None:
    """Do nothing."""


@app.task
def stamp(number: int) -> None:
    """Tell when it started."""
    tell("started", number, time.monotonic_ns())


@app.task
def true() -> bytes:
    """Run a command and keep its output."""
    return subprocess.run(["true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout


TASKS = {"noop": noop, "stamp": stamp, "true": true}


def submit() -> None:
    """Do what the lines of standard input ask for."""
    tell("ready")
    for line in sys.stdin:
        match line.split():
            case ["bulk", name, count, _]:
                began = time.monotonic_ns()
                with app.pool.acquire() as connection, app.amqp.Producer(connection) as producer:
                    for _ in range(int(count)):
                        TASKS[name].apply_async(producer=producer)
                tell("did", began, time.monotonic_ns())
            case ["one", number]:
                began = time.monotonic_ns()
                stamp.delay(int(number))
                tell("did", began, time.monotonic_ns())
            case ["pending"]:
                with app.connection_for_read() as connection:
                    tell("pending", connection.default_channel.client.llen("celery"))


def count(expected: int) -> None:
    """Tell of the first task, and of the end of the last of so many as are expected, whose result is then kept."""
    while not state.all_total_count[0]:
        time.sleep(0.001)
    tell("first", time.monotonic_ns())
    while state.all_total_count[0] < expected or state.active_requests or state.reserved_requests:
        time.sleep(0.002)
    tell("reached", time.monotonic_ns())


if __name__ == "__main__":
    if sys.argv[1] == "submit":
        submit()
    else:
        signals.worker_ready.connect(lambda **_: tell("ready"), weak=False)
        threading.Thread(target=count, args=(int(sys.argv[3]),), daemon=True).start()
        flags = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        app.worker_main(["worker", "--loglevel=ERROR", "--pool=prefork", "--concurrency=2", *flags])
