"""One story: a cluster, its clients, a nemesis, and what must be true at the end. A seed makes it, and makes it again."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core import commands
from foliot_scheduler.core.types import DEFAULT_PROJECT
from tests.simulation.checker import check
from tests.simulation.clients import Client
from tests.simulation.cluster import Evidence, Replica, Worker
from tests.simulation.database import Database
from tests.simulation.network import Network
from tests.simulation.virtual import VirtualClock, VirtualLoop
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.virtual import Process

ADDRESSES: Final = ("a", "b", "c")
WORKERS: Final = ("w1", "w2", "w3")
SETTLE_S: Final = 900.0
"""How long everything may take to end once nobody troubles it: the longest backoffs and lease lives many times over."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a story came to."""

    digest: str
    """Of everything the bodies wrote down: two runs of one seed have the same."""
    seconds: float
    tasks: int
    attempts: int
    commits: int
    terms: int
    fenced: int


class Story:
    """See the module."""

    def __init__(self, seed: int, *, faults_s: float = 600.0, gentle: bool = False) -> None:
        """Take the seed, how long there are faults, and whether they are `gentle`: streams break, and nothing else happens."""
        self.seed = seed
        self.faults_s = faults_s
        self.gentle = gentle
        self.loop = VirtualLoop()
        self.dice = Dice(seed)
        self.clock = VirtualClock(self.loop, seed + 1)
        self.database = Database(self.clock, Dice(seed + 2))
        self.network = Network(self.loop, Dice(seed + 3))
        self.evidence: list[Evidence] = []
        self.replicas: dict[str, Replica] = {}
        self.workers: dict[str, Worker] = {}
        self.past_workers: list[Worker] = []
        self.clients = [
            Client(n, Dice(seed + 10 + n), self.clock, lambda: list(self.replicas.values()), self.database) for n in range(3)
        ]
        self.log: list[str] = []
        """What the nemesis did, for whoever reads a failure."""
        self.processes: list[Process] = []
        """Every one there ever was."""

    def run(self) -> Summary:
        """Tell it to its end; raises AssertionError for a promise that was broken."""
        try:
            self.loop.run_until_complete(self._tell())
            assert not self.loop.errors, self.loop.errors[0]
            check(self)
        finally:
            self._close()
        text = "\n".join(map(repr, self.evidence))
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

    # ---------------------------------------------------------------------------------------------------------- inside

    async def _tell(self) -> None:
        watch = self.loop.create_task(self._watch())
        acts = self.loop.create_task(self._act())
        await asyncio.wait({watch, acts}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            watch.result()
        acts.result()

    async def _act(self) -> None:
        for address in ADDRESSES:
            self._start_replica(address)
        for name in WORKERS:
            self._start_worker(name)
        asking = [self.loop.create_task(client.run(self.faults_s)) for client in self.clients]
        nemesis = self.loop.create_task(self._trouble())
        await asyncio.wait([nemesis, *asking])
        for done in (nemesis, *asking):
            done.result()
        await self._settle()

    def _start_replica(self, address: str) -> None:
        seed = self.seed + 100 * (len(self.processes) + 1)
        self.replicas[address] = replica = Replica(self.loop, self.database, self.network, address, seed)
        self.processes.append(replica.process)

    def _start_worker(self, name: str) -> None:
        number = len(self.processes) + 1
        worker = Worker(self.loop, self.network, f"{name}.{number}", self.seed + 100 * number, self.evidence)
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
        while True:
            await self.clock.sleep(1.0)
            self.network.watch()
            failure = self.failure()
            assert failure is None, f"a process failed: {failure!r}"

    async def _settle(self) -> None:
        """End all faults, stop all schedules, and wait until nothing is left to do."""
        self.network.heal()
        self.database.come_back()
        self.database.slow_s, self.database.losing = 0.0, ""
        for address in ADDRESSES:
            self._revive_replica(address)
        for name in WORKERS:
            self._revive_worker(name)
        jobs = [job_id for client in self.clients for job_id in client.promises.jobs]
        until = self.loop.seconds + SETTLE_S
        while self.loop.seconds < until:
            await self.clock.sleep(1.0)
            leader = next((one for one in self.replicas.values() if one.leadership and one.leadership.leading), None)
            if leader is None or leader.leadership is None:
                continue
            if jobs:
                command = commands.SetJobState(DEFAULT_PROJECT, jobs[-1], "delete")
                await leader.process.spawn(leader.leadership.execute(command), "delete")
                jobs.pop()
            elif not self.database.journal.live and not self.database.journal.batches:
                return

    async def _trouble(self) -> None:
        """Do one harm after another, each for a while."""
        dice = self.dice
        harms: tuple[Callable[[], float], ...] = (
            self._kill_replica,
            self._stop_replica,
            self._kill_worker,
            self._stop_worker,
            self._cut,
            self._lose_database,
            self._slow_database,
            self._lose_answer,
            self._set_clock,
            self._break_connections,
            self._forget_lock,
        )
        if self.gentle:
            harms = (self._break_connections,)
        while self.loop.seconds < self.faults_s:
            await self.clock.sleep(dice.fraction() * 20.0)
            harm = dice.pick(harms)
            lasts_s = harm()
            self.log.append(f"{self.loop.seconds:9.3f} {harm.__name__} for {lasts_s:.3f} s")

    def _later(self, seconds: float, mend: Callable[[str], None], name: str) -> float:
        self.loop.call_later(seconds, mend, name)
        return seconds

    def _kill_replica(self) -> float:
        address = self.dice.pick(ADDRESSES)
        self.replicas[address].process.kill()
        return self._later(self.dice.fraction() * 10.0, self._revive_replica, address)

    def _stop_replica(self) -> float:
        address = self.dice.pick(ADDRESSES)
        self.replicas[address].process.stop()
        return self._later(self.dice.fraction() * 25.0, self._revive_replica, address)

    def _revive_replica(self, address: str) -> None:
        replica = self.replicas[address]
        if not replica.process.alive:
            self._start_replica(address)
        elif replica.process.stopped:
            replica.process.thaw()

    def _kill_worker(self) -> float:
        name = self.dice.pick(WORKERS)
        self.workers[name].process.kill()
        return self._later(self.dice.fraction() * 10.0, self._revive_worker, name)

    def _stop_worker(self) -> float:
        name = self.dice.pick(WORKERS)
        worker = self.workers[name]
        if worker.process.alive and not worker.process.stopped:
            worker.process.stop()
            worker.stops.append((self.loop.seconds, float("inf")))
        return self._later(self.dice.fraction() * 25.0, self._revive_worker, name)

    def _revive_worker(self, name: str) -> None:
        worker = self.workers[name]
        if not worker.process.alive:
            self._start_worker(name)
        elif worker.process.stopped:
            worker.stops[-1] = (worker.stops[-1][0], self.loop.seconds)
            worker.process.thaw()

    def _cut(self) -> float:
        pair = (self.workers[self.dice.pick(WORKERS)].process.name, self.dice.pick(ADDRESSES))
        self.network.cuts.add(pair)
        self.loop.call_later(lasts := self.dice.fraction() * 30.0, self._mend, pair)
        return lasts

    def _mend(self, pair: tuple[str, str]) -> None:
        self.network.cuts.discard(pair)
        for stream in list(self.network.streams):
            stream.pump()

    def _lose_database(self) -> float:
        self.database.go_away()
        return self._later(self.dice.fraction() * 8.0, lambda _: self.database.come_back(), "")

    def _slow_database(self) -> float:
        self.database.slow_s = self.dice.fraction() * 2.0
        return self._later(self.dice.fraction() * 10.0, self._hurry, "")

    def _hurry(self, _name: str) -> None:
        self.database.slow_s = 0.0

    def _lose_answer(self) -> float:
        self.database.losing = self.dice.pick(("before", "after"))
        return 0.0

    def _forget_lock(self) -> float:
        self.database.forget_lock()
        return 0.0

    def _set_clock(self) -> float:
        things: list[Replica | Worker] = [*self.replicas.values(), *self.workers.values()]
        self.dice.pick(things).clock.skew_us = self.dice.number(-90_000_000, 90_000_000)
        return 0.0

    def _break_connections(self) -> float:
        for stream in list(self.network.streams):
            if self.dice.chance(0.5):
                stream.hang_up()
        return 0.0
