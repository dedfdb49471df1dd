"""A whole replica for tests of the API: the real elector, engine, journal and PostgreSQL, and the services on a port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.kit.setting_values import HostPort
from foliot.v1 import spec_pb2, task_pb2, worker_pb2
from foliot_scheduler.actors.elector import SHARD, Elector
from foliot_scheduler.actors.establish import Establisher
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.api.access import AccessService
from foliot_scheduler.api.calls import CallReader
from foliot_scheduler.api.credentials import Authenticator
from foliot_scheduler.api.forwarding import Forwarder, leader_finder
from foliot_scheduler.api.interceptors import Passage
from foliot_scheduler.api.jobs import JobService
from foliot_scheduler.api.ports import LeaderPort, NoHints
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
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.pool import ONE_WRITER, Pool, open_connection

if TYPE_CHECKING:
    from asyncpg import Connection, Record

SETTINGS = CoreSettings()


@dataclass
class Stack:
    """A replica that leads, and a client of it."""

    client: Client
    leadership: Leadership
    server: GrpcServer

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.bound_port}"

    def acting_in(self, project: str) -> Client:
        return self.client.acting_as(project=project)

    async def submit(self, **fields: object) -> task_pb2.Task:
        """Submit one task; a binary one unless the fields say otherwise, so that it can be claimed."""
        return (await self.client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task(**fields)))).task

    async def claim(self) -> worker_pb2.ClaimTaskResponse:
        """Claim the next binary task."""
        return await self.client.workers.ClaimTask(worker_pb2.ClaimTaskRequest(executor_id="x1", executor_address="10.0.0.1"))

    async def run_one(self, *, fails: bool = False) -> str:
        """Claim the next binary task, end it, and return its id."""
        claimed = await self.claim()
        if fails:
            await self.client.workers.FailTask(
                worker_pb2.FailTaskRequest(task_id=claimed.task.id, executor_id="x1", error="boom", exit_code=7)
            )
        else:
            await self.client.workers.CompleteTask(
                worker_pb2.CompleteTaskRequest(task_id=claimed.task.id, executor_id="x1", output=b"out", exit_code=0)
            )
        return claimed.task.id


def binary_work() -> spec_pb2.BinaryWork:
    return spec_pb2.BinaryWork(url="https://example.test/f", sha256="0" * 64, environment={"TOKEN": "secret"})


def new_task(*dependencies: str, **fields: object) -> task_pb2.NewTask:
    spec = spec_pb2.TaskSpec(**{"name": "n", "binary": binary_work(), **fields})  # type: ignore[arg-type] # by name
    return task_pb2.NewTask(spec=spec, dependencies=dependencies)


def services_of(
    leader: LeaderPort, pool: Pool, streams: WorkStreams, on_revoked: Callable[[], None] = lambda: None
) -> list[object]:
    clock = SystemClock()
    hints = NoHints(clock)
    return [
        JobService(leader=leader, reader=pool, clock=clock),
        RunService(leader=leader, reader=pool, hints=hints, clock=clock),
        TaskService(leader=leader, reader=pool, plans=TaskPlans(), hints=hints, clock=clock),
        WorkerService(leader=leader, reader=pool, work=streams.work, claim_ttl=SETTINGS.claim_ttl, clock=clock),
        AccessService(store=pool, clock=clock, on_revoked=on_revoked),
        WebhookService(leader=leader, pool=pool, clock=clock, notify=lambda: None),
        SystemService(
            reader=pool,
            find_leader=leader_finder(pool, SHARD),
            replica="r1",
            observe=leader.observe if isinstance(leader, Leadership) else lambda: None,
            clock=clock,
        ),
    ]


@asynccontextmanager
async def replica(
    database_url: str, pool: Pool, *, leads: bool = True, authenticator: Authenticator | None = None, shown: str | None = None
) -> AsyncIterator[Stack]:
    """Run a replica; one that does not lead follows whoever does. `shown` is the credential of the stack's client."""
    clock, leadership, sessions = SystemClock(), Leadership(), Sessions()

    async def connect() -> Connection[Record]:
        return await open_connection(database_url, settings=ONE_WRITER)

    forwarder = Forwarder()
    whereabouts = Whereabouts(leader=leadership, find=leader_finder(pool, SHARD), own_address="", clock=clock)
    writes = Writes(leader=leadership, forwarder=forwarder, whereabouts=whereabouts, clock=clock)
    streams = WorkStreams(
        leadership=leadership, whereabouts=whereabouts, sessions=sessions, settings=SETTINGS, clock=clock, replica="r1"
    )
    passage = Passage(writes=writes, clock=clock, reader=CallReader(authenticator))
    server = GrpcServer(
        listen=HostPort("127.0.0.1", 0),
        services=services_of(leadership, pool, streams, authenticator.forget if authenticator else lambda: None),  # type: ignore[arg-type] # a list of several classes
        passage=passage,
        forwarder=forwarder,
    )
    async with AsyncExitStack() as parts:
        await parts.enter_async_context(server)
        address = f"127.0.0.1:{server.bound_port}"
        if leads:
            establish = Establisher(connect=connect, sessions=sessions, clock=clock, settings=SETTINGS, shard=SHARD)
            elector = Elector(
                connect=connect, pool=pool, establish=establish, leadership=leadership, clock=clock, replica="r1", address=address
            )
            await parts.enter_async_context(elector)
            await leadership.wait_leading()
        client = await parts.enter_async_context(Client([address], credentials=shown))
        yield Stack(client, leadership, server)
