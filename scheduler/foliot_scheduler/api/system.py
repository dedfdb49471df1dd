"""SystemService: the service as a whole, as the replica that is asked sees it."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.metrics import render_prometheus
from foliot.v1 import system_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs.enums import TASK_STATE_NUMBERS
from foliot_scheduler.store import reads
from foliot_scheduler.store.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import FindLeader
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.store.reads import Reader

_DAY_US: Final = 86_400_000_000


class SystemService:
    """Serves foliot.v1.SystemService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = system_pb2.DESCRIPTOR.services_by_name["SystemService"]
    WRITES: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *, reader: Reader, find_leader: FindLeader, replica: str, clock: Clock) -> None:
        """Take the replica's name; the moment counts as its start."""
        self._reader = reader
        self._find_leader = find_leader
        self._replica = replica
        self._clock = clock
        self._started = Micros(clock.now_us())
        self._version = importlib.metadata.version("foliot")

    async def GetMetrics(self, request: system_pb2.GetMetricsRequest, call: Call) -> system_pb2.GetMetricsResponse:
        """See the contract."""
        return system_pb2.GetMetricsResponse(text=render_prometheus())

    async def GetStatus(self, request: system_pb2.GetStatusRequest, call: Call) -> system_pb2.GetStatusResponse:
        """See the contract. Answers without PostgreSQL too, and says that it is away."""
        response = system_pb2.GetStatusResponse(version=self._version, replica=self._replica, database="disconnected")
        messages.set_instant(response.started_at, self._started)
        try:
            leader = await self._find_leader()
            workers = await reads.count_workers(self._reader)
            connections = await reads.count_connections(self._reader)
        except StoreUnavailable:
            return response
        response.database = "connected"
        response.database_connections = connections
        response.workers_active = workers.active
        response.workers_idle = workers.idle
        response.workers_offline = workers.offline
        if leader is not None:
            response.leader, response.leader_address, response.epoch = leader.replica, leader.address, leader.epoch
        return response

    async def GetStats(self, request: system_pb2.GetStatsRequest, call: Call) -> system_pb2.GetStatsResponse:
        """See the contract."""
        now = self._clock.now_us()
        stats = await reads.read_stats(self._reader, call.project, since=Micros(now - now % _DAY_US))
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
