"""The scheduler's composition root: settings in, one replica out. The only module that may import everything."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
from datetime import timedelta
from typing import TYPE_CHECKING

from foliot.kit.addresses import AddressPolicy
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.guarded_http import guarded_transport
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.settings import HostPort
from foliot.kit.tls import client_tls, server_tls
from foliot_scheduler.actors.backlog import BacklogLimits
from foliot_scheduler.actors.elector import SHARD, Elector
from foliot_scheduler.actors.establish import Establisher
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.maintenance import Maintenance, MaintenanceSettings, PooledStore
from foliot_scheduler.actors.outbox_signal import OutboxSignal
from foliot_scheduler.actors.presence import Presence
from foliot_scheduler.actors.revival import Revival
from foliot_scheduler.actors.schedule_loader import PooledSchedules, ScheduleLoader, ScheduleLoaderSettings
from foliot_scheduler.actors.schema_watch import SchemaWatch
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.actors.webhook_keeper import WebhookKeeper
from foliot_scheduler.actors.webhooks import WebhookSender
from foliot_scheduler.api.access import AccessService
from foliot_scheduler.api.calls import CallReader
from foliot_scheduler.api.entrance import Entrance
from foliot_scheduler.api.forwarding import Forwarder, leader_finder, open_plain_channel, secure_opener
from foliot_scheduler.api.interceptors import Passage, Service
from foliot_scheduler.api.jobs import JobService
from foliot_scheduler.api.ports import NoHints
from foliot_scheduler.api.runs import RunService
from foliot_scheduler.api.server import GrpcServer
from foliot_scheduler.api.system import SystemService
from foliot_scheduler.api.tasks import TaskService
from foliot_scheduler.api.webhooks import WebhookService
from foliot_scheduler.api.whereabouts import Whereabouts
from foliot_scheduler.api.worker_stream import WorkStreams
from foliot_scheduler.api.workers import WorkerService
from foliot_scheduler.api.writes import Writes
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.types import Span
from foliot_scheduler.specs.records import JobPlans, job_from_row
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.migrate import migrate
from foliot_scheduler.store.partitions import RetentionSettings
from foliot_scheduler.store.pool import KEEPALIVE, ONE_WRITER, Pool, open_connection, open_pool
from foliot_scheduler.store.rows import job_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncpg import Connection, Record

    from foliot_scheduler.api.credentials import Authenticator
    from foliot_scheduler.settings import SchedulerSettings

GC_THRESHOLDS = (50_000, 20, 100)
"""When Python looks for reference cycles: rarely, because a leader holds millions of objects that live long and make none. With
the defaults and 500,000 live tasks, the search took 28 % of the engine's time, in pauses of up to 235 ms."""

LOAD_TIMEOUT_S = 120.0
"""How long reading one table of the live state may take: several times what ten million tasks need."""

log = get_logger(__name__)


