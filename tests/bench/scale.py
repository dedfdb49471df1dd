"""What is large: a run of 100,000 tasks, a million queued ones, 60,000 due times in one second; and a worker that is killed.

Each has a stack of its own. What is counted from when to when: README.md.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

from foliot.v1 import job_pb2, task_pb2
from tests.bench.graphs import last, node, run_once
from tests.bench.measurements import Bench, Figures, function, submit_bulk, within
from tests.bench.stack import peak_kib, resident_kib
from tests.bench.stamps import EXPECTING, LATE_MAX, LATE_P50, LATE_P99, REACHED

LEVELS: Final = 300
"""Of the large run."""

CREATED_AT_ONCE: Final = 64
_SOON_S: Final = 3
"""Between the creation of the last schedule and the first due time."""

_HELD: Final = 16
"""Tasks in the middle of which the worker is killed: as many as it runs at once."""

_CREATED_PER_S: Final = 250
"""Schedules that even a slow machine creates in a second, so that the first due time lies behind the last creation."""

_PRIORITY_FIRST: Final = 10


async def large_run(bench: Bench, size: int) -> Figures:
    """Run a graph of so many tasks in 300 levels, each task waiting for two of the level before."""
    width = max(2, size // LEVELS)
    keys = [[f"{level}-{place}" for place in range(width)] for level in range(max(2, size // width))]
    tasks = [node(key, []) for key in keys[0]]
    for above, here in itertools.pairwise(keys):
        tasks += [node(key, [above[place], above[(place + 1) % width]]) for place, key in enumerate(here)]
    tasks[-1] = last(tasks[-1].dependencies)
    began = time.monotonic()
    spec = job_pb2.JobSpec(name="large", tasks=tasks)
    job_id = (await bench.stack.client.jobs.CreateJob(job_pb2.CreateJobRequest(spec=spec))).job.id
    created = time.monotonic()
    seconds = await run_once(bench, job_id)
    await bench.ledger.check(len(tasks))
    peak = peak_kib(bench.stack.scheduler.pid) / 1024
    return {"tasks": len(tasks), "create_seconds": created - began, "seconds": seconds, "scheduler_peak_mib": peak}


async def backlog(bench: Bench, size: int) -> Figures:
    """Queue so many tasks, kill the scheduler and start it again, and let a worker at them until it has run a tenth of them."""
    stack = bench.stack
    await stack.worker.stop()
    some = max(1, size // 20)
    request = task_pb2.SubmitTaskRequest(task=function("bench.expect", str(some), priority=_PRIORITY_FIRST))
    await stack.client.tasks.SubmitTask(request)
    began = time.monotonic()
    await submit_bulk(bench, function("bench.noop"), size - 1)
    queued = time.monotonic()
    resident = resident_kib(stack.scheduler.pid) / 1024
    await stack.scheduler.kill()
    expecting, reached = stack.stamps.expect(EXPECTING), stack.stamps.expect(REACHED)
    restarted_ns = time.monotonic_ns()
    starting = asyncio.create_task(stack.scheduler.start())
    await stack.worker.start()
    await starting
    first_ns = await within(expecting)
    reached_ns = await within(reached)
    return {
        "queued_per_s": (size - 1) / (queued - began),
        "scheduler_mib": resident,
        "restarted_scheduler_peak_mib": peak_kib(stack.scheduler.pid) / 1024,
        "restart_to_first_lease_s": (first_ns - restarted_ns) / 1e9,
        "dispatched_per_s": some / (reached_ns - first_ns) * 1e9,
    }


async def due_at_once(bench: Bench, size: int) -> Figures:
    """Have so many schedules fall due in one second."""
    return await _due(bench, size, over_s=1)


async def due_over_a_minute(bench: Bench, size: int) -> Figures:
    """Have so many schedules fall due over a minute; few of them over a shorter time."""
    return await _due(bench, size, over_s=min(60, max(1, size // 50)))


async def _due(bench: Bench, size: int, *, over_s: int) -> Figures:
    stack = bench.stack
    expecting = stack.stamps.expect(EXPECTING)
    await stack.client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=function("bench.expect", str(size))))
    await within(expecting)
    late = [stack.stamps.expect(number) for number in (LATE_P50, LATE_P99, LATE_MAX)]
    began = time.monotonic()
    first_due = int(time.time()) + size // _CREATED_PER_S + _SOON_S
    slots = asyncio.Semaphore(CREATED_AT_ONCE)

    async def create(due_s: int) -> None:
        at = time.gmtime(due_s)
        schedule = job_pb2.Schedule(cron=f"{at.tm_sec} {at.tm_min} {at.tm_hour} {at.tm_mday} {at.tm_mon} *", timezone="UTC")
        task = job_pb2.JobTask(key="late", spec=function("bench.late", str(due_s)).spec)
        async with slots:
            spec = job_pb2.JobSpec(name="due", tasks=[task], schedule=schedule)
            await stack.client.jobs.CreateJob(job_pb2.CreateJobRequest(spec=spec))

    async with asyncio.TaskGroup() as group:
        for number in range(size):
            group.create_task(create(first_due + number % over_s))
    created = time.monotonic()
    resident = resident_kib(stack.scheduler.pid) / 1024
    p50, p99, most = [await asyncio.wait_for(one, size / _CREATED_PER_S + over_s + 60) / 1e6 for one in late]
    await bench.ledger.check(size + 1)
    return {
        "created_per_s": size / (created - began),
        "scheduler_mib": resident,
        "late_p50_ms": p50,
        "late_p99_ms": p99,
        "late_max_ms": most,
    }


async def killed_worker(bench: Bench, size: int) -> Figures:
    """Kill a worker in the midst of its tasks, `size` times, and see when each task runs on another."""
    stack = bench.stack
    worst = []
    for _ in range(size):
        numbers = range(_HELD)
        started = [stack.stamps.expect(number) for number in numbers]
        ids = []
        for number in numbers:
            request = task_pb2.SubmitTaskRequest(task=function("bench.hold", str(number)))
            ids.append((await stack.client.tasks.SubmitTask(request)).task.id)
        for one in started:
            await within(one)
        again = [stack.stamps.expect(number) for number in numbers]
        other = await stack.start_second_worker()
        killed_ns = time.monotonic_ns()
        await stack.worker.kill()
        worst.append((max([await within(one) for one in again]) - killed_ns) / 1e9)
        await stack.client.tasks.CancelTasks(task_pb2.CancelTasksRequest(task_ids=ids))
        await bench.ledger.leave_out()
        stack.worker, stack.second_worker = other, None
    return {"all_run_again_after_max_s": max(worst)}
