"""The JSON of the system's status and metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.tasks.envelopes import Shape
from foliot_gateway.http.redis_health import RedisStatus

ComponentStatus = Literal["healthy", "unhealthy"]
Count = Annotated[int, Meta(ge=0)]

METRICS: Final = ("task_completion_rate", "error_rate", "average_execution_time")
_METRIC: Final = "|".join(METRICS)


class ApiServer(Shape, frozen=True, kw_only=True):
    """The gateways."""

    status: ComponentStatus
    instance_count: Annotated[int, Meta(description="How many gateways are up: heard of within 30 s.", ge=1)]


class Scheduler(Shape, frozen=True, kw_only=True):
    """The scheduler's replicas."""

    status: Annotated[ComponentStatus, Meta(description="`unhealthy` while no replica leads.")]
    leader_id: Annotated[str | None, Meta(description="The leader's name and address; null while none leads.")]
    instance_count: Annotated[int, Meta(description="How many replicas are up.", ge=1)]


class Workers(Shape, frozen=True, kw_only=True):
    """The workers."""

    status: Annotated[ComponentStatus, Meta(description="`unhealthy` while none is connected.")]
    active_count: Count
    idle_count: Count
    offline_count: Count


class Database(Shape, frozen=True, kw_only=True):
    """PostgreSQL."""

    status: Annotated[ComponentStatus, Meta(description="`unhealthy` while it does not answer.")]
    connection_count: Annotated[int, Meta(description="How many connections the replicas hold.", ge=0)]


class Components(Shape, frozen=True, kw_only=True):
    """How each part does."""

    api_server: ApiServer
    scheduler: Scheduler
    workers: Workers
    database: Database
    redis: RedisStatus


class TaskStats(Shape, frozen=True, kw_only=True):
    """Counts of the caller's tasks. Today begins at midnight UTC."""

    pending: Count
    running: Count
    completed_today: Count
    failed_today: Count


class QueueDepths(Shape, frozen=True, kw_only=True):
    """How many of the caller's tasks wait for nothing but a worker."""

    high_priority: Annotated[int, Meta(description="Priority 8 to 10.", ge=0)]
    normal_priority: Annotated[int, Meta(description="Priority 4 to 7.", ge=0)]
    low_priority: Annotated[int, Meta(description="Priority 1 to 3.", ge=0)]


class SystemStatus(Shape, frozen=True, kw_only=True):
    """How the system does."""

    status: Annotated[
        Literal["healthy", "degraded", "unhealthy"],
        Meta(
            description="`unhealthy`: no replica leads, or PostgreSQL does not answer, so nothing goes on. `degraded`: another "
            "component is unhealthy."
        ),
    ]
    version: str
    uptime: Annotated[int, Meta(description="For how many seconds the replica that answered has been up.", ge=0)]
    components: Components
    task_stats: Annotated[TaskStats | None, Meta(description="Null while PostgreSQL does not answer.")]
    queue_depths: Annotated[QueueDepths | None, Meta(description="Null while PostgreSQL does not answer.")]


class IntegerPoint(Shape, frozen=True, kw_only=True):
    """A value of one span of time."""

    timestamp: Annotated[datetime, Meta(description="Where the span begins.")]
    value: Count


class Point(Shape, frozen=True, kw_only=True):
    """A value of one span of time."""

    timestamp: Annotated[datetime, Meta(description="Where the span begins.")]
    value: Annotated[float, Meta(ge=0)]


class Metrics(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """The metrics that were asked for, oldest point first. Where nothing ended in a span, its values are 0."""

    task_completion_rate: Annotated[
        list[IntegerPoint] | UnsetType, Meta(description="How many tasks completed within the span.")
    ] = UNSET
    error_rate: Annotated[
        list[Point] | UnsetType, Meta(description="Of the tasks that completed or failed within the span, which part failed.")
    ] = UNSET
    average_execution_time: Annotated[
        list[Point] | UnsetType,
        Meta(description="How long the last attempts of the tasks that ended within the span ran, on average, in seconds."),
    ] = UNSET


class MetricsMeta(Shape, frozen=True, kw_only=True):
    """What the points cover."""

    period: Literal["hour", "day", "week", "month"]
    start_time: Annotated[datetime, Meta(description="The first point's timestamp.")]
    end_time: Annotated[datetime, Meta(description="The last point's timestamp: its span goes on.")]


class MetricsAnswer(Shape, frozen=True, kw_only=True):
    """Metrics over time."""

    data: Metrics
    meta: MetricsMeta


class MetricsQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the metrics."""

    period: Annotated[
        Literal["hour", "day", "week", "month"],
        Meta(
            description="How far back: the last hour by the minute (60 points), day by the hour (24), week by the day (7), or "
            "month, which is 30 days, by the day (30); in UTC, the span that goes on included."
        ),
    ] = "hour"
    metrics: Annotated[
        Annotated[str, Meta(max_length=255, extra_json_schema={"pattern": f"^(?:{_METRIC})(?:,(?:{_METRIC}))*$"})] | UnsetType,
        Meta(
            description="A comma-separated list of metrics to include: `task_completion_rate`, `error_rate`, "
            "`average_execution_time`. All unless given."
        ),
    ] = UNSET
