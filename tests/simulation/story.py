"""One story: a cluster, its clients, a nemesis, and what must be true at the end. A seed makes it, and makes it again."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from foliot.kit.ids import format_uuid
from foliot.v1 import job_pb2
from foliot_scheduler.core.model import JobState
from tests.simulation import books, executors
from tests.simulation.bodies import Evidence
from tests.simulation.checker import check
from tests.simulation.clients import Caller, World
from tests.simulation.cluster import Replica, Worker
from tests.simulation.database import Database
from tests.simulation.executors import Executor
from tests.simulation.job_wishes import JobClient
from tests.simulation.ledger import Ledger
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Network
from tests.simulation.virtual import VirtualClock, VirtualLoop, undisturbed
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from tests.simulation.plan import Plan
    from tests.simulation.virtual import Process

ADDRESSES: Final = ("a", "b", "c")
WORKERS: Final = ("w1", "w2", "w3")
THEMES: Final = (
    "failing",
    "slow",
    "stubborn",
    "saving",
    "retry",
    "keys",
    "change",
    "bulk",
    "limits",
    "later",
    "executors",
    "jobs",
    "runs",
    "schedules",
    "rolling",
)
"""What a story may be about, besides submitting, cancelling, chains and jobs: a few of them, so that each is told thoroughly."""

THEMES_EACH: Final = 4
BOOKS_EVERY_S: Final = 20.0
"""How often a leader's state is held against what a new leader would make of the rows: half a millisecond each."""

SETTLE_S: Final = 900.0
"""How long everything may take to end once nobody troubles it: the longest backoffs and lease lives many times over."""

TURNS_MAX: Final = 100_000
"""How often the loop may turn within a second; a busy one takes a few thousand turns."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a story came to."""

    digest: str
    """Of everything that bodies and nemesis wrote down: whoever tells a plan again comes to the same."""
    seconds: float
    tasks: int
    attempts: int
    commits: int
    terms: int
    fenced: int


