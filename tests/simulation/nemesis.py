"""What goes wrong in a story: harms, each for a while, and their mending. The story's log tells of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.cluster import Replica, Worker
    from tests.simulation.story import Story


class Nemesis:
    """Does one harm after another."""

    def __init__(self, story: Story) -> None:
        """Take the story."""
        self._story = story
        self._dice = Dice(story.seed)
        """Of the deed under way."""
        self._addresses, self._workers = story.addresses, story.names

    async def run(self) -> None:
        """Trouble the story for as long as it says."""
        story = self._story
        harms: tuple[Callable[[], float], ...] = (
            self._kill_replica,
            self._stop_replica,
            self._retire_replica,
            self._kill_worker,
            self._stop_worker,
            self._retire_worker,
            self._cut,
            self._half_open,
            self._cut_from_database,
            self._lose_database,
            self._slow_database,
            self._stall_commit,
            self._lose_answer,
            self._set_clock,
            self._break_connections,
            self._forget_lock,
        )
        if story.plan.gentle:
            harms = (self._break_connections,)
        elif "rolling" in story.themes:
            harms = (*harms, self._restart_all, self._restart_all)
        for at, dice in story.plan.turns("nemesis"):
            await story.clock.sleep(at - story.loop.seconds)
            self._dice = dice
            harm = dice.pick(harms)
            kind = harm.__name__.strip("_")
            began = story.loop.seconds
            lasts_s = harm()
            story.faults[kind] += 1
            story.troubles.append((began, began + lasts_s))
            story.log.append(f"{began:9.3f} nemesis: {kind} for {lasts_s:.3f} s")

    # ---- replicas

    def _kill_replica(self) -> float:
        address = self._dice.pick(self._addresses)
        self._story.replicas[address].process.kill()
        return self._later(self._dice.fraction() * 10.0, self.revive_replica, address)

    def _stop_replica(self) -> float:
        """Freeze one, for longer than another needs to take over, or not; with luck while it commits."""
        address = self._dice.pick(self._addresses)
        self._story.replicas[address].process.stop()
        return self._later(self._dice.fraction() * 25.0, self.revive_replica, address)

    def _retire_replica(self) -> float:
        return self._retire_one(self._dice.pick(self._addresses))

    def _retire_one(self, address: str) -> float:
        replica = self._story.replicas[address]
        if not replica.process.alive or replica.process.stopped or replica.retiring or replica.leadership is None:
            return 0.0
        replica.process.spawn(replica.retire(), "retire")
        return self._later(12.0 + self._dice.fraction(), self.revive_replica, address)

    def _restart_all(self) -> float:
        """Restart one replica after another, each when the one before is back."""
        every_s = 15.0
        for number, address in enumerate(self._addresses):
            self._later(number * every_s, self._retire_one, address)
        return every_s * len(self._addresses)

    def revive_replica(self, address: str) -> None:
        """Have one run again, whatever was done to it."""
        replica = self._story.replicas[address]
        if not replica.process.alive:
            self._story.start_replica(address)
        elif replica.process.stopped:
            replica.process.thaw()

    # ---- workers

    def _kill_worker(self) -> float:
        name = self._dice.pick(self._workers)
        self._story.workers[name].process.kill()
        return self._later(self._dice.fraction() * 10.0, self.revive_worker, name)

    def _stop_worker(self) -> float:
        name = self._dice.pick(self._workers)
        worker = self._story.workers[name]
        if worker.process.alive and not worker.process.stopped:
            worker.process.stop()
            worker.stops.append((self._story.loop.seconds, float("inf")))
        return self._later(self._dice.fraction() * 25.0, self.revive_worker, name)

    def _retire_worker(self) -> float:
        name = self._dice.pick(self._workers)
        worker = self._story.workers[name]
        if worker.process.alive and not worker.process.stopped and not worker.retiring:
            worker.process.spawn(worker.retire(), "retire")
        return self._later(15.0 + self._dice.fraction(), self.revive_worker, name)

    def revive_worker(self, name: str) -> None:
        """Have one run again, whatever was done to it."""
        worker = self._story.workers[name]
        if not worker.process.alive:
            self._story.start_worker(name)
        elif worker.process.stopped:
            worker.stops[-1] = (worker.stops[-1][0], self._story.loop.seconds)
            worker.process.thaw()

    # ---- the network

    def _cut(self) -> float:
        """Nothing gets through between a worker and a replica, either way."""
        name, address = self._dice.pick(self._workers), self._dice.pick(self._addresses)
        worker = self._story.workers[name].process.name
        return self._cut_pairs([(worker, address), (address, worker)])

    def _half_open(self) -> float:
        """What one says still reaches the other; what the other says does not."""
        worker = self._story.workers[self._dice.pick(self._workers)].process.name
        address = self._dice.pick(self._addresses)
        return self._cut_pairs([self._dice.pick(((worker, address), (address, worker)))])

    def _cut_pairs(self, pairs: list[tuple[str, str]]) -> float:
        network = self._story.network
        network.cuts.update(pairs)

        def mend() -> None:
            network.cuts.difference_update(pairs)
            for stream in list(network.streams):
                stream.pump()

        return self._later(self._dice.fraction() * 30.0, mend)

    def _break_connections(self) -> float:
        for stream in list(self._story.network.streams):
            if self._dice.chance(0.5):
                stream.hang_up()
        return 0.0

    # ---- PostgreSQL

    def _cut_from_database(self) -> float:
        """A replica and PostgreSQL do not reach each other."""
        address, database = self._dice.pick(self._addresses), self._story.database
        database.cut(address)
        return self._later(self._dice.fraction() * 20.0, lambda: database.mend(address))

    def _lose_database(self) -> float:
        """It restarts, whatever was going on."""
        self._story.database.go_away()
        return self._later(self._dice.fraction() * 8.0, self._story.database.come_back)

    def _slow_database(self) -> float:
        database = self._story.database
        database.slow_s = self._dice.fraction() * 2.0

        def hurry() -> None:
            database.slow_s = 0.0

        return self._later(self._dice.fraction() * 10.0, hurry)

    def _stall_commit(self) -> float:
        """One commit takes very long, longer than a leader may be silent or not."""
        self._story.database.stall_s = lasts_s = self._dice.fraction() * 12.0
        return lasts_s

    def _lose_answer(self) -> float:
        self._story.database.losing = self._dice.pick(("before", "after"))
        return 0.0

    def _forget_lock(self) -> float:
        """A standby takes over that knows nothing of locks: for a moment two believe that they lead."""
        self._story.database.forget_lock()
        return 0.0

    # ---- clocks

    def _set_clock(self) -> float:
        things: list[Replica | Worker] = [*self._story.replicas.values(), *self._story.workers.values()]
        self._dice.pick(things).clock.skew_us = self._dice.number(-90_000_000, 90_000_000)
        return 0.0

    def _later(self, seconds: float, mend: Callable[..., object], *arguments: str) -> float:
        self._story.loop.call_later(seconds, mend, *arguments)
        return seconds
