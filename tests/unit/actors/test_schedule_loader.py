"""Jobs are in the leader's memory before they are due, and no old row ever becomes the truth."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import structlog.testing

from foliot.kit.clock import ManualClock
from foliot_scheduler.actors.schedule_loader import LoadReport, ScheduleLoader, ScheduleLoaderSettings
from foliot_scheduler.core.commands import JobsDue, SetJobState
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.model import Job, JobState, Stored
from foliot_scheduler.core.types import DEFAULT_PROJECT, MINUTE, SECOND, JobId, Micros
from foliot_scheduler.store.errors import StoreUnavailable
from foliot_scheduler.store.pool import Row
from tests.unit.actors.standing import StandIn
from tests.unit.core.support import Ids, Node, job_plan, schedule

AHEAD = 90 * SECOND


def job_id(number: int) -> JobId:
    return JobId(number.to_bytes(16, "big"))


class FakeSchedules:
    """Jobs by id and when they fire; a test may step in between the reads."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ahead_us = 0
        """Of the store's clock, to that of the loader's host."""
        self.fires: dict[JobId, Micros] = {}
        self.page_rows = 1_000
        self.spans: list[tuple[Micros, Micros]] = []
        self.read: list[list[JobId]] = []
        self.before_rows: Callable[[], None] = lambda: None
        self.after_rows: Callable[[], None] = lambda: None
        self.failure: Exception | None = None
        self.open = 0

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[FakeSchedules]:
        if self.failure is not None:
            raise self.failure
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def read_clock(self) -> Micros:
        return Micros(self.clock.now_us() + self.ahead_us)

    async def due_jobs(self, *, since: Micros, until: Micros) -> AsyncGenerator[list[JobId], None]:
        self.spans.append((since, until))
        self.open += 1
        try:
            due = sorted((fires, key) for key, fires in self.fires.items() if since <= fires < until)
            for start in range(0, len(due), self.page_rows):
                yield [key for _, key in due[start : start + self.page_rows]]
        finally:
            self.open -= 1

    async def read_jobs(self, ids: Sequence[JobId]) -> Sequence[Row]:
        self.before_rows()
        self.read.append(list(ids))
        rows = [{"id": key, "fires_at": self.fires[key]} for key in ids]
        self.after_rows()
        return rows


def job_from_row(row: Row) -> Job:
    plan = job_plan(Node("a"), schedule=schedule("@every 1h"))
    fires = row["fires_at"]
    return Job(row["id"], DEFAULT_PROJECT, plan, Micros(0), Micros(0), next_due=fires, fires_at=fires, stored=Stored.LIVE)


class Replica:
    """A loader with everything around it."""

    def __init__(self, make: Callable[[Any], Job] = job_from_row) -> None:
        self.clock = ManualClock()
        self.leadership = StandIn()
        self.store = FakeSchedules(self.clock)
        self.loader = ScheduleLoader(
            store=self.store,
            leadership=self.leadership,
            clock=self.clock,
            job_from_row=make,
            settings=ScheduleLoaderSettings(),
        )
        self.began = Micros(self.clock.now_us())

    @property
    def commands(self) -> list[JobsDue]:
        posted = self.leadership.posted
        return [command for command in posted if isinstance(command, JobsDue)]

    @property
    def loaded(self) -> list[JobId]:
        return [job.id for command in self.commands for job in command.jobs]

    def add(self, number: int, fires_in: float) -> JobId:
        self.store.fires[job_id(number)] = Micros(self.began + round(fires_in * 1_000_000))
        return job_id(number)


async def test_what_is_overdue_and_what_is_near_is_loaded_at_once_earliest_first() -> None:
    replica = Replica()
    near, overdue = replica.add(1, 89.9), replica.add(2, -1e6)
    replica.add(3, 90)
    replica.leadership.elect(1)
    async with replica.loader:
        await replica.clock.run_for(0)
    assert replica.loaded == [overdue, near]
    horizon = replica.began + AHEAD
    assert replica.store.spans == [(0, horizon)]
    assert replica.store.open == 0


async def test_later_rounds_read_on_from_the_horizon() -> None:
    replica = Replica()
    replica.leadership.elect(1)
    late = replica.add(1, 100)
    async with replica.loader:
        await replica.clock.run_for(300)
    spans = replica.store.spans
    assert [since for since, _ in spans[1:]] == [until for _, until in spans[:-1]]
    assert len(spans) in {11, 12}
    assert replica.loaded == [late]


async def test_pages_and_known_jobs() -> None:
    replica = Replica()
    replica.store.page_rows = 2
    ids = [replica.add(number, number) for number in range(7)]
    replica.leadership.known = {ids[0], ids[2], ids[3]}
    replica.leadership.elect(1)
    report = await replica.loader.run_once()
    assert report == LoadReport(seen=7, loaded=4, horizon=Micros(replica.began + AHEAD), complete=True)
    # A page that is known has no rows read.
    assert replica.store.read == [[ids[1]], [ids[4], ids[5]], [ids[6]]]
    assert replica.loaded == [ids[1], ids[4], ids[5], ids[6]]


async def test_rows_read_in_one_term_are_not_posted_to_another() -> None:
    """In between, another leader may have decided the very due times that the rows still tell of."""
    replica = Replica()
    replica.add(1, 10)
    replica.leadership.elect(1)

    def change_hands() -> None:
        replica.leadership.depose()
        replica.leadership.elect(3)
        replica.store.after_rows = lambda: None

    replica.store.after_rows = change_hands
    report = await replica.loader.run_once()
    assert (report.complete, report.loaded) == (False, 0)
    assert replica.commands == []


