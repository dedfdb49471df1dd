"""Replicas and workers of a simulation: the real elector, leader, journal, services, sessions, servicer, link and session."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from foliot.v1.worker_pb2 import Hello, Resources
from foliot_scheduler.actors.elector import Elector
from foliot_scheduler.actors.leader import LeaderTerm, Term, no_leader
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.actors.revival import Revival
from foliot_scheduler.actors.schedule_loader import ScheduleLoader, ScheduleLoaderSettings
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.api.calls import Call
from foliot_scheduler.api.forwarding import leader_finder
from foliot_scheduler.api.jobs import JobService
from foliot_scheduler.api.ports import NoHints
from foliot_scheduler.api.runs import RunService
from foliot_scheduler.api.tasks import TaskService
from foliot_scheduler.api.whereabouts import Whereabouts
from foliot_scheduler.api.worker_stream import WorkStreams
from foliot_scheduler.api.workers import WorkerService
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.types import DEFAULT_PROJECT, SECOND, Micros, Span
from foliot_scheduler.specs.records import JobPlans, job_from_row
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.rows import job_row
from foliot_worker.dispatcher import Dispatcher
from foliot_worker.link import Link
from foliot_worker.plans import Kind
from tests.simulation.bodies import Bodies, Evidence
from tests.simulation.database import Connection, Database, Pool, Writer
from tests.simulation.network import Listener, Network, WorkerClient
from tests.simulation.reading import Reads
from tests.simulation.virtual import Process, VirtualClock
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from foliot.kit.lifecycle import Part

SETTINGS: Final = CoreSettings(lost_attempts_max=50, live_tasks_max=5_000, misfire_after=Span(6 * SECOND), fire_all_max=10)
"""Misfires come early, so that the faults of a story make some."""

RETIRE_S: Final = 10.0
"""How long a replica that is asked to stop may take to bring its term to an end, as a supervisor gives it."""

Service = TaskService | JobService | RunService | WorkerService


class Replica:
    """A scheduler that stands for election."""

    def __init__(self, database: Database, network: Network, address: str, *, seed: int, peers: Mapping[str, Replica]) -> None:
        loop = network.loop
        self.process = Process(loop, address)
        self.address = address
        self.clock = VirtualClock(loop, seed)
        self.retiring = False
        self.leadership: Leadership | None = None
        self.engine: Engine | None = None
        self._dice = Dice(seed + 3)
        self._database = database
        self._peers = peers
        """All replicas by their addresses, whoever runs there."""
        self._parts: list[Part] = []
        self._services: dict[str, Service] = {}
        self.process.call(self._begin, network)

    def _begin(self, network: Network) -> None:
        """Put the parts together, inside of the process."""
        database, process, clock = self._database, self.process, self.clock
        self.leadership = leadership = Leadership()
        self._sessions = Sessions()
        reads: Any = Reads(database, process, Dice(self._dice.number(0, 1 << 60)))
        elector = Elector(
            connect=partial(database.connect, process),  # type: ignore[arg-type]
            pool=Pool(database, process),  # type: ignore[arg-type]
            establish=self._establish,  # type: ignore[arg-type]
            leadership=leadership,
            clock=clock,
            replica=self.address,
            address=self.address,
        )
        job_plans = JobPlans()
        loader = ScheduleLoader(
            store=reads,
            leadership=leadership,
            clock=clock,
            job_from_row=lambda row: job_from_row(job_row(row), job_plans),
            settings=ScheduleLoaderSettings(),
        )
        revival = Revival(pool=reads, leadership=leadership, plans=TaskPlans(), clock=clock)
        self._whereabouts = Whereabouts(
            leader=leadership,
            find=leader_finder(Pool(database, process), 0),  # type: ignore[arg-type]
            own_address=self.address,
            clock=clock,
        )
        streams = WorkStreams(
            leadership=leadership,
            whereabouts=self._whereabouts,
            sessions=self._sessions,
            settings=SETTINGS,
            clock=clock,
            replica=self.address,
        )
        serve = partial(streams.work, call=Call(DEFAULT_PROJECT))
        network.listeners[self.address] = Listener(process, serve)
        hints = NoHints(clock)
        self._serve(TaskService(leader=leadership, reader=reads, plans=TaskPlans(), hints=hints, clock=clock))
        self._serve(JobService(leader=leadership, reader=reads, clock=clock))
        self._serve(RunService(leader=leadership, reader=reads, hints=hints, clock=clock))
        self._serve(WorkerService(leader=leadership, reader=reads, work=serve, claim_ttl=SETTINGS.claim_ttl, clock=clock))
        self._parts = [elector, loader, revival]
        for part in self._parts:
            process.spawn(self._live(part), part.name)

    def _serve(self, service: Service) -> None:
        for method in service.DESCRIPTOR.methods_by_name:
            self._services[method] = service

    @staticmethod
    async def _live(part: Part) -> None:
        await part.start()
        await part.wait_ended()

    async def answer(self, method: str, request: Any, *, forwarded: bool = False) -> Any:
        """Answer a call as this replica does: a write that reaches one that follows waits for a leader, and goes on to it."""
        assert self.leadership is not None
        service = self._services[method]
        if method not in service.WRITES or self.leadership.leading:
            return await getattr(service, method)(request, Call(DEFAULT_PROJECT, forwarded))
        if forwarded:
            raise no_leader()
        try:
            found = await self._whereabouts.wait(self._whereabouts.wait_s)
        except StoreError:
            raise no_leader() from None
        if found is None:
            return await getattr(service, method)(request, Call(DEFAULT_PROJECT, forwarded))
        peer = self._peers.get(found.address)
        if peer is None or peer is self or not peer.process.alive:
            raise no_leader()
        await self.clock.sleep(self._dice.fraction() * 0.002)
        answered = peer.process.spawn(peer.answer(method, request, forwarded=True), "forwarded")
        peer.process.forget(answered)
        await asyncio.wait({answered})
        return answered.result()

    async def retire(self) -> None:
        """Stop as a process does that got SIGTERM: bring the term to a safe end, stop the parts, and be gone."""
        self.retiring = True
        try:
            async with asyncio.timeout(RETIRE_S):
                for part in reversed(self._parts):
                    await part.stop_intake()
                for part in reversed(self._parts):
                    await part.drain()
        except TimeoutError:
            pass
        for part in reversed(self._parts):
            await part.stop()
        self.process.kill()

    async def _establish(self, connection: Connection, term: Term) -> LeaderTerm[Any]:
        began = self.clock.monotonic()
        rows = await self._database.load()
        engine = new_engine(term.epoch, self.clock)
        now = Micros(term.elected_at + round((self.clock.monotonic() - began) * 1e6))
        await restore(engine, rows, TaskPlans(), now, partial(self.clock.sleep, 0))
        self.engine = engine
        writer = Writer(self._database, connection, term.epoch)
        return LeaderTerm(term=term, engine=engine, writer=writer, sessions=self._sessions, clock=self.clock)


def new_engine(epoch: int, clock: VirtualClock) -> Engine:
    """An engine that knows nothing yet."""
    return Engine(epoch=epoch, new_id=clock.uuid7, draw=clock.random, settings=SETTINGS)


class Worker:
    """A worker with its link."""

    def __init__(self, network: Network, name: str, *, seed: int, note: Callable[[Evidence], None], addresses: list[str]) -> None:
        loop = network.loop
        self.process = Process(loop, name)
        self.clock = VirtualClock(loop, seed)
        self.stops: list[tuple[float, float]] = []
        """When it was stopped and thawed, for the checker."""
        self.retiring = False
        self.died_at = float("inf")
        self._seed = seed
        self._link: Link | None = None
        self.dispatcher: Dispatcher | None = None
        self.process.on_death.append(self._note_death)
        self.process.call(self._begin, network, note, addresses)

    def _begin(self, network: Network, note: Callable[[Evidence], None], addresses: list[str]) -> None:
        hello = Hello(
            worker_id=self.process.name, capacity=12, concurrency=4, kinds=["function"], functions=["f"], queues=["default"]
        )
        self.dispatcher = dispatcher = Dispatcher(hello, concurrency=4, clock=self.clock, resources=Resources)
        bodies = Bodies(self.process.name, self.clock, Dice(self._seed + 2), dispatcher.checkpoints, note)
        dispatcher.attach({Kind.FUNCTION: bodies})
        self._link = Link(
            dispatcher,
            WorkerClient(network, self.process),  # type: ignore[arg-type]
            addresses,
            clock=self.clock,
            stop_grace_s=2.0,
        )
        self.process.spawn(self._live(self._link), "link")

    @staticmethod
    async def _live(link: Link) -> None:
        await link.start()
        await link.wait_ended()

    @property
    def held(self) -> int:
        """How many leases it holds, those included whose work only has not stopped yet."""
        return 0 if self.dispatcher is None else self.dispatcher._session.held

    def _note_death(self) -> None:
        self.died_at = self.process.loop.seconds

    async def retire(self) -> None:
        """Stop as a process does that got SIGTERM."""
        self.retiring = True
        assert self._link is not None
        try:
            async with asyncio.timeout(RETIRE_S):
                await self._link.stop_intake()
                await self._link.drain()
        except TimeoutError:
            pass
        await self._link.stop()
        self.process.kill()
