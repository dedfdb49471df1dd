"""Misfire and concurrency policies as one table: what becomes of each due time of a schedule.

The story is the same for every row. A job is due each minute and its runs last until they are ended. The leader stands still for
some minutes (`late`), then time goes on by the minute; the oldest run is ended before each of the minutes in `ends`. A letter
tells what became of each due time in turn:

    R run   W waits   M misfire   A another run goes on   T too many runs wait   X run, cancelled for a later one
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.cron import jitter_us
from foliot_scheduler.core.model import ConcurrencyPolicy, MisfirePolicy, Outcome
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import RunState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, JobId, Micros, Span, WorkerId
from tests.unit.core.support import NOON, Node, World, job_plan, schedule

SKIP, ONCE, ALL = MisfirePolicy.SKIP, MisfirePolicy.FIRE_ONCE, MisfirePolicy.FIRE_ALL
ALLOW, FORBID = ConcurrencyPolicy.ALLOW, ConcurrencyPolicy.FORBID
REPLACE, QUEUE = ConcurrencyPolicy.REPLACE, ConcurrencyPolicy.QUEUE

SETTINGS = CoreSettings(fire_all_max=3, fires_per_tick=10, misfire_after=Span(30 * SECOND))
LETTERS = {"misfire": "M", "another run goes on": "A", "too many runs wait": "T"}


class Row(NamedTuple):
    """One line of the table."""

    misfire: MisfirePolicy
    concurrency: ConcurrencyPolicy
    late: int
    """Minutes for which nothing could fire, from the start; the first due time is at minute 1."""
    minutes: int
    """How many minutes are told."""
    ends: tuple[int, ...]
    """Minutes before which the oldest run is ended."""
    expected: str


# fmt: off
TABLE = [
    # The leader is there all the time: the misfire policy has nothing to say.
    Row(SKIP, ALLOW,   late=0, minutes=4, ends=(),     expected="RRRR"),
    Row(ONCE, ALLOW,   late=0, minutes=4, ends=(),     expected="RRRR"),
    Row(ALL,  ALLOW,   late=0, minutes=4, ends=(),     expected="RRRR"),
    Row(SKIP, FORBID,  late=0, minutes=4, ends=(),     expected="RAAA"),
    Row(ONCE, FORBID,  late=0, minutes=4, ends=(3,),   expected="RARA"),
    Row(ALL,  FORBID,  late=0, minutes=4, ends=(2, 3), expected="RRRA"),
    Row(SKIP, REPLACE, late=0, minutes=4, ends=(),     expected="XXXR"),
    Row(ONCE, REPLACE, late=0, minutes=4, ends=(3,),   expected="XRXR"),
    Row(ALL,  REPLACE, late=0, minutes=4, ends=(),     expected="XXXR"),
    Row(SKIP, QUEUE,   late=0, minutes=4, ends=(),     expected="RWWW"),
    Row(ONCE, QUEUE,   late=0, minutes=6, ends=(),     expected="RWWWTT"),
    Row(ALL,  QUEUE,   late=0, minutes=4, ends=(3, 4), expected="RRRW"),
    # It stands still for five minutes and forty seconds: five due times are late by more than the threshold.
    Row(SKIP, ALLOW,   late=5, minutes=6, ends=(),     expected="MMMMMR"),
    Row(ONCE, ALLOW,   late=5, minutes=6, ends=(),     expected="MMMMRR"),
    Row(ALL,  ALLOW,   late=5, minutes=6, ends=(),     expected="MMRRRR"),
    Row(SKIP, FORBID,  late=5, minutes=6, ends=(),     expected="MMMMMR"),
    Row(ONCE, FORBID,  late=5, minutes=6, ends=(),     expected="MMMMRA"),
    Row(ALL,  FORBID,  late=5, minutes=6, ends=(),     expected="MMRAAA"),
    Row(SKIP, REPLACE, late=5, minutes=6, ends=(),     expected="MMMMMR"),
    Row(ONCE, REPLACE, late=5, minutes=6, ends=(),     expected="MMMMXR"),
    Row(ALL,  REPLACE, late=5, minutes=6, ends=(),     expected="MMXXXR"),
    Row(SKIP, QUEUE,   late=5, minutes=6, ends=(),     expected="MMMMMR"),
    Row(ONCE, QUEUE,   late=5, minutes=7, ends=(7,),   expected="MMMMRRW"),
    Row(ALL,  QUEUE,   late=5, minutes=6, ends=(),     expected="MMRWWW"),
    Row(ALL,  QUEUE,   late=5, minutes=7, ends=(6,),   expected="MMRRWWW"),
]
# fmt: on


def told(world: World, job_id: JobId, minutes: int) -> str:
    """A letter for each due time."""
    letters = []
    waiting = world.journal.jobs[job_id].waiting_runs
    for minute in range(1, minutes + 1):
        due = Micros(NOON + minute * MINUTE)
        fire = world.journal.fires.get((job_id, due))
        if fire is None:
            assert due in waiting, f"minute {minute} left nothing"
            letters.append("W")
        elif fire.run_id is None:
            letters.append(LETTERS[fire.skip_reason])
        else:
            ended = world.journal.runs_ended.get(fire.run_id)
            letters.append("X" if ended is not None and ended.state is RunState.CANCELLED else "R")
    return "".join(letters)


def end_oldest(world: World) -> None:
    session = world.join(held=tuple(world.held.get(WorkerId("w1"), {})))
    world.end(world.leased()[0], Outcome.SUCCEEDED)
    world.do(commands.WorkerLeft(session, WorkerId("w1")))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.misfire}-{row.concurrency}-{row.expected}")
def test_the_table(row: Row) -> None:
    world = World(SETTINGS)
    when = schedule("* * * * *", misfire=row.misfire, concurrency=row.concurrency)
    job_id = world.create_job(job_plan(Node("a"), schedule=when))
    if row.late:
        world.pass_time(row.late * MINUTE + 40 * SECOND)
    for minute in range(row.late + 1, row.minutes + 1):
        if minute in row.ends:
            end_oldest(world)
        world.pass_time(NOON + minute * MINUTE - world.now)
    assert told(world, job_id, row.minutes) == row.expected


def test_every_pair_of_policies_is_in_the_table_with_and_without_a_standstill() -> None:
    shown = {(row.misfire, row.concurrency, bool(row.late)) for row in TABLE}
    assert shown == {(m, c, late) for m in MisfirePolicy for c in ConcurrencyPolicy for late in (False, True)}


@pytest.mark.parametrize(("late_s", "expected"), [(29, "R"), (30, "R"), (31, "M")])
def test_the_threshold_of_a_misfire_is_a_setting(late_s: int, expected: str) -> None:
    world = World(SETTINGS)
    job_id = world.create_job(job_plan(Node("a"), schedule=schedule("* * * * *", misfire=SKIP)))
    world.pass_time(MINUTE + late_s * SECOND)
    assert told(world, job_id, 1) == expected


def test_fire_all_fires_a_hundred_at_most() -> None:
    world = World()
    job_id = world.create_job(job_plan(Node("a"), schedule=schedule("* * * * *", misfire=ALL)))
    world.pass_time(250 * MINUTE)
    assert told(world, job_id, 250) == "M" * 150 + "R" * 100


def test_jitter_is_the_same_for_whoever_leads_and_differs_between_due_times() -> None:
    longest = Span(HOUR)
    jobs = [JobId(bytes([number]) * 16) for number in range(20)]
    dues = [Micros(NOON + hour * HOUR) for hour in range(20)]
    delays = {(job, due): jitter_us(job, due, longest) for job in jobs for due in dues}
    assert delays == {(job, due): jitter_us(job, due, longest) for job in jobs for due in dues}
    assert len(set(delays.values())) == len(delays)
    assert all(0 <= delay <= longest for delay in delays.values())
    # Evenly: each quarter of the hour holds about a quarter of the 400.
    quarters = [sum(delay * 4 // (longest + 1) == quarter for delay in delays.values()) for quarter in range(4)]
    assert all(70 < count < 130 for count in quarters), quarters


def test_schedules_that_are_not_due_cost_nothing() -> None:
    """Jobs that are not due are not looked at: each has one timer, and only those that go off are touched."""
    world = World()
    state = world.state
    yearly = [job_plan(schedule=schedule(f"{minute} 0 1 1 *")) for minute in range(60)]
    stored = [commands.CreateJob(DEFAULT_PROJECT, yearly[number % 60]) for number in range(20_000)]
    world.journal.apply(world.engine.step(stored, world.now).writes)
    due_soon = [world.create_job(job_plan(schedule=schedule("* * * * *"))) for _ in range(3)]
    timers = len(state.timers)
    assert timers == 20_003
    writes = world.pass_time(MINUTE).writes
    assert set(writes.jobs) == set(due_soon)
    assert len(writes.fires) == 3
    # Three went off and were set again; none of the others was touched.
    assert len(state.timers) == timers
