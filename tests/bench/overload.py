"""`python -m tests.bench.overload`: too much work for a real stack, and what becomes of it; figures as JSON on standard output.

First the capacity is measured: how many no-ops a second end while a few callers submit as fast as they are answered. Then one
project submits `--factor` times as many for `--minutes`, whatever it is told, while another project submits one task after
another and takes the time from its call to the task's first statement: before the load, during it and after it. At the end
PostgreSQL is asked: every task that was accepted has succeeded, and there is none that was refused. It exits 1 if that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from foliot.client import Client
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import task_pb2
from tests.bench.ledger import Ledger, LedgerError
from tests.bench.measurements import function
from tests.bench.stack import Stack, StackError

BULK: Final = 100
"""Tasks in one call: few enough that a refusal turns away little, enough that the load costs its maker little."""

CALIBRATE_S: Final = 10.0
CALIBRATE_CALLERS: Final = 8
QUIET_S: Final = 10.0
"""How long the probe goes on alone, before and after."""

TICK_S: Final = 0.02
CALLS_MAX: Final = 500
"""Calls of the load under way; what is due beyond them is counted as not offered."""

PROBE_EVERY_S: Final = 0.2
PROBE_WITHIN_S: Final = 60.0
MEMORY_EVERY_S: Final = 1.0
NORMAL_TIMES: Final = 3.0
"""A latency is normal that is at most so many times the 99th percentile of before."""

CALL_S: Final = 30.0


@dataclass(slots=True)
class Load:
    """What the load was told."""

    accepted: int = 0
    refused: int = 0
    not_offered: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """By reason; what became of such calls is not known."""
    told_s: set[float] = field(default_factory=set)
    """The delays that refusals told."""


@dataclass(slots=True)
class Probe:
    """The latencies of one project's tasks: when each was submitted, and how long it took to start."""

    seen: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0

    def between(self, begin: float, end: float) -> list[float]:
        """The latencies of tasks that were submitted in a span, in milliseconds."""
        return [took * 1e3 for at, took in self.seen if begin <= at < end]


async def submit(client: Client, count: int, load: Load) -> None:
    """Submit tasks in one call, and note what is told."""
    request = task_pb2.SubmitTasksRequest(tasks=[function("bench.noop")] * count)
    try:
        answer = await client.tasks.SubmitTasks(request, timeout=CALL_S)
    except FoliotError as error:
        if error.reason is ErrorReason.OVERLOADED:
            load.refused += count
            load.told_s.add(round(error.retry_after_s or 0.0, 1))
        else:
            load.failed[error.code.name] = load.failed.get(error.code.name, 0) + count
    else:
        load.accepted += len(answer.task_ids)


async def calibrate(client: Client, ledger: Ledger, load: Load) -> float:
    """Answer how many tasks a second end when a few callers submit as fast as they are answered."""

    async def caller(until: float) -> None:
        while time.monotonic() < until:
            before = load.refused
            await submit(client, BULK, load)
            if load.refused > before:
                await asyncio.sleep(PROBE_EVERY_S)

    began = time.monotonic()
    await asyncio.gather(*[caller(began + CALIBRATE_S) for _ in range(CALIBRATE_CALLERS)])
    await ledger.wait_all_recorded(TICK_S)
    return load.accepted / (time.monotonic() - began)


async def overload(client: Client, rate: float, seconds: float, load: Load) -> None:
    """Submit so many tasks a second for so long, whatever is told."""
    under_way: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - began) < seconds:
        while sent + BULK <= rate * elapsed:
            sent += BULK
            if len(under_way) >= CALLS_MAX:
                load.not_offered += BULK
                continue
            call = asyncio.create_task(submit(client, BULK, load), name="overload.submit")
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*under_way)


async def keep_probing(stack: Stack, client: Client, probe: Probe) -> None:
    """Submit one task after another, and take the time to its start; for ever."""
    number = 0
    while True:
        number += 1
        request = task_pb2.SubmitTaskRequest(task=function("bench.stamp", str(number)))
        started = stack.stamps.expect(number)
        began = time.monotonic()
        try:
            await client.tasks.SubmitTask(request, timeout=CALL_S)
        except FoliotError as error:
            if error.reason is not ErrorReason.OVERLOADED:
                raise
            probe.refused += 1
        else:
            async with asyncio.timeout(PROBE_WITHIN_S):
                probe.seen.append((began, await started / 1e9 - began))
        await asyncio.sleep(PROBE_EVERY_S)