class SchedulerApp(Part):
    """One scheduler replica: serves gRPC, and leads when it is its turn."""

    def __init__(self, settings: SchedulerSettings, *, database_url: Callable[[], str], clock: Clock | None = None) -> None:
        """Take the settings, and where the database is, which for an embedded one is known only when this part starts.

        Raises SettingsError for certificates that cannot be used.
        """
        super().__init__("scheduler")
        self._settings = settings
        self._replica = settings.replica or f"scheduler-{settings.grpc.port}"
        self._database_url = database_url
        self._clock = clock or SystemClock()
        self._core = _core_settings(settings)
        self._leadership = Leadership()
        self._sessions = Sessions()
        self._outbox = OutboxSignal()
        self._parts: list[Part] = []
        self._pool: Pool | None = None
        self._address = settings.grpc
        self._tls = server_tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)

    @property
    def address(self) -> HostPort:
        """Where it listens, once started."""
        return self._address

    @property
    def leadership(self) -> Leadership:
        """Where it stands."""
        return self._leadership

    async def on_start(self) -> None:
        """Bring the schema up to date, open the port, and stand for election.

        Raises StoreError when the database cannot be used, SettingsError when the port cannot be had.
        """
        gc.set_threshold(*GC_THRESHOLDS)
        url = self._database_url()
        connection = await open_connection(url, application_name="foliot migrate")
        try:
            await migrate(connection, clock=self._clock)
        finally:
            await connection.close()
        self._pool = await open_pool(url)
        try:
            await self._start_parts(url, self._pool)
        except BaseException:
            await self._stop_parts()
            raise

    async def _start_parts(self, url: str, pool: Pool) -> None:
        entrance = Entrance(self._settings, pool, self._clock)
        await self._start(entrance)
        server = self._server(pool, entrance.authenticator)
        await self._start(server)
        # The port is known only now, and others are to be told an address that works.
        self._address = HostPort(self._settings.grpc.host, server.bound_port)
        advertised = str(self._settings.advertise or self._address)
        replica = self._replica

        async def connect() -> Connection[Record]:
            return await open_connection(url, application_name=f"foliot {replica}", settings={**ONE_WRITER, **KEEPALIVE})

        async def connect_to_load() -> Connection[Record]:
            return await open_connection(url, application_name=f"foliot {replica} recovery", settings=KEEPALIVE)

        establish = Establisher(
            connect=connect_to_load,
            sessions=self._sessions,
            clock=self._clock,
            settings=self._core,
            shard=SHARD,
            outbox=self._outbox,
            limits=BacklogLimits(commit_s_max=self._settings.commit_latency_max.total_seconds()),
        )
        elector = Elector(
            connect=connect,
            pool=pool,
            establish=establish,
            standby=establish,
            leadership=self._leadership,
            clock=self._clock,
            replica=replica,
            address=advertised,
        )
        await self._start(elector)
        await self._start(SchemaWatch(pool=pool, clock=self._clock))
        # The address tells replicas of one name apart.
        await self._start(Presence(pool=pool, name=f"{replica} at {advertised}", clock=self._clock))
        job_plans = JobPlans()
        loader = ScheduleLoader(
            store=PooledSchedules(pool, SHARD),
            leadership=self._leadership,
            clock=self._clock,
            job_from_row=lambda row: job_from_row(job_row(row), job_plans),
            settings=ScheduleLoaderSettings(),
        )
        await self._start(loader)
        maintenance = Maintenance(
            store=PooledStore(pool),
            leadership=self._leadership,
            clock=self._clock,
            settings=MaintenanceSettings(
                retention=RetentionSettings(history=self._settings.history_retention, rollups=self._settings.rollup_retention)
            ),
        )
        await self._start(maintenance)
        await self._start(Revival(pool=pool, leadership=self._leadership, plans=TaskPlans(), clock=self._clock))
        await self._start(WebhookKeeper(pool=pool, leadership=self._leadership, clock=self._clock))
        sender = WebhookSender(
            pool=pool,
            transport=guarded_transport(AddressPolicy(self._settings.deny_networks, deny_private=self._settings.deny_private)),
            user_agent=f"foliot/{importlib.metadata.version('foliot')}",
            signal=self._outbox,
            leadership=self._leadership,
            clock=self._clock,
        )
        await self._start(sender)

    def _server(self, pool: Pool, authenticator: Authenticator | None) -> GrpcServer:
        """Put the gRPC services together."""
        clock, leadership = self._clock, self._leadership
        hints = NoHints(clock)
        plans = TaskPlans()

        find_leader = leader_finder(pool, SHARD)
        tls = self._tls
        peers = None if tls is None else client_tls(self._settings.tls_ca, self._settings.tls_cert, self._settings.tls_key)
        forwarder = Forwarder(open_plain_channel if peers is None else secure_opener(peers))
        own_address = str(self._settings.advertise or self._settings.grpc)
        whereabouts = Whereabouts(leader=leadership, find=find_leader, own_address=own_address, clock=clock)
        writes = Writes(leader=leadership, forwarder=forwarder, whereabouts=whereabouts, clock=clock)
        streams = WorkStreams(
            leadership=leadership,
            whereabouts=whereabouts,
            sessions=self._sessions,
            settings=self._core,
            clock=clock,
            replica=self._replica,
        )
        services: list[Service] = [
            JobService(leader=leadership, reader=pool, clock=clock),
            RunService(leader=leadership, reader=pool, hints=hints, clock=clock),
            TaskService(leader=leadership, reader=pool, plans=plans, hints=hints, clock=clock),
            WorkerService(leader=leadership, reader=pool, work=streams.work, claim_ttl=self._core.claim_ttl, clock=clock),
            AccessService(store=pool, clock=clock, on_revoked=authenticator.forget if authenticator else lambda: None),
            WebhookService(leader=leadership, pool=pool, clock=clock, notify=self._outbox.notify),
            SystemService(reader=pool, find_leader=find_leader, replica=self._replica, observe=leadership.observe, clock=clock),
        ]
        passage = Passage(writes=writes, clock=clock, reader=CallReader(authenticator))
        return GrpcServer(
            listen=self._settings.grpc,
            services=services,
            passage=passage,
            forwarder=forwarder,
            reflects=authenticator is None,
            tls=tls,
        )

    async def run(self) -> None:
        """Go on until one of the parts ends, which none should."""
        async with asyncio.TaskGroup() as watching:
            for part in self._parts:
                watching.create_task(part.wait_ended(), name=f"scheduler.watch.{part.name}")

    async def stop_intake(self) -> None:
        """Have health checks point elsewhere."""
        for part in reversed(self._parts):
            await part.stop_intake()

    async def drain(self) -> None:
        """Commit what was taken, and take no more."""
        for part in reversed(self._parts):
            await part.drain()

    async def on_stop(self) -> None:
        """Stop the parts, the last started first, and close the pool."""
        await self._stop_parts()

    async def _start(self, part: Part) -> None:
        await part.start()
        self._parts.append(part)

    async def _stop_parts(self) -> None:
        for part in reversed(self._parts):
            await part.stop()
        if self._pool is not None:
            self._pool.terminate()


def _core_settings(settings: SchedulerSettings) -> CoreSettings:
    """What of a replica's settings the rules go by."""
    return CoreSettings(
        claim_ttl=_span(settings.executor_lease),
        misfire_after=_span(settings.misfire_threshold),
        live_tasks_max=settings.live_tasks_max,
        project_live_tasks_max=settings.project_live_tasks,
        project_tasks_per_second=settings.project_tasks_per_second,
        lost_attempts_max=settings.lost_attempts_max,
    )


def _span(length: timedelta) -> Span:
    return Span(round(length / timedelta(microseconds=1)))
