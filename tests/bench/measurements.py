"""The measurements of single tasks: latency, commands, throughput, drain. What is counted from when to when: README.md.

All take the stack and a size, and answer what they found once PostgreSQL has confirmed it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2, task_pb2
from tests.bench.ledger import Ledger
from tests.bench.stack import Stack
from tests.bench.stamps import EXPECTING, REACHED

BULK: Final = 1_000
"""Tasks in one SubmitTasks."""

BULKS_IN_FLIGHT: Final = 4
"""Bulk requests that are not answered yet: enough that the scheduler never waits for the next."""

_WARM_UP: Final = 20
_PAUSE_S: Final = 0.01
_LOOK_S: Final = 0.02
"""Between two looks for the end of the commands, which do not tell it: often enough for seconds, too seldom to disturb."""

_ANSWER_WITHIN_S: Final = 120.0
_PRIORITY_FIRST: Final = 10


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and who keeps count."""

    stack: Stack
    ledger: Ledger


Figures = dict[str, float]
"""Values by a name that ends in the unit."""

Measurement = Callable[[Bench, int], Awaitable[Figures]]


def function(name: str, input_json: str = "", *, priority: int = 0) -> task_pb2.NewTask:
    """Make a task that calls a function of the worker program."""
    work = spec_pb2.FunctionWork(function=name, input_json=input_json)
    return task_pb2.NewTask(spec=spec_pb2.TaskSpec(name=name, priority=priority, function=work))


async def latency(bench: Bench, size: int) -> Figures:
    """Submit single tasks to an idle system and see when each starts."""
    to_answer, to_start = [], []
    for number in range(_WARM_UP + size):
        request = task_pb2.SubmitTaskRequest(task=function("bench.stamp", str(number)))
        started = bench.stack.stamps.expect(number)
        began_ns = time.monotonic_ns()
        await bench.stack.client.tasks.SubmitTask(request)
        answered_ns = time.monotonic_ns()
        started_ns = await within(started)
        to_answer.append((answered_ns - began_ns) / 1e6)
        to_start.append((started_ns - began_ns) / 1e6)
        await asyncio.sleep(_PAUSE_S)  # until it is recorded and all is idle again
    await bench.ledger.check(_WARM_UP + size)
    return {
        "submit_to_start_p50_ms": percentile(to_start[_WARM_UP:], 50),
        "submit_to_start_p99_ms": percentile(to_start[_WARM_UP:], 99),
        "submit_to_answer_p50_ms": percentile(to_answer[_WARM_UP:], 50),
    }


class CpuMeter:
    """What each process uses of the CPU for one task, from when the meter is made."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = stack.cpu_s()

    def figures(self, tasks: int) -> Figures:
        """Answer microseconds a task, by process."""
        now = self._stack.cpu_s()
        return {f"{name}_cpu_us_per_task": (now[name] - self._before[name]) / tasks * 1e6 for name in now}


async def commands(bench: Bench, size: int) -> Figures:
    """Submit commands in bulk while they are worked."""
    spec = spec_pb2.TaskSpec(name="true", command=spec_pb2.CommandWork(line="true"))
    meter = CpuMeter(bench.stack)
    began = time.monotonic()
    await submit_bulk(bench, task_pb2.NewTask(spec=spec), size)
    await bench.ledger.wait_all_recorded(_LOOK_S)
    took = time.monotonic() - began
    used = meter.figures(size)
    repeated = await bench.ledger.check(size)
    return {"commands_per_s": size / took, "repeated_tasks": repeated, **used}


async def throughput(bench: Bench, size: int) -> Figures:
    """Submit no-ops in bulk while they are worked."""
    expecting = bench.stack.stamps.expect(EXPECTING)
    await bench.stack.client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=function("bench.expect", str(size))))
    await within(expecting)
    await bench.ledger.check(1)
    reached = bench.stack.stamps.expect(REACHED)
    meter = CpuMeter(bench.stack)
    began = time.monotonic()
    await submit_bulk(bench, function("bench.noop"), size)
    submitted = time.monotonic()
    # Only now is it worth asking PostgreSQL, which costs it time that the tasks need.
    await within(reached)
    await bench.ledger.wait_all_recorded()
    ended = time.monotonic()
    used = meter.figures(size)
    repeated = await bench.ledger.check(size)
    return {
        "tasks_per_s": size / (ended - began),
        "submitted_per_s": size / (submitted - began),
        "repeated_tasks": repeated,
        **used,
    }


async def drain(bench: Bench, size: int) -> Figures:
    """Queue no-ops while there is no worker, then start one."""
    stack = bench.stack
    stack.look_at_memory()
    await stack.worker.stop()
    await stack.client.tasks.SubmitTask(
        task_pb2.SubmitTaskRequest(task=function("bench.expect", str(size), priority=_PRIORITY_FIRST))
    )
    began = time.monotonic()
    await submit_bulk(bench, function("bench.noop"), size)
    queued = time.monotonic()
    expecting, reached = stack.stamps.expect(EXPECTING), stack.stamps.expect(REACHED)
    await stack.worker.start()
    first_ns = await within(expecting)
    meter = CpuMeter(stack)
    await within(reached)
    await bench.ledger.wait_all_recorded()
    ended = time.monotonic()
    used = meter.figures(size)
    repeated = await bench.ledger.check(size + 1)
    return {
        "tasks_per_s": size / (ended - first_ns / 1e9),
        "queued_per_s": size / (queued - began),
        "repeated_tasks": repeated,
        **used,
    }


async def submit_bulk(bench: Bench, task: task_pb2.NewTask, count: int) -> None:
    """Submit the same task `count` times in bulk; an overloaded scheduler is obeyed."""
    slots = asyncio.Semaphore(BULKS_IN_FLIGHT)

    async def submit(tasks: int) -> None:
        async with slots:
            while True:
                # Without a key of our own the client makes one for each call: the requests are not repetitions.
                request = task_pb2.SubmitTasksRequest(tasks=[task] * tasks)
                try:
                    answer = await bench.stack.client.tasks.SubmitTasks(request, timeout=_ANSWER_WITHIN_S)
                except FoliotError as error:
                    if error.reason is not ErrorReason.OVERLOADED:
                        raise
                    await asyncio.sleep(error.retry_after_s or _PAUSE_S)
                else:
                    assert len(answer.task_ids) == tasks
                    return

    async with asyncio.TaskGroup() as group:
        for first in range(0, count, BULK):
            group.create_task(submit(min(BULK, count - first)))


async def within(stamp: asyncio.Future[int]) -> int:
    """Wait for a stamp; raises TimeoutError."""
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        return await stamp


def percentile(values: list[float], percent: int) -> float:
    """Answer a percentile, counted inclusively."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