async def keep_weighing(pid: int, sizes: list[float]) -> None:
    """Note a process's memory (resident set size) in MiB, every second; for ever."""
    process = psutil.Process(pid)
    while True:
        sizes.append(process.memory_info().rss / 1024**2)
        await asyncio.sleep(MEMORY_EVERY_S)


def spread(latencies: list[float]) -> dict[str, float]:
    """Answer the middle and the end of some latencies."""
    if len(latencies) < 2:
        return {"count": len(latencies)}
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {"count": len(latencies), "p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(latencies)}


def back_to_normal_s(probe: Probe, ended: float, before: list[float]) -> float:
    """Answer how long after the load's end the last latency was seen that is not normal; 0: none was."""
    normal_ms = NORMAL_TIMES * spread(before)["p99_ms"]
    late = [at + took - ended for at, took in probe.seen if at + took >= ended and took * 1e3 > normal_ms]
    return max(late, default=0.0)


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Do it all. Raises LedgerError where a task is missing, or is there that was refused."""
    options = ("--live-tasks-max", str(given.live_tasks_max))
    async with Stack(folder, concurrency=given.concurrency, scheduler_options=options) as stack:
        load_client = Client(stack.grpc, project="load", waits_out_overload=False)
        ledger = await Ledger.open(stack.database_url)
        warm_up, load, probe = Load(), Load(), Probe()
        sizes: list[float] = []
        try:
            capacity = await calibrate(load_client, ledger, warm_up)
            side = [
                asyncio.create_task(keep_probing(stack, Client(stack.grpc, waits_out_overload=False), probe)),
                asyncio.create_task(keep_weighing(stack.scheduler.pid, sizes)),
            ]
            began = time.monotonic()
            await asyncio.sleep(QUIET_S)
            loaded, weighed = time.monotonic(), len(sizes)
            await overload(load_client, capacity * given.factor, given.minutes * 60, load)
            ended = time.monotonic()
            during = sizes[weighed:]
            await asyncio.sleep(QUIET_S)
            await ledger.wait_all_recorded(PROBE_EVERY_S)
            drained = time.monotonic()
            await asyncio.sleep(QUIET_S)
            for task in side:
                task.cancel()
            for task in side:
                with suppress(asyncio.CancelledError):
                    await task
            accepted = warm_up.accepted + load.accepted + len(probe.seen)
            repeated = await ledger.check(accepted) if not load.failed else None
        finally:
            await ledger.close()
            await load_client.close()
    before = probe.between(began, loaded)
    half = len(during) // 2
    return {
        "capacity_tasks_per_s": capacity,
        "offered_tasks_per_s": (load.accepted + load.refused) / (ended - loaded),
        "seconds": ended - loaded,
        "accepted": load.accepted,
        "refused": load.refused,
        "not_offered": load.not_offered,
        "failed": load.failed,
        "delays_told_s": sorted(load.told_s),
        "ended_of_all_accepted": accepted,
        "repeated_tasks": repeated,
        "drained_after_s": drained - ended,
        "probe_refused": probe.refused,
        "probe_before": spread(before),
        "probe_during": spread(probe.between(loaded, ended)),
        "probe_after": spread(probe.between(ended, float("inf"))),
        "back_to_normal_after_s": back_to_normal_s(probe, ended, before),
        "scheduler_mib": {
            "at_first": during[0] if during else 0.0,
            "most_in_first_half": max(during[:half], default=0.0),
            "most_in_second_half": max(during[half:], default=0.0),
            "at_the_end": sizes[-1],
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; answers 0, or 1 where a task was lost or the stack failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload", description="Overload a real stack.")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the load goes on (default 20)")
    parser.add_argument("--factor", type=float, default=3.0, help="how many times the capacity is submitted (default 3)")
    parser.add_argument("--live-tasks-max", type=int, default=100_000, help="the scheduler's option (default 100,000)")
    parser.add_argument("--concurrency", type=int, default=16, help="tasks that the worker runs at once (default 16)")
    parser.add_argument("--output", type=Path, default=None, help="write the JSON to this file too")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="foliot-overload-"))
    try:
        figures = asyncio.run(measure(given, folder))
    except (LedgerError, StackError) as error:
        print(f"overload: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(figures, indent=2)
    print(text)
    if given.output is not None:
        given.output.write_text(text + "\n", encoding="utf-8")
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
