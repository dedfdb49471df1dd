"""Replicas and workers of a simulation: the real elector, leader, journal, sessions, stream servicer, link and session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from foliot.v1 import spec_pb2
from foliot.v1.worker_pb2 import Hello, Resources, Result
from foliot_scheduler.actors.elector import Elector
from foliot_scheduler.actors.leader import LeaderTerm, Term
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.api.calls import Call
from foliot_scheduler.api.worker_stream import WorkStreams
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.types import DEFAULT_PROJECT, Micros, TaskId
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_worker.dispatcher import Dispatcher
from foliot_worker.link import Link
from foliot_worker.plans import Kind
from tests.simulation.database import Connection, Database, Pool, Writer
from tests.simulation.network import Listener, Network, WorkerClient
from tests.simulation.virtual import Process, VirtualClock, VirtualLoop
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from foliot_worker.attempt import Attempt
    from foliot_worker.runner import Host

SETTINGS: Final = CoreSettings(lost_attempts_max=50, live_tasks_max=5_000)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the body of an attempt wrote down, in the order and at the time of the world, not of any process."""

    at: float
    worker: str
    task_id: TaskId
    attempt: int
    token: int
    what: str
    """start, end:OUTCOME, or stopped."""


class Replica:
    """A scheduler that stands for election."""

    def __init__(self, loop: VirtualLoop, database: Database, network: Network, address: str, seed: int) -> None:
        self.process = Process(loop, address)
        self.address = address
        self.clock = VirtualClock(loop, seed)
        self._database = database
        self.process.call(self._begin, network)
        self.leadership: Leadership | None = None
        self.engine: Engine | None = None

    def _begin(self, network: Network) -> None:
        """Put the parts together, inside of the process."""
        database, process = self._database, self.process
        self.leadership = Leadership()
        self._sessions = Sessions()
        elector = Elector(
            connect=partial(database.connect, process),  # type: ignore[arg-type]
            pool=Pool(database, process),  # type: ignore[arg-type]
            establish=self._establish,  # type: ignore[arg-type]
            leadership=self.leadership,
            clock=self.clock,
            replica=self.address,
            address=self.address,
        )
        streams = WorkStreams(
            leadership=self.leadership, sessions=self._sessions, settings=SETTINGS, clock=self.clock, replica=self.address
        )
        anybody = Call(DEFAULT_PROJECT)
        serve = partial(streams.work, call=anybody)
        network.listeners[self.address] = Listener(process, serve)
        process.spawn(elector.run(), "elector")

    async def _establish(self, connection: Connection, term: Term) -> LeaderTerm[Any]:
        began = self.clock.monotonic()
        rows = await self._database.load()
        engine = Engine(epoch=term.epoch, new_id=self.clock.uuid7, draw=self.clock.random, settings=SETTINGS)
        now = Micros(term.elected_at + round((self.clock.monotonic() - began) * 1e6))
        await restore(engine, rows, TaskPlans(), now, partial(self.clock.sleep, 0))
        self.engine = engine
        writer = Writer(self._database, connection, term.epoch)
        return LeaderTerm(term=term, engine=engine, writer=writer, sessions=self._sessions, clock=self.clock)


class Bodies:
    """Runs attempts by waiting, and writes down what they did."""

    def __init__(self, worker: Worker, evidence: list[Evidence]) -> None:
        self._worker = worker
        self._evidence = evidence
        self._ends: dict[int, asyncio.TimerHandle] = {}

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor`. How long it takes and how it ends follows from the task and the number of the attempt."""
        lease = attempt.lease
        dice = Dice(int.from_bytes(lease.task_id[-8:], "big") ^ lease.attempt)
        takes_s = dice.pick((0.001, 0.01, 0.2, 1.0, 7.0))
        outcome = dice.pick((*(spec_pb2.OUTCOME_SUCCEEDED,) * 6, spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_NON_RETRYABLE))
        attempt.started_at_us = self._worker.clock.now_us()
        self._note(attempt, "start")
        host.watch(attempt)
        loop = asyncio.get_running_loop()
        self._ends[attempt.token] = loop.call_later(takes_s, self._end, attempt, host, outcome)
        attempt.state = host

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """See `Executor`: it ends within its grace, sooner or later."""
        handle = self._ends.get(attempt.token)
        if handle is None:
            return
        handle.cancel()
        loop = asyncio.get_running_loop()
        left_s = min(grace_s, max(0.0, handle.when() - loop.time())) * self._worker.dice.fraction()
        self._ends[attempt.token] = loop.call_later(left_s, self._end, attempt, attempt.state, spec_pb2.OUTCOME_CANCELLED)

    async def close(self) -> None:
        """See `Executor`."""
        for handle in self._ends.values():
            handle.cancel()

    def _end(self, attempt: Attempt, host: Host, outcome: spec_pb2.Outcome.ValueType) -> None:
        del self._ends[attempt.token]
        self._note(attempt, f"end:{spec_pb2.Outcome.Name(outcome)}")
        now_us = self._worker.clock.now_us()
        error = "" if outcome == spec_pb2.OUTCOME_SUCCEEDED else "it went wrong"
        ended = Result(token=attempt.token, outcome=outcome, error=error, output=attempt.token.to_bytes(8, "big"))
        ended.started_at_us, ended.ended_at_us = attempt.started_at_us, now_us
        host.report([ended])

    def _note(self, attempt: Attempt, what: str) -> None:
        at = asyncio.get_running_loop().time()
        lease = attempt.lease
        self._evidence.append(Evidence(at, self._worker.process.name, TaskId(lease.task_id), lease.attempt, attempt.token, what))


class Worker:
    """A worker with its link."""

    def __init__(self, loop: VirtualLoop, network: Network, name: str, seed: int, evidence: list[Evidence]) -> None:
        self.process = Process(loop, name)
        self.clock = VirtualClock(loop, seed)
        self.dice = Dice(seed + 2)
        self.stops: list[tuple[float, float]] = []
        """When it was stopped and thawed, for the checker."""
        self._evidence = evidence
        self.process.call(self._begin, network)

    def _begin(self, network: Network) -> None:
        hello = Hello(
            worker_id=self.process.name, capacity=12, concurrency=4, kinds=["function"], functions=["f"], queues=["default"]
        )
        dispatcher = Dispatcher(hello, concurrency=4, clock=self.clock, resources=Resources)
        dispatcher.attach({Kind.FUNCTION: Bodies(self, self._evidence)})
        addresses = sorted(network.listeners) or ["a"]
        link = Link(
            dispatcher,
            WorkerClient(network, self.process),  # type: ignore[arg-type]
            addresses,
            clock=self.clock,
            stop_grace_s=2.0,
        )
        self.process.spawn(link.run(), "link")
