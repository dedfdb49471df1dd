"""`python -m tests.bench.rolling`: all replicas restarted one after the other while callers go on.

Three replicas, two workers and a gateway; `--rate` calls a second, three quarters by gRPC clients and a quarter over HTTP. In
each round every replica is asked to end (SIGTERM), and started again once it has ended. Every call must be answered well, and
nothing may be lost or run twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from foliot.client import Client
from tests.bench.connection import Connection
from tests.bench.replicas import APP, Cluster, Load, Starts, judge, over_grpc, over_http
from tests.processes import Stack

CLIENTS: Final = 3
CONNECTIONS: Final = 64
"""To the gateway: enough for the calls of a second that all wait."""

WORKERS: Final = 2
CONCURRENCY: Final = 16


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the calls and of the tasks."""

    restarts: int
    seconds: float
    calls: int
    calls_per_s: float
    failed_calls: int
    failures: list[str]
    call_p50_ms: float
    call_p99_ms: float
    call_max_ms: float
    gap_max_ms: float
    """The longest time without the start of a function."""
    lost_tasks: int
    repeated_tasks: int
    leased_again: int

    @property
    def good(self) -> bool:
        """Whether nobody noticed anything."""
        return not (self.failed_calls or self.lost_tasks or self.repeated_tasks)


async def roll(folder: Path, *, rate: float, rounds: int, settle_s: float) -> Report:
    """Restart every replica in turn, so many times, under a load, and report.

    `settle_s` is how long to wait before each restart.
    """
    async with AsyncExitStack() as opened:
        starts = await opened.enter_async_context(Starts(folder))
        stack = opened.enter_context(Stack(folder, schedulers=3))
        stack.gateway_options = ("--rate-limit", "0")
        await asyncio.to_thread(stack.start, workers=0)
        for _ in range(WORKERS):
            await asyncio.to_thread(stack.start_worker, app=APP, concurrency=CONCURRENCY)
        cluster = Cluster(stack)
        clients = [await opened.enter_async_context(Client(stack.addresses)) for _ in range(CLIENTS)]
        connections: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            connections.put_nowait(await opened.enter_async_context(Connection(stack.http_url)))
        ways = [*map(over_grpc, clients), over_http(connections, starts.marks)]
        began, began_ns = time.monotonic(), time.monotonic_ns()
        async with Load(ways, rate) as load:
            for _ in range(rounds):
                for index in range(len(stack.schedulers)):
                    await asyncio.sleep(settle_s)
                    await cluster.stop(index)
                    await cluster.restart(index)
            await asyncio.sleep(settle_s)
            ended_ns = time.monotonic_ns()
        seconds = time.monotonic() - began
        verdict = await judge(stack.database_url, load, starts)
    times = sorted(load.latencies_ms)
    return Report(
        restarts=3 * rounds,
        seconds=round(seconds, 1),
        calls=len(times),
        calls_per_s=round(len(times) / seconds, 1),
        failed_calls=len(load.failures),
        failures=load.failures[:5],
        call_p50_ms=round(times[len(times) // 2], 1),
        call_p99_ms=round(times[int(len(times) * 0.99)], 1),
        call_max_ms=round(times[-1], 1),
        gap_max_ms=round(starts.largest_gap_ms(began_ns, ended_ns), 1),
        lost_tasks=verdict.missing,
        repeated_tasks=verdict.repeated,
        leased_again=verdict.leased_again,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Restart everything and print the report; answers 0, or 1 where anybody noticed anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rolling", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="calls a second (default 500)")
    parser.add_argument("--rounds", type=int, default=2, help="how often to restart each replica (default 2)")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds before each restart (default 2)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="foliot-rolling-", ignore_cleanup_errors=True) as folder:
        report = asyncio.run(roll(Path(folder), rate=options.rate, rounds=options.rounds, settle_s=options.settle))
    print(json.dumps(asdict(report), indent=1))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
