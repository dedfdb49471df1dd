"""SystemService: the service as a whole, as the replica that is asked sees it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.metrics import Gauge, render_prometheus
from foliot.v1 import system_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.api.requests import required_text
from foliot_scheduler.core.access import ANYONE, NOBODY, OPEN, READ, READ_ALL, Access
from foliot_scheduler.core.types import HOUR, MINUTE, Micros, Span
from foliot_scheduler.specs.enums import TASK_STATE_NUMBERS
from foliot_scheduler.specs.rules import Violations, check_duration, check_timestamp, micros_of, span_of
from foliot_scheduler.store import components, reads
from foliot_scheduler.store.components import ComponentKind
from foliot_scheduler.store.counts import count_unended
from foliot_scheduler.store.errors import StoreUnavailable
from foliot_scheduler.store.rollups import Rollup, read_rollups

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import FindLeader
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.store.reads import Reader

_TASKS = Gauge(
    "foliot_tasks", unit="tasks", description="Tasks of all projects that have not ended, by state.", labels=("state",)
)

POINTS_MAX: Final = 2_000
"""Of one answer: what the contract says, and as many as a chart can show."""

STEP_MAX: Final = Span(400 * 24 * HOUR)
"""The longest point: as long as rollups are kept by default."""

GATEWAY_ID_BYTES_MAX: Final = 255

_DAY_US: Final = 86_400_000_000


class SystemService:
    """Serves foliot.v1.SystemService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = system_pb2.DESCRIPTOR.services_by_name["SystemService"]
    WRITES: ClassVar[frozenset[str]] = frozenset()
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "GetStatus": OPEN,
        "GetStats": READ,
        "GetRollups": READ,
        "AnnounceGateway": ANYONE,
        "GetMetrics": READ_ALL,
    }

    def __init__(
        self, *, reader: Reader, find_leader: FindLeader, replica: str, observe: Callable[[], None], clock: Clock
    ) -> None:
        """Take the replica's name, and what brings its metrics up to date; the moment counts as its start."""
        self._observe = observe
        self._reader = reader
        self._find_leader = find_leader
        self._replica = replica
        self._clock = clock
        self._started = Micros(clock.now_us())
        self._version = importlib.metadata.version("foliot")

    async def GetMetrics(self, request: system_pb2.GetMetricsRequest, call: Call) -> system_pb2.GetMetricsResponse:
        """See the contract. What PostgreSQL would have to tell is left out while it is away."""
        self._observe()
        try:
            _TASKS.replace({(state,): count for state, count in (await count_unended(self._reader)).items()})
        except StoreUnavailable:
            _TASKS.replace({})
        return system_pb2.GetMetricsResponse(text=render_prometheus())

    async def GetStatus(self, request: system_pb2.GetStatusRequest, call: Call) -> system_pb2.GetStatusResponse:
        """See the contract. Answers without PostgreSQL too, and says that it is away."""
        if call.caller is NOBODY:
            return await self._readiness()
        response = system_pb2.GetStatusResponse(version=self._version, replica=self._replica, database="disconnected")
        messages.set_instant(response.started_at, self._started)
        try:
            leader = await self._find_leader()
            workers = await reads.count_workers(self._reader)
            connections = await reads.count_connections(self._reader)
            up = await components.count_alive(self._reader)
        except StoreUnavailable:
            return response
        response.database = "connected"
        response.database_connections = connections
        response.schedulers, response.gateways = up[ComponentKind.SCHEDULER], up[ComponentKind.GATEWAY]
        response.workers_active = workers.active
        response.workers_idle = workers.idle
        response.workers_offline = workers.offline
        if leader is not None:
            response.leader, response.leader_address, response.epoch = leader.replica, leader.address, leader.epoch
        return response

    async def _readiness(self) -> system_pb2.GetStatusResponse:
        """What a load balancer asks: whether the service can work. The rest is for those who say who they are."""
        try:
            leader = await self._find_leader()
        except StoreUnavailable:
            return system_pb2.GetStatusResponse(database="disconnected")
        return system_pb2.GetStatusResponse(database="connected", leader="" if leader is None else leader.replica)

    async def AnnounceGateway(self, request: system_pb2.AnnounceGatewayRequest, call: Call) -> system_pb2.AnnounceGatewayResponse:
        """See the contract."""
        name = required_text("gateway_id", request.gateway_id, GATEWAY_ID_BYTES_MAX)
        if not await components.announce(self._reader, ComponentKind.GATEWAY, name):
            limit = f"{components.NAMES_MAX:,} gateways were up in the last hour; that is the limit"
            raise FoliotError(ErrorReason.OVERLOADED, limit, retry_after_s=components.ALIVE_S)
        return system_pb2.AnnounceGatewayResponse()

    async def GetRollups(self, request: system_pb2.GetRollupsRequest, call: Call) -> system_pb2.GetRollupsResponse:
        """See the contract."""
        start, end, step = _span_of(request, Micros(self._clock.now_us()))
        found = {
            rollup.start_at: rollup for rollup in await read_rollups(self._reader, call.project, start=start, end=end, step=step)
        }
        response = system_pb2.GetRollupsResponse()
        for start_at in map(Micros, range(start, end, step)):
            _add_point(response, found.get(start_at) or Rollup(start_at))
        return response

    async def GetStats(self, request: system_pb2.GetStatsRequest, call: Call) -> system_pb2.GetStatsResponse:
        """See the contract."""
        now = self._clock.now_us()
        midnight, until = Micros(now - now % _DAY_US), Micros(now - now % MINUTE + MINUTE)
        stats = await reads.read_stats(self._reader, call.project, since=midnight, until=until)
        return system_pb2.GetStatsResponse(
            live=_counts(stats.live),
            ended_today=_counts(stats.ended),
            waiting=[system_pb2.PriorityCount(priority=priority, count=count) for priority, count in stats.waiting.items()],
            jobs=stats.jobs,
            live_runs=stats.live_runs,
        )


