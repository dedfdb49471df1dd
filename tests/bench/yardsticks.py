"""What the machine itself can do, beside which the figures are to be read: machines in a cloud swing by two within minutes."""

from __future__ import annotations

import asyncio
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
_METHOD = "/bench.Echo/PingPong"


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


async def ping_pong_ms(count: int) -> list[float]:
    """Time a small message to another process and back on one gRPC stream."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.yardsticks"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream: Any = channel.stream_stream  # the stubs ask for arguments that have defaults
            call = stream(_METHOD)()

            async def there_and_back() -> None:
                await call.write(b"ping")
                await call.read()

            for _ in range(50):
                await there_and_back()
            times = [await _timed_ms(there_and_back()) for _ in range(count)]
            await call.done_writing()
            return times
    finally:
        server.terminate()
        await server.wait()


def spawn_ms(count: int) -> list[float]:
    """Time starting `true` by posix_spawn and waiting for its end, one after another."""
    times = []
    for _ in range(count):
        began = time.perf_counter_ns()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


async def measure(database_url: str, *, quick: bool) -> dict[str, float]:
    """Answer all yardsticks: medians in milliseconds."""
    count = 50 if quick else 500
    return {
        "commit_with_fsync_p50_ms": round(statistics.median(await commit_ms(database_url, count)), 3),
        "grpc_stream_ping_pong_p50_ms": round(statistics.median(await ping_pong_ms(count)), 3),
        "posix_spawn_true_p50_ms": round(statistics.median(spawn_ms(count)), 3),
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


async def _serve() -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"PingPong": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
