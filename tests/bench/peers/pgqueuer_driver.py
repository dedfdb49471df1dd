"""PgQueuer as it does best: bulk inserts, batches of 1,000, uvloop except where commands are spawned."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

URL = os.environ["PEER_DATABASE_URL"]


def tell(*words: object) -> None:
    """Write one line at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def submit() -> None:
    """Do what the lines of standard input ask for."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(URL)))
    if not await queries.schema_is_installed():
        await queries.install()
    tell("ready")
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).split():
        match [word.decode() for word in line]:
            case ["bulk", name, count, size]:
                began = time.monotonic_ns()
                for first in range(0, int(count), int(size)):
                    some = min(int(size), int(count) - first)
                    await queries.enqueue([name] * some, [None] * some, [0] * some)
                tell("did", began, time.monotonic_ns())
            case ["one", number]:
                began = time.monotonic_ns()
                await queries.enqueue("stamp", number.encode())
                tell("did", began, time.monotonic_ns())
            case ["pending"]:
                tell("pending", sum(row.count for row in await queries.queue_size()))


async def work(expected: int) -> None:
    """Run what is queued; tell of the first no-op, and of the last of so many as are expected."""
    pool = await asyncpg.create_pool(URL, min_size=2, max_size=4)
    assert pool is not None
    peer = PgQueuer(AsyncpgPoolDriver(pool))
    ran = 0

    @peer.entrypoint("noop")
    async def noop(_: Job) -> None:
        nonlocal ran
        ran += 1
        if ran == 1:
            tell("first", time.monotonic_ns())
        if ran == expected:
            tell("reached", time.monotonic_ns())

    @peer.entrypoint("stamp")
    async def stamp(job: Job) -> None:
        assert job.payload is not None
        tell("started", job.payload.decode(), time.monotonic_ns())

    @peer.entrypoint("true")
    async def true(job: Job) -> None:
        child = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        await child.communicate()
        assert child.returncode == 0
        await noop(job)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, peer.shutdown.set)
    asyncio.get_running_loop().call_later(0.5, tell, "ready")
    await peer.run(batch_size=1000, dequeue_timeout=timedelta(seconds=5), max_concurrent_tasks=2000)


if __name__ == "__main__":
    if sys.argv[1] == "submit":
        asyncio.run(submit())
    elif sys.argv[2] == "commands":
        asyncio.run(work(int(sys.argv[3])))
    else:
        import uvloop

        uvloop.run(work(int(sys.argv[3])))