async def test_a_new_term_reads_from_the_beginning_of_time() -> None:
    replica = Replica()
    first = replica.add(1, -10)
    replica.leadership.elect(1)
    async with replica.loader:
        await replica.clock.run_for(40)
        assert replica.loaded == [first]
        replica.leadership.depose()
        replica.leadership.elect(2)
        await replica.clock.run_for(1)
    assert replica.loaded == [first, first]
    assert replica.store.spans[-1][0] == 0


@pytest.mark.parametrize("while_reading", [True, False])
async def test_an_overloaded_leader_is_asked_again_and_nothing_is_left_out(while_reading: bool) -> None:
    replica = Replica()
    replica.store.page_rows = 1
    ids = [replica.add(number, number) for number in range(3)]
    replica.leadership.elect(1)
    async with replica.loader:
        if while_reading:
            replica.store.after_rows = lambda: setattr(replica.leadership, "overloaded", len(replica.store.read) == 2)
        else:
            replica.leadership.overloaded = True
        await replica.clock.run_for(0)
        assert replica.loaded == (ids[:1] if while_reading else [])
        assert replica.store.open == 0
        replica.leadership.overloaded = False
        replica.leadership.known = set(replica.loaded)
        await replica.clock.run_for(2)
    assert replica.loaded == ids
    assert replica.store.spans[0][0] == replica.store.spans[1][0] == 0


async def test_failures_are_told_once_and_tried_again() -> None:
    replica = Replica()
    due = replica.add(1, 5)
    replica.leadership.elect(1)
    replica.store.failure = StoreUnavailable("PostgreSQL does not answer")
    with structlog.testing.capture_logs() as logs:
        async with replica.loader:
            await replica.clock.run_for(20)
            assert replica.loader.running
            replica.store.failure = None
            await replica.clock.run_for(2)
    assert replica.loaded == [due]
    told = [(line["event"], line["log_level"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("schedule_loader.failed", "warning"), ("schedule_loader.recovered", "info")]


async def test_a_row_that_cannot_be_read_does_not_stop_the_others() -> None:
    def make(row: Row) -> Job:
        if row["id"] == job_id(1):
            raise ValueError("not a spec")
        return job_from_row(row)

    replica = Replica(make)
    replica.add(1, 1)
    good = replica.add(2, 2)
    replica.leadership.elect(1)
    with structlog.testing.capture_logs() as logs:
        report = await replica.loader.run_once()
    assert replica.loaded == [good]
    assert (report.loaded, report.complete) == (1, True)
    assert [(line["event"], line["job_id"]) for line in logs] == [
        ("schedule_loader.unreadable_job", "00000000-0000-0000-0000-000000000001")
    ]


async def test_the_clock_of_the_host_does_not_matter() -> None:
    replica = Replica()
    near = replica.add(1, 3600 + 80)
    replica.add(2, 3600 + 100)
    replica.store.ahead_us = 3600 * 1_000_000
    replica.leadership.elect(1)
    await replica.loader.run_once()
    assert replica.loaded == [near]


async def test_a_clock_that_is_set_back_keeps_the_horizon() -> None:
    replica = Replica()
    replica.leadership.elect(1)
    first = await replica.loader.run_once()
    replica.clock.shift_wall(-3600)
    assert await replica.loader.run_once() == LoadReport(0, 0, first.horizon, complete=True)
    replica.clock.shift_wall(3660)
    assert (await replica.loader.run_once()).horizon == first.horizon + MINUTE


async def test_a_job_that_changed_after_its_row_was_read_stays_as_it_is_in_memory() -> None:
    """The race within a term, with the engine itself: the row is read, the job is paused, and only then the row arrives."""
    replica = Replica()
    due = replica.add(1, 10)
    replica.leadership.elect(1)
    engine = Engine(epoch=1, new_id=Ids(), draw=lambda: 0.5)
    old_row = job_from_row({"id": due, "fires_at": replica.store.fires[due]})

    def pause() -> None:
        # The command's sender has read the same row a moment before.
        engine.step([SetJobState(DEFAULT_PROJECT, due, "pause", record=old_row)], replica.began)

    replica.store.after_rows = pause
    await replica.loader.run_once()
    engine.step(replica.commands, replica.began)
    assert engine.state.jobs[due] is old_row
    assert old_row.state is JobState.PAUSED
    effects = engine.step([], Micros(replica.began + MINUTE))
    assert not effects.writes.fires


async def test_a_loaded_job_fires_once_however_often_it_is_posted() -> None:
    replica = Replica()
    due = replica.add(1, 10)
    replica.leadership.elect(1)
    engine = Engine(epoch=1, new_id=Ids(), draw=lambda: 0.5)
    await replica.loader.run_once()
    # A round that failed halfway posts again what it had posted, before the leader has come to it.
    replica.loader.begin_term()
    await replica.loader.run_once()
    engine.apply(replica.commands, replica.began)
    assert len(replica.loaded) == 2
    effects = engine.step([], Micros(replica.began + MINUTE))
    assert [(fire.job_id, fire.due_at) for fire in effects.writes.fires] == [(due, replica.store.fires[due])]


@pytest.mark.parametrize(("every_s", "ahead_s", "retry_s"), [(30.0, 30.0, 2.0), (30.0, 90.0, 0.0), (30.0, 90.0, 31.0)])
def test_settings_that_make_no_sense_are_refused(every_s: float, ahead_s: float, retry_s: float) -> None:
    with pytest.raises(ValueError, match="reading ahead needs"):
        ScheduleLoaderSettings(every_s=every_s, ahead_s=ahead_s, retry_s=retry_s)
