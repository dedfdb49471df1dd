"""What the machine itself can do, beside which the figures are to be read: machines in a cloud swing by two within minutes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import grpc.aio

from tests.bench.stack import ROOT

_ADDITIONS = 2_000_000
_SPAWNED_AT_ONCE = 8
_CALLERS = 32
_PING_PONG = "/bench.Echo/PingPong"
_UNARY = "/bench.Echo/Once"


def calibrate_ms() -> float:
    """Time 2,000,000 additions in a Python loop, in milliseconds: about 38 on the machine that the targets are for."""
    began = time.perf_counter_ns()
    total = 0
    for _ in range(_ADDITIONS):
        total += 1
    assert total == _ADDITIONS
    return (time.perf_counter_ns() - began) / 1e6


async def commit_ms(database_url: str, count: int) -> list[float]:
    """Time inserts of one row, each a commit with fsync, on one connection."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bench_yardstick (number bigint)")
        statement = await connection.prepare("INSERT INTO bench_yardstick VALUES ($1)")
        times = [await _timed_ms(statement.fetch(number)) for number in range(count)]
        await connection.execute("DROP TABLE bench_yardstick")
        return times
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC server in another process that sends back what it gets, and a channel to it."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.yardsticks"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.terminate()
        await server.wait()


async def ping_pong_ms(channel: grpc.aio.Channel, count: int) -> list[float]:
    """Time a small message to another process and back on one gRPC stream."""
    stream: Any = channel.stream_stream  # the stubs ask for arguments that have defaults
    call = stream(_PING_PONG)()

    async def there_and_back() -> None:
        await call.write(b"ping")
        await call.read()

    for _ in range(50):
        await there_and_back()
    times = [await _timed_ms(there_and_back()) for _ in range(count)]
    await call.done_writing()
    return times


async def unary_per_s(channel: grpc.aio.Channel, count: int) -> float:
    """Make small unary calls to another process, 32 in flight."""
    unary: Any = channel.unary_unary
    call = unary(_UNARY)
    numbers = iter(range(count))

    async def caller() -> None:
        for _ in numbers:
            await call(b"ping")

    await call(b"ping")
    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return count / (time.perf_counter() - began)


async def spawned_per_s(count: int) -> float:
    """Start `true` by posix_spawn with a pipe for its output, several at a time, and await their ends by pidfds."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(_SPAWNED_AT_ONCE)

    async def one() -> None:
        async with slots:
            reading, writing = os.pipe()
            # What it inherits is its output alone: other pipes would stay open in it.
            pid = os.posix_spawn(  # noqa: ASYNC221 (what is timed)
                "/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)]
            )
            os.close(writing)
            pidfd = os.pidfd_open(pid)
            ended = loop.create_future()
            loop.add_reader(pidfd, ended.set_result, None)
            await ended
            loop.remove_reader(pidfd)
            os.read(reading, 1)
            os.waitpid(pid, 0)  # noqa: ASYNC222 (it has ended)
            os.close(pidfd)
            os.close(reading)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def measure(database_url: str, *, quick: bool) -> dict[str, float]:
    """Answer all yardsticks: medians in milliseconds, or how many a second."""
    count = 50 if quick else 500
    async with echo_server() as channel:
        ping_pong = statistics.median(await ping_pong_ms(channel, count))
        unary = await unary_per_s(channel, 10 * count)
    return {
        "commit_with_fsync_p50_ms": round(statistics.median(await commit_ms(database_url, count)), 3),
        "grpc_stream_ping_pong_p50_ms": round(ping_pong, 3),
        "grpc_unary_per_s": round(unary),
        "posix_spawn_true_per_s": round(await spawned_per_s(count)),
    }


async def machine(database_url: str) -> dict[str, object]:
    """Answer what the figures were taken on."""
    connection = await asyncpg.connect(database_url)
    try:
        settings = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "full_page_writes")
        postgres = {name: await connection.fetchval(f"SHOW {name}") for name in settings}
    finally:
        await connection.close()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("foliot", "grpcio", "protobuf", "asyncpg")},
        "postgres": postgres,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


async def _timed_ms(awaitable: Any) -> float:
    began = time.perf_counter_ns()
    await awaitable
    return (time.perf_counter_ns() - began) / 1e6


async def _echo(messages: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message


async def _echo_once(message: bytes, _: object) -> bytes:
    return message


async def _serve() -> None:
    server = grpc.aio.server()
    handlers = {"PingPong": grpc.stream_stream_rpc_method_handler(_echo), "Once": grpc.unary_unary_rpc_method_handler(_echo_once)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
