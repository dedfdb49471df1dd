"""What operators ask of the scheduler: counts, executors, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.metrics import Gauge, render_prometheus
from foliot.v1 import system_pb2, task_pb2, worker_pb2
from foliot_gateway.apis.queue import from_contract, to_contract
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.exposition import merge_expositions
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply

METRICS_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of the Prometheus text format."""

_ACTIVE: Final = (worker_pb2.WORKER_STATE_ACTIVE, worker_pb2.WORKER_STATE_IDLE)
_PAGE_SIZE: Final = 1_000
_REFUSED: Final = frozenset({ErrorReason.UNAUTHENTICATED, ErrorReason.PERMISSION_DENIED})

_SCHEDULER_UP = Gauge(
    "foliot_gateway_scheduler_up",
    unit="schedulers",
    description="1 if a scheduler answered when metrics were last asked for, else 0: its own are missing then.",
)


async def get_stats(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/admin/stats`."""
    backend = call.backend
    counted, busy, idle = await asyncio.gather(
        backend.ask(backend.tasks.CountTasks, task_pb2.CountTasksRequest(filter=to_contract.any_job())),
        backend.ask(backend.workers.ListWorkers, _executors(worker_pb2.WORKER_STATE_ACTIVE, page_size=1)),
        backend.ask(backend.workers.ListWorkers, _executors(worker_pb2.WORKER_STATE_IDLE, page_size=1)),
    )
    return Reply(status=200, body=from_contract.stats(counted.counts, active_executors=busy.total + idle.total))


async def list_executors(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/admin/executors`."""
    found = {worker.id: worker for state in _ACTIVE async for worker in _all_executors(call.backend, state)}
    return Reply(status=200, body=[from_contract.executor(found[name]) for name in sorted(found)])


async def _all_executors(backend: Backend, state: worker_pb2.WorkerState.ValueType) -> AsyncIterator[worker_pb2.Worker]:
    offset = 0
    while True:
        page = await backend.ask(backend.workers.ListWorkers, _executors(state, page_size=_PAGE_SIZE, offset=offset))
        for worker in page.workers:
            yield worker
        offset += len(page.workers)
        if len(page.workers) < _PAGE_SIZE:
            return


def _executors(state: worker_pb2.WorkerState.ValueType, *, page_size: int, offset: int = 0) -> worker_pb2.ListWorkersRequest:
    return worker_pb2.ListWorkersRequest(
        state=state, executors_only=True, with_tasks=page_size > 1, page_size=page_size, offset=offset
    )


async def get_metrics(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/metrics`: the gateway's own, and the scheduler's if one answers."""
    texts: dict[str, str] = {}
    try:
        texts["scheduler"] = (await call.backend.ask(call.backend.system.GetMetrics, system_pb2.GetMetricsRequest())).text
    except FoliotError as error:
        if error.reason in _REFUSED:
            raise
    _SCHEDULER_UP.set(len(texts))
    texts["gateway"] = render_prometheus()
    return Reply(status=200, body=merge_expositions(texts), media_type=METRICS_MEDIA_TYPE)
