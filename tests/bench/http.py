"""The measurements through a gateway: the queue of binary jobs, and single tasks beside the same over gRPC."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from foliot.v1 import spec_pb2, task_pb2, worker_pb2
from tests.bench.connection import Connection
from tests.bench.measurements import BULK, BULKS_IN_FLIGHT, Bench, CpuMeter, Figures, percentile

EXECUTORS: Final = 16
CALLERS: Final = 32

_JOB: Final = {
    "type": "bench",
    "binary_url": "https://example.com/binary",
    "binary_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "priority": "background",
}


async def queue(bench: Bench, size: int) -> Figures:
    """Submit jobs in bulk, then have executors claim and complete them."""
    url = await bench.stack.start_gateway()
    body = json.dumps([_JOB] * min(BULK, size)).encode()
    bulks = iter(range(0, size, BULK))

    async def submit(connection: Connection) -> None:
        for _ in bulks:
            await connection.ask("POST", "/api/v1/jobs/bulk", body, 201)

    began = time.monotonic()
    await _with_connections(url, BULKS_IN_FLIGHT, submit)
    submitted = time.monotonic()
    claims_ms: list[float] = []
    ends_ms: list[float] = []
    names = iter(range(EXECUTORS))

    async def work(connection: Connection) -> None:
        name = f"executor-{next(names)}"
        claim = json.dumps({"executor_id": name, "executor_ip": "127.0.0.1"}).encode()
        done = json.dumps({"executor_id": name, "stdout": "done", "exit_code": 0}).encode()
        while True:
            asked_ns = time.monotonic_ns()
            status, content = await connection.send("POST", "/api/v1/jobs/claim", claim)
            claimed_ns = time.monotonic_ns()
            if status == 204:
                return
            job_id = json.loads(content)["id"]
            await connection.ask("PUT", f"/api/v1/jobs/{job_id}/complete", done, 200)
            claims_ms.append((claimed_ns - asked_ns) / 1e6)
            ends_ms.append((time.monotonic_ns() - claimed_ns) / 1e6)

    meter = CpuMeter(bench.stack)
    worked = time.monotonic()
    await _with_connections(url, EXECUTORS, work)
    took = time.monotonic() - worked
    used = meter.figures(size)
    repeated = await bench.ledger.check(size)
    tenth = max(2, len(claims_ms) // 10)
    return {
        "submitted_per_s": size / (submitted - began),
        "jobs_per_s": size / took,
        "claim_p50_ms": percentile(claims_ms, 50),
        "claim_p99_ms": percentile(claims_ms, 99),
        "claim_first_tenth_p50_ms": percentile(claims_ms[:tenth], 50),
        "claim_last_tenth_p50_ms": percentile(claims_ms[-tenth:], 50),
        "complete_p50_ms": percentile(ends_ms, 50),
        "repeated_tasks": repeated,
        **used,
    }


async def tasks_http(bench: Bench, size: int) -> Figures:
    """Submit single tasks through the gateway, and as a yardstick over gRPC; an executor then ends them all."""
    stack = bench.stack
    url = await stack.start_gateway()
    stack.look_at_memory()
    await stack.worker.stop()
    spec = spec_pb2.TaskSpec(name="true", command=spec_pb2.CommandWork(line="true"))
    request = task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(spec=spec))

    async def over_grpc(_: int) -> None:
        await stack.client.tasks.SubmitTask(request)

    body = json.dumps({"name": "true", "command": "true"}).encode()
    async with AsyncExitStack() as opened:
        connections = [await opened.enter_async_context(Connection(url)) for _ in range(CALLERS)]

        async def over_http(caller: int) -> None:
            await connections[caller].ask("POST", "/api/tasks", body, 201)

        await _timed(over_grpc, CALLERS)  # to warm up
        await _timed(over_http, CALLERS)
        grpc_per_s, grpc_ms = await _timed(over_grpc, size)
        meter = CpuMeter(stack)
        http_per_s, http_ms = await _timed(over_http, size)
        used = meter.figures(size)
    await _end_all(bench)
    await stack.worker.start()
    repeated = await bench.ledger.check(2 * size + 2 * CALLERS)
    return {
        "tasks_per_s": http_per_s,
        "task_p50_ms": percentile(http_ms, 50),
        "task_p99_ms": percentile(http_ms, 99),
        "grpc_tasks_per_s": grpc_per_s,
        "grpc_task_p99_ms": percentile(grpc_ms, 99),
        "repeated_tasks": repeated,
        **used,
    }


async def _timed(call: Callable[[int], Awaitable[None]], count: int) -> tuple[float, list[float]]:
    """Make so many calls, CALLERS at once; answer calls a second, and how long each took in milliseconds."""
    numbers = iter(range(count))
    times_ms: list[float] = []

    async def caller(number: int) -> None:
        for _ in numbers:
            began_ns = time.monotonic_ns()
            await call(number)
            times_ms.append((time.monotonic_ns() - began_ns) / 1e6)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(caller(number))
    return count / (time.monotonic() - began), times_ms


async def _end_all(bench: Bench) -> None:
    """Claim and complete what waits, as executors do."""
    workers = bench.stack.client.workers

    async def executor(name: str) -> None:
        claim = worker_pb2.ClaimTaskRequest(executor_id=name, kinds=["command"])
        while (answer := await workers.ClaimTask(claim)).HasField("task"):
            await workers.CompleteTask(worker_pb2.CompleteTaskRequest(task_id=answer.task.id, executor_id=name, exit_code=0))

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(executor(f"drain-{number}"))


async def _with_connections(url: str, count: int, use: Callable[[Connection], Awaitable[None]]) -> None:
    async def one() -> None:
        async with Connection(url) as connection:
            await use(connection)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