def _counts(states: Mapping[TaskState, int]) -> list[system_pb2.StateCount]:
    return [
        system_pb2.StateCount(state=number, count=states[state])
        for state, number in TASK_STATE_NUMBERS.items()
        if states.get(state)
    ]


def _span_of(request: system_pb2.GetRollupsRequest, now: Micros) -> tuple[Micros, Micros, Span]:
    """Read from when to when rollups are asked for, and how long a point lasts. Raises FoliotError INVALID_FIELD."""
    violations = Violations()
    if not request.HasField("start_at"):
        violations.add("start_at", "is required", "required")
    check_timestamp("start_at", request.start_at, violations)
    if request.HasField("end_at"):
        check_timestamp("end_at", request.end_at, violations)
    if request.HasField("step"):
        check_duration("step", request.step, STEP_MAX, violations)
    violations.raise_if_any()
    start = micros_of(request.start_at) // MINUTE * MINUTE
    end = -(-(micros_of(request.end_at) if request.HasField("end_at") else now) // MINUTE) * MINUTE
    step = span_of(request.step) if request.HasField("step") else MINUTE
    if step % MINUTE:
        raise FoliotError.invalid("step", "must be whole minutes", rule="out_of_range")
    if end <= start:
        raise FoliotError.invalid("end_at", "must be later than start_at", rule="out_of_range")
    if -(-(end - start) // step) > POINTS_MAX:
        raise FoliotError.invalid(
            "step", f"must be long enough that there are at most {POINTS_MAX:,} points", rule="out_of_range"
        )
    return Micros(start), Micros(end), Span(step)


def _add_point(response: system_pb2.GetRollupsResponse, rollup: Rollup) -> None:
    point = response.points.add(
        succeeded=rollup.succeeded,
        failed=rollup.failed,
        cancelled=rollup.cancelled,
        skipped=rollup.skipped,
        timed=rollup.timed,
    )
    messages.set_instant(point.start_at, rollup.start_at)
    point.run_time.FromMicroseconds(rollup.run_time)
