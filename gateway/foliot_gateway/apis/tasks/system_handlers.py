"""What the operations on the system ask of the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from msgspec import UNSET, UnsetType

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2, system_pb2
from foliot_gateway.apis.tasks import system_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One
from foliot_gateway.apis.tasks.words import STATUS, TaskStatus
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import FieldFault, refuse
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply
from foliot_gateway.http.redis_health import RedisStatus
from foliot_gateway.http.times import required_moment, seconds, timestamp

HIGH_PRIORITY: Final = 8
NORMAL_PRIORITY: Final = 4
"""The lowest priorities of the documented bands: high 8-10, normal 4-7, low 1-3."""

PERIODS: Final = {
    "hour": (timedelta(minutes=1), 60),
    "day": (timedelta(hours=1), 24),
    "week": (timedelta(days=1), 7),
    "month": (timedelta(days=1), 30),
}
"""How long a point of each period lasts, and how many there are."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def get_status(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/system/status`."""
    backend = call.backend
    found, stats, redis = await asyncio.gather(
        backend.ask(backend.system.GetStatus, system_pb2.GetStatusRequest()), _stats(backend), call.redis.status()
    )
    components = _components(found, redis)
    unhealthy = "unhealthy" in {components.scheduler.status, components.database.status}
    degraded = "unhealthy" in {components.workers.status, components.redis.status}
    return Reply(
        status=200,
        body=One(
            data=shapes.SystemStatus(
                status="unhealthy" if unhealthy else "degraded" if degraded else "healthy",
                version=found.version,
                uptime=max(0, int((call.clock.now() - required_moment(found.started_at)).total_seconds())),
                components=components,
                task_stats=None if stats is None else _task_stats(stats),
                queue_depths=None if stats is None else _queue_depths(stats),
            )
        ),
    )


async def _stats(backend: Backend) -> system_pb2.GetStatsResponse | None:
    """Return the counts of the caller's work, None while PostgreSQL does not answer."""
    try:
        return await backend.ask(backend.system.GetStats, system_pb2.GetStatsRequest())
    except FoliotError as error:
        if error.reason is not ErrorReason.DATABASE_UNAVAILABLE:
            raise
        return None


def _components(found: system_pb2.GetStatusResponse, redis: RedisStatus) -> shapes.Components:
    connected = found.database == "connected"
    return shapes.Components(
        # This gateway answers, and a replica answered it, whether they have been counted yet or not.
        api_server=shapes.ApiServer(status="healthy", instance_count=max(1, found.gateways)),
        scheduler=shapes.Scheduler(
            status="healthy" if found.leader else "unhealthy",
            leader_id=_leader_id(found),
            instance_count=max(1, found.schedulers),
        ),
        workers=shapes.Workers(
            status="healthy" if found.workers_active + found.workers_idle else "unhealthy",
            active_count=found.workers_active,
            idle_count=found.workers_idle,
            offline_count=found.workers_offline,
        ),
        database=shapes.Database(
            status="healthy" if connected else "unhealthy", connection_count=found.database_connections if connected else 0
        ),
        redis=redis,
    )


def _leader_id(found: system_pb2.GetStatusResponse) -> str | None:
    if not found.leader:
        return None
    return found.leader if "@" in found.leader else f"{found.leader}@{found.leader_address}"


def _task_stats(stats: system_pb2.GetStatsResponse) -> shapes.TaskStats:
    live, ended = _by_status(stats.live), _by_status(stats.ended_today)
    return shapes.TaskStats(
        pending=live.get("pending", 0),
        running=live.get("running", 0),
        completed_today=ended.get("completed", 0),
        failed_today=ended.get("failed", 0),
    )


def _by_status(counts: Iterable[system_pb2.StateCount]) -> dict[TaskStatus, int]:
    found: dict[TaskStatus, int] = {}
    for one in counts:
        if one.state != spec_pb2.TASK_STATE_UNSPECIFIED:
            found[STATUS[one.state]] = found.get(STATUS[one.state], 0) + one.count
    return found


def _queue_depths(stats: system_pb2.GetStatsResponse) -> shapes.QueueDepths:
    high = sum(one.count for one in stats.waiting if one.priority >= HIGH_PRIORITY)
    low = sum(one.count for one in stats.waiting if one.priority < NORMAL_PRIORITY)
    return shapes.QueueDepths(
        high_priority=high, normal_priority=sum(one.count for one in stats.waiting) - high - low, low_priority=low
    )


async def get_metrics(call: Call[shapes.MetricsQuery, NoBody]) -> Reply:
    """`GET /api/system/metrics`."""
    wanted = _wanted(call.query.metrics)
    step, count = PERIODS[call.query.period]
    now = call.clock.now()
    last = now - (now - _EPOCH) % step
    first = last - step * (count - 1)
    request = system_pb2.GetRollupsRequest(
        start_at=timestamp(first), end_at=timestamp(last + step), step=Duration(seconds=int(step.total_seconds()))
    )
    points = (await call.backend.ask(call.backend.system.GetRollups, request)).points
    return Reply(
        status=200,
        body=shapes.MetricsAnswer(
            data=shapes.Metrics(
                task_completion_rate=_completions(points) if "task_completion_rate" in wanted else UNSET,
                error_rate=_points(points, _error_rate) if "error_rate" in wanted else UNSET,
                average_execution_time=_points(points, _run_time_s) if "average_execution_time" in wanted else UNSET,
            ),
            meta=shapes.MetricsMeta(period=call.query.period, start_time=first, end_time=last),
        ),
    )


def _wanted(given: str | UnsetType) -> frozenset[str]:
    """Read the list of metrics; raises FaultError 400 for a name that is none of them."""
    if given is UNSET:
        return frozenset(shapes.METRICS)
    names = given.split(",")
    unknown = [name for name in names if name not in shapes.METRICS]
    if unknown:
        rule = f"must be a comma-separated list of {', '.join(shapes.METRICS)}"
        raise refuse(400, "invalid_parameter", f"`metrics`: {rule}; {unknown[0][:50]!r} is none.", FieldFault("metrics", rule))
    return frozenset(names)


def _completions(points: Iterable[system_pb2.RollupPoint]) -> list[shapes.IntegerPoint]:
    return [shapes.IntegerPoint(timestamp=required_moment(point.start_at), value=point.succeeded) for point in points]


def _points(points: Iterable[system_pb2.RollupPoint], value_of: Callable[[system_pb2.RollupPoint], float]) -> list[shapes.Point]:
    return [shapes.Point(timestamp=required_moment(point.start_at), value=value_of(point)) for point in points]


def _error_rate(point: system_pb2.RollupPoint) -> float:
    decided = point.succeeded + point.failed
    return round(point.failed / decided, 6) if decided else 0.0


def _run_time_s(point: system_pb2.RollupPoint) -> float:
    return round(seconds(point.run_time) / point.timed, 6) if point.timed else 0.0
