"""The measurements of runs: a chain, a fan, diamonds. What is counted from when to when: README.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from foliot.v1 import job_pb2
from tests.bench.measurements import Bench, Figures, function, within

if TYPE_CHECKING:
    from tests.bench.stack import Stack

_LAST: Final = 1_000_000
"""The number that the last task of a graph stamps."""


async def chain(bench: Bench, size: int) -> Figures:
    """Run tasks of which each waits for the one before."""
    links = [node(f"link-{i}", [f"link-{i - 1}"] if i else []) for i in range(size - 1)]
    return {"seconds": await _run_graph(bench, [*links, last([links[-1].key])])}


async def fan(bench: Bench, size: int) -> Figures:
    """Run one task, then many side by side, then one that waits for all of them."""
    blades = [node(f"blade-{i}", ["first"]) for i in range(size)]
    return {"seconds": await _run_graph(bench, [node("first", []), *blades, last([blade.key for blade in blades])])}


async def diamonds(bench: Bench, size: int) -> Figures:
    """Start many runs of a diamond at once."""
    tasks = [node("top", []), node("left", ["top"]), node("right", ["top"]), node("bottom", ["left", "right"])]
    job_id = await _create(bench.stack, tasks)
    await _run_together(bench, job_id, 1)
    await bench.ledger.check(len(tasks))
    seconds = await _run_together(bench, job_id, size)
    await bench.ledger.check(size * len(tasks))
    return {"seconds": seconds, "runs_per_s": size / seconds}


async def _run_together(bench: Bench, job_id: str, count: int) -> float:
    """Start runs of a job at once; answers the seconds until all are recorded."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_trigger(bench.stack, job_id))
    await bench.ledger.wait_runs_recorded()
    return time.monotonic() - began


async def _run_graph(bench: Bench, tasks: Sequence[job_pb2.JobTask]) -> float:
    """Run a job once to warm up and once to measure; answers the seconds."""
    job_id = await _create(bench.stack, tasks)
    await run_once(bench, job_id)
    await bench.ledger.check(len(tasks))
    seconds = await run_once(bench, job_id)
    await bench.ledger.check(len(tasks))
    return seconds


async def run_once(bench: Bench, job_id: str) -> float:
    """Start a run; answers the seconds until it is recorded."""
    started = bench.stack.stamps.expect(_LAST)
    began = time.monotonic()
    await _trigger(bench.stack, job_id)
    # Once the last task has started only the record of its end is open, and that is worth asking PostgreSQL for.
    await within(started)
    await bench.ledger.wait_runs_recorded()
    return time.monotonic() - began


async def _create(stack: Stack, tasks: Sequence[job_pb2.JobTask]) -> str:
    request = job_pb2.CreateJobRequest(spec=job_pb2.JobSpec(name="bench", tasks=tasks))
    return (await stack.client.jobs.CreateJob(request)).job.id


async def _trigger(stack: Stack, job_id: str) -> None:
    await stack.client.jobs.TriggerJob(job_pb2.TriggerJobRequest(job_id=job_id))


def node(key: str, dependencies: Sequence[str]) -> job_pb2.JobTask:
    """Make a no-op task of a job."""
    return job_pb2.JobTask(key=key, dependencies=dependencies, spec=function("bench.noop").spec)


def last(dependencies: Sequence[str]) -> job_pb2.JobTask:
    """Make the task that tells that it started."""
    return job_pb2.JobTask(key="last", dependencies=dependencies, spec=function("bench.stamp", str(_LAST)).spec)