class Story:
    """See the module."""

    def __init__(self, plan: Plan) -> None:
        """Take what it is made of. What it is about follows from the seed."""
        self.plan = plan
        self.seed = seed = plan.seed
        self.loop = VirtualLoop()
        self.themes = _themes(Dice(seed + 4))
        self.addresses = ADDRESSES[: plan.replicas]
        self.names = WORKERS[: plan.workers]
        self.clock = VirtualClock(self.loop, seed + 1)
        self.database = Database(self.clock, Dice(seed + 2))
        self.network = Network(self.loop, Dice(seed + 3))
        self.evidence: list[Evidence] = []
        self.ledger = Ledger()
        self.replicas: dict[str, Replica] = {}
        self.workers: dict[str, Worker] = {}
        self.past_workers: list[Worker] = []
        world = World(self.clock, self._replicas, self.ledger, self.evidence.append)
        self.clients = [JobClient(f"client{n}", plan, world, self.themes) for n in range(3)]
        self.executors = [
            Executor(f"x{n}", Dice(seed + 20 + n), world, careless=n == 0) for n in range(2 if "executors" in self.themes else 0)
        ]
        self._world = world
        self.log: list[str] = []
        """What happened, each line with its second in front, for whoever reads a failure."""
        self.faults: Counter[str] = Counter()
        """What the nemesis did, by kind."""
        self.troubles: list[tuple[float, float]] = []
        """When something was wrong."""
        self.served: list[tuple[float, bool]] = []
        """Whether somebody led whose commits went through, second by second."""
        self.processes: list[Process] = []
        """Every one there ever was."""

    def run(self) -> Summary:
        """Tell it to its end; raises AssertionError for a promise that was broken."""
        try:
            with undisturbed():
                self.loop.run_until_complete(self._tell())
            for error in self.loop.errors:
                raise error.get("exception") or AssertionError(error["message"])
            check(self)
        finally:
            self._close()
        text = "\n".join([*map(repr, self.evidence), *self.log])
        return Summary(
            hashlib.sha256(text.encode()).hexdigest(),
            self.loop.seconds,
            len(self.database.journal.live) + len(self.database.journal.history),
            sum(one.what == "start" for one in self.evidence),
            self.database.commits,
            self.database.leadership.epoch,
            self.database.refused,
        )

    def failure(self) -> BaseException | None:
        """What a process ended with that it should not have."""
        return next((found for process in self.processes if (found := process.failure()) is not None), None)

    def leader(self) -> Replica | None:
        """Return the replica that leads by what PostgreSQL says, if it can act as one."""
        replica = self.replicas.get(self.database.leadership.address)
        if replica is None or replica.leadership is None or replica.leadership.epoch != self.database.leadership.epoch:
            return None
        return replica if replica.process.alive and not replica.process.stopped else None

    # ---------------------------------------------------------------------------------------------------------- inside

    def _replicas(self) -> list[Replica]:
        return list(self.replicas.values())

    async def _tell(self) -> None:
        watch = self.loop.create_task(self._watch())
        acts = self.loop.create_task(self._act())
        await asyncio.wait({watch, acts}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            watch.result()
        acts.result()

    async def _act(self) -> None:
        for address in self.addresses:
            self.start_replica(address)
        for name in self.names:
            self.start_worker(name)
        nemesis = Nemesis(self)
        working = [self.loop.create_task(executor.run()) for executor in self.executors]
        acting = [self.loop.create_task(client.run()) for client in self.clients]
        acting.append(self.loop.create_task(nemesis.run()))
        await asyncio.wait(acting)
        for done in acting:
            done.result()
        await self._settle(nemesis)
        await executors.stop(working)

    def start_replica(self, address: str) -> None:
        """Start a replica where none runs."""
        seed = self.seed + 100 * (len(self.processes) + 1)
        self.replicas[address] = replica = Replica(self.database, self.network, address, seed=seed, peers=self.replicas)
        self.processes.append(replica.process)

    def start_worker(self, name: str) -> None:
        """Start a worker under a name that is its own."""
        number = len(self.processes) + 1
        seed = self.seed + 100 * number
        worker = Worker(self.network, f"{name}.{number}", seed=seed, note=self.evidence.append, addresses=list(self.addresses))
        self.workers[name] = worker
        self.processes.append(worker.process)
        self.past_workers.append(worker)

    def _close(self) -> None:
        """Let everything unwind that still exists, ghosts included, so that nothing of it is left for the garbage collector."""
        for process in self.processes:
            process.haunt()
        while left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.close()

    async def _watch(self) -> None:
        books_at = BOOKS_EVERY_S
        turns = 0
        while True:
            await self.clock.sleep(1.0)
            self.network.watch()
            assert self.loop.turns - turns < TURNS_MAX, "something goes round in circles"
            turns = self.loop.turns
            failure = self.failure()
            assert failure is None, f"a process failed: {failure!r}"
            now = self.loop.seconds
            self.served.append((now, self.leader() is not None and now - self.database.leadership.renewed_at < 1.0))
            if now >= books_at:
                books_at = now + BOOKS_EVERY_S
                books.compare_with_recovery(self)

    async def _settle(self, nemesis: Nemesis) -> None:
        """End all faults, stop all schedules, and wait until nothing is left to do."""
        self.network.heal()
        self.database.come_back()
        self.database.slow_s, self.database.stall_s, self.database.losing = 0.0, 0.0, ""
        for address in self.addresses:
            self.database.mend(address)
            nemesis.revive_replica(address)
        for name in self.names:
            nemesis.revive_worker(name)
        for executor in self.executors:
            executor.careless = False
        caller = Caller(Dice(self.seed + 30), self._world)
        journal = self.database.journal
        until = self.loop.seconds + SETTLE_S
        while self.loop.seconds < until:
            await self.clock.sleep(1.0)
            jobs = [job_id for job_id, job in journal.jobs.items() if job.state != JobState.DELETED]
            for job_id in jobs:
                await caller.ask("DeleteJob", job_pb2.DeleteJobRequest(job_id=format_uuid(job_id)))
            due = any(journal.notes.values())
            if not (jobs or journal.live or journal.batches or due) and self.leader() is not None:
                await self.clock.sleep(1.0)
                if not journal.live and not any(worker.held for worker in self.workers.values()):
                    return


def _themes(dice: Dice) -> frozenset[str]:
    left = list(THEMES)
    return frozenset(left.pop(dice.number(0, len(left) - 1)) for _ in range(THEMES_EACH))
