"""Jobs: versions, schedules, late due times, overlapping runs, pause and resume."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.cron import jitter_us
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import (
    ConcurrencyPolicy,
    Job,
    JobPlan,
    JobState,
    MisfirePolicy,
    Run,
    SchedulePlan,
    Stored,
    Trigger,
)
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import RunState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, JobId, Micros, Project, Span, WorkerId
from tests.unit.core.fake_journal import job_row
from tests.unit.core.support import NOON, Node, World, job_plan, marker, plan, schedule

SMALL = CoreSettings(fires_per_tick=10, fire_all_max=3)


@pytest.fixture
def world() -> World:
    return World()


def minutely(
    *,
    misfire: MisfirePolicy = MisfirePolicy.FIRE_ONCE,
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW,
    jitter: Span = Span(0),
) -> SchedulePlan:
    return schedule("* * * * *", misfire=misfire, concurrency=concurrency, max_jitter=jitter)


def lasting(when: SchedulePlan | None = None, *, max_active_runs: int = 0) -> JobPlan:
    """A job whose runs last until somebody ends their task."""
    return job_plan(Node("a"), schedule=when, max_active_runs=max_active_runs)


def instant(when: SchedulePlan | None = None) -> JobPlan:
    """A job whose runs end at once."""
    return job_plan(Node("a", plan=marker()), schedule=when)


def fired(world: World, job_id: JobId) -> dict[int, str]:
    """What became of each due time: minutes after noon -> run, or why not."""
    return {
        (due - NOON) // MINUTE: fire.skip_reason or "run"
        for (job, due), fire in sorted(world.journal.fires.items())
        if job == job_id
    }


def runs(world: World, job_id: JobId) -> list[int]:
    """Live runs: minutes after noon of their due times."""
    return [(run.due_at - NOON) // MINUTE for run in world.state.jobs[job_id].active_runs.values() if run.due_at is not None]


def end_one(world: World) -> None:
    """Have the oldest running task succeed."""
    world.join(held=tuple(world.held.get(WorkerId("w1"), {})))
    world.end(world.leased()[0])


# ------------------------------------------------------------------------------------------------------------- on schedule


def test_a_schedule_fires_each_due_time_once(world: World) -> None:
    job_id = world.create_job(instant(minutely()))
    for _ in range(30):
        world.pass_time(10 * SECOND)
    assert fired(world, job_id) == dict.fromkeys(range(1, 6), "run")
    assert all(run.due_at is not None for run in world.journal.runs_ended.values())
    assert world.journal.jobs[job_id].next_due == NOON + 6 * MINUTE


def test_the_engine_says_when_it_wants_to_be_woken(world: World) -> None:
    world.create_job(instant(minutely()))
    assert world.engine.next_due() == NOON + MINUTE


def test_a_due_time_its_run_and_the_next_due_time_are_one_commit(world: World) -> None:
    job_id = world.create_job(lasting(minutely()))
    writes = world.pass_time(MINUTE).writes
    (run,) = writes.runs.values()
    assert run.trigger is Trigger.SCHEDULE
    assert [(fire.job_id, fire.due_at, fire.run_id) for fire in writes.fires] == [(job_id, NOON + MINUTE, run.id)]
    assert list(writes.jobs) == [job_id]


def test_large_runs_that_are_due_at_one_instant_are_not_one_commit() -> None:
    world = World(settings=CoreSettings(fires_below=5))
    nodes = [Node(f"t{n}") for n in range(6)]
    jobs = [world.create_job(job_plan(*nodes, schedule=minutely())) for _ in range(3)]
    world.pass_time(MINUTE)
    assert [len(fired(world, job)) for job in jobs] == [1, 0, 0]
    assert world.engine.next_due() == world.now + 1, "as soon as the first is taken"
    world.pass_time(1)
    world.pass_time(1)
    assert [fired(world, job) for job in jobs] == [{1: "run"}] * 3


def test_every_counts_from_the_jobs_creation(world: World) -> None:
    world.pass_time(7 * SECOND)
    job_id = world.create_job(instant(schedule("@every 90s")))
    world.pass_time(90 * SECOND)
    assert list(world.journal.fires) == [(job_id, NOON + 97 * SECOND)]


def test_jitter_delays_the_fire_and_not_the_due_time(world: World) -> None:
    job_id = world.create_job(instant(minutely(jitter=Span(40 * SECOND))))
    delay = jitter_us(job_id, Micros(NOON + MINUTE), Span(40 * SECOND))
    assert world.journal.jobs[job_id].fires_at == NOON + MINUTE + delay
    world.pass_time(MINUTE + delay - 1)
    assert fired(world, job_id) == {}
    world.pass_time(1)
    assert fired(world, job_id) == {1: "run"}


def test_a_jitter_longer_than_the_period_makes_no_misfires(world: World) -> None:
    job_id = world.create_job(instant(minutely(misfire=MisfirePolicy.SKIP, jitter=Span(HOUR))))
    for _ in range(3 * 60):
        world.pass_time(MINUTE)
    assert set(fired(world, job_id).values()) == {"run"}
    assert len(fired(world, job_id)) >= 120


def test_a_schedule_without_another_time_stops(world: World) -> None:
    job_id = world.create_job(instant(schedule("0 0 29 2 *")))
    job = world.state.jobs[job_id]
    assert job.next_due is not None
    world.pass_time(job.next_due - world.now)
    assert len(world.journal.fires) == 1
    assert job.next_due > world.now + 365 * 24 * HOUR


# ---------------------------------------------------------------------------------------------------------------- misfires


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        (MisfirePolicy.SKIP, {1: "misfire", 2: "misfire", 3: "misfire", 4: "misfire", 5: "misfire"}),
        (MisfirePolicy.FIRE_ONCE, {1: "misfire", 2: "misfire", 3: "misfire", 4: "misfire", 5: "run"}),
        (MisfirePolicy.FIRE_ALL, {1: "misfire", 2: "misfire", 3: "run", 4: "run", 5: "run"}),
    ],
)
def test_due_times_that_passed_while_nobody_led(misfire: MisfirePolicy, expected: dict[int, str]) -> None:
    world = World(CoreSettings(fires_per_tick=10, fire_all_max=3, misfire_after=Span(30 * SECOND)))
    job_id = world.create_job(instant(minutely(misfire=misfire)))
    world.pass_time(5 * MINUTE + 40 * SECOND)
    assert fired(world, job_id) == expected


def test_a_due_time_that_is_little_late_is_no_misfire(world: World) -> None:
    job_id = world.create_job(instant(minutely(misfire=MisfirePolicy.SKIP)))
    world.pass_time(MINUTE + 59 * SECOND)
    assert fired(world, job_id) == {1: "run"}


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [(MisfirePolicy.SKIP, []), (MisfirePolicy.FIRE_ONCE, [100]), (MisfirePolicy.FIRE_ALL, [98, 99, 100])],
)
def test_a_long_outage_is_caught_up_with_in_rounds(misfire: MisfirePolicy, expected: list[int]) -> None:
    world = World(CoreSettings(fires_per_tick=10, fire_all_max=3, misfire_after=Span(1)))
    job_id = world.create_job(instant(minutely(misfire=misfire)))
    world.pass_time(100 * MINUTE + 30 * SECOND)
    while (due := world.engine.next_due()) is not None and due <= world.now + 1:
        world.pass_time(1)
    what = fired(world, job_id)
    assert list(what) == list(range(1, 101))
    assert [minute for minute, outcome in what.items() if outcome == "run"] == expected


def test_a_year_of_seconds_is_caught_up_with_at_once() -> None:
    world = World()
    world.create_job(instant(schedule("@every 1s", misfire=MisfirePolicy.FIRE_ALL)))
    now = Micros(NOON + 365 * 24 * HOUR)
    writes = world.engine.step([commands.Tick()], now).writes
    (span,) = writes.fire_spans
    settings = world.engine.state.settings
    latest = range(now - (settings.fire_all_max - 1) * SECOND, now + 1, SECOND)
    assert (span.since, span.until, span.skip_reason) == (NOON + SECOND, latest[0] - 1, "misfire")
    assert not writes.fires
    writes = world.engine.step([commands.Tick()], Micros(now + 1)).writes
    assert [fire.due_at for fire in writes.fires] == list(latest)
    assert all(fire.run_id is not None for fire in writes.fires)


# ------------------------------------------------------------------------------------------------------------- overlapping


def test_allow_runs_side_by_side(world: World) -> None:
    job_id = world.create_job(lasting(minutely()))
    for _ in range(3):
        world.pass_time(MINUTE)
    assert runs(world, job_id) == [1, 2, 3]


def test_forbid_skips_while_a_run_goes_on(world: World) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.FORBID)))
    for _ in range(2):
        world.pass_time(MINUTE)
    end_one(world)
    world.pass_time(MINUTE)
    assert fired(world, job_id) == {1: "run", 2: "another run goes on", 3: "run"}


@pytest.mark.parametrize("max_active_runs", [0, 1])
def test_replace_cancels_the_run_that_goes_on(world: World, max_active_runs: int) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.REPLACE), max_active_runs=max_active_runs))
    for _ in range(2):
        world.pass_time(MINUTE)
    assert runs(world, job_id) == [2]
    assert [run.state for run in world.journal.runs_ended.values()] == [RunState.CANCELLED]


def test_queue_runs_one_after_the_other(world: World) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.QUEUE)))
    for _ in range(3):
        world.pass_time(MINUTE)
    assert runs(world, job_id) == [1]
    assert world.journal.jobs[job_id].waiting_runs == (NOON + 2 * MINUTE, NOON + 3 * MINUTE)
    end_one(world)
    assert runs(world, job_id) == [2]
    end_one(world)
    end_one(world)
    assert fired(world, job_id) == {1: "run", 2: "run", 3: "run"}
    assert world.journal.jobs[job_id].waiting_runs == ()


def test_no_more_than_the_limit_wait(world: World) -> None:
    world = World(SMALL)
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.QUEUE)))
    for _ in range(6):
        world.pass_time(MINUTE)
    assert len(world.state.jobs[job_id].waiting_runs) == 3
    assert fired(world, job_id) == {1: "run", 5: "too many runs wait", 6: "too many runs wait"}


def test_max_active_runs_holds_due_times_back_and_refuses_triggers(world: World) -> None:
    job_id = world.create_job(lasting(minutely(), max_active_runs=2))
    for _ in range(3):
        world.pass_time(MINUTE)
    assert runs(world, job_id) == [1, 2]
    with pytest.raises(Refusal, match="2 runs go on"):
        world.trigger(job_id)
    end_one(world)
    assert runs(world, job_id) == [2, 3]


def test_a_lower_limit_counts_for_what_waits(world: World) -> None:
    job_id = world.create_job(lasting(minutely(), max_active_runs=2))
    for _ in range(4):
        world.pass_time(MINUTE)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, lasting(minutely(), max_active_runs=1), 1))
    end_one(world)
    assert runs(world, job_id) == [2]
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, lasting(minutely()), 2))
    assert runs(world, job_id) == [2, 3, 4]


def test_a_due_time_without_room_for_its_tasks_is_skipped() -> None:
    world = World(CoreSettings(live_tasks_max=1))
    job_id = world.create_job(lasting(minutely()))
    for _ in range(2):
        world.pass_time(MINUTE)
    assert fired(world, job_id) == {1: "run", 2: "overloaded"}


# ----------------------------------------------------------------------------------------------------------- pause, resume


def act(world: World, job_id: JobId, action: str) -> Job:
    reply = world.ask(commands.SetJobState(DEFAULT_PROJECT, job_id, action))
    assert isinstance(reply, Job)
    return reply


def test_a_paused_job_fires_nothing_and_its_runs_go_on(world: World) -> None:
    job_id = world.create_job(lasting(minutely()))
    world.pass_time(MINUTE)
    assert act(world, job_id, "pause").fires_at is None
    for _ in range(3):
        world.pass_time(MINUTE)
    assert runs(world, job_id) == [1]
    assert act(world, job_id, "resume").next_due == NOON + 5 * MINUTE
    world.pass_time(MINUTE)
    assert fired(world, job_id) == {1: "run", 2: "paused", 3: "paused", 4: "paused", 5: "run"}


@pytest.mark.parametrize("ending", ["resume", "delete", "a new schedule"])
def test_the_due_times_of_a_pause_are_recorded_whatever_ends_it(world: World, ending: str) -> None:
    job_id = world.create_job(instant(minutely()), paused=True)
    world.pass_time(2 * MINUTE)
    assert fired(world, job_id) == {}
    if ending == "a new schedule":
        world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, instant(schedule("@hourly")), 1))
    else:
        act(world, job_id, ending)
    assert fired(world, job_id) == {1: "paused", 2: "paused"}


def test_a_long_pause_costs_one_record_and_each_due_time_has_its_reason() -> None:
    world = World(CoreSettings(skips_max=3))
    job_id = world.create_job(instant(minutely()), paused=True)
    world.pass_time(3 * MINUTE)
    act(world, job_id, "resume")
    assert fired(world, job_id) == dict.fromkeys((1, 2, 3), "paused")
    act(world, job_id, "pause")
    world.pass_time(24 * HOUR)
    writes = world.do(commands.SetJobState(DEFAULT_PROJECT, job_id, "resume")).writes
    assert (len(writes.fires), len(writes.fire_spans)) == (0, 1)
    assert fired(world, job_id) == dict.fromkeys(range(1, 24 * 60 + 4), "paused")
    world.pass_time(MINUTE)
    assert fired(world, job_id)[24 * 60 + 4] == "run"


def test_a_change_after_a_long_standstill_decides_every_due_time() -> None:
    world = World(CoreSettings(fires_per_tick=10, fire_all_max=3, skips_max=4))
    job_id = world.create_job(instant(minutely()))
    world.now = Micros(NOON + HOUR)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, instant(schedule("@hourly")), 1))
    what = fired(world, job_id)
    assert sorted(what) == list(range(1, 61))
    assert what[1] == "misfire"
    assert what[60] == "the schedule was changed"


def test_one_change_pauses_and_replans(world: World) -> None:
    job_id = world.create_job(instant(minutely()))
    world.now = Micros(NOON + MINUTE)
    change = commands.UpdateJob(DEFAULT_PROJECT, job_id, instant(schedule("@hourly")), 1, state=JobState.PAUSED)
    reply = world.ask(change)
    assert isinstance(reply, Job)
    assert (reply.version, reply.state, reply.fires_at, reply.next_due) == (2, JobState.PAUSED, None, NOON + HOUR)
    assert fired(world, job_id) == {1: "run"}
    world.pass_time(2 * HOUR)
    resumed = world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, None, 2, state=JobState.ACTIVE))
    assert isinstance(resumed, Job)
    assert (resumed.version, resumed.fires_at) == (3, NOON + 3 * HOUR)
    assert fired(world, job_id) == {1: "run", 60: "paused", 120: "paused"}
    same = world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, None, 3, state=JobState.ACTIVE))
    assert isinstance(same, Job)
    assert same.version == 3
    assert not world.effects.writes


def test_a_paused_job_still_runs_when_triggered(world: World) -> None:
    job_id = world.create_job(lasting(minutely()), paused=True)
    world.pass_time(HOUR)
    assert fired(world, job_id) == {}
    assert world.trigger(job_id) in world.journal.runs


def test_pausing_records_what_waited(world: World) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.QUEUE)))
    for _ in range(3):
        world.pass_time(MINUTE)
    act(world, job_id, "pause")
    assert fired(world, job_id) == {1: "run", 2: "paused", 3: "paused"}
    assert world.journal.jobs[job_id].waiting_runs == ()


@pytest.mark.parametrize("action", ["pause", "delete"])
def test_due_times_that_came_before_a_pause_or_deletion_are_decided(world: World, action: str) -> None:
    job_id = world.create_job(instant(minutely(misfire=MisfirePolicy.FIRE_ALL)))
    world.now = Micros(NOON + 2 * MINUTE)
    act(world, job_id, action)
    assert fired(world, job_id) == {1: "run", 2: "run"}


def test_a_due_time_that_waited_for_its_jitter_is_decided_by_a_pause(world: World) -> None:
    jitter = Span(HOUR)
    job_id = world.create_job(instant(minutely(jitter=jitter)))
    assert jitter_us(job_id, Micros(NOON + MINUTE), jitter) > 0
    world.now = Micros(NOON + MINUTE)
    act(world, job_id, "pause")
    assert fired(world, job_id) == {1: "paused"}


def test_a_deleted_job_is_gone_and_its_runs_end(world: World) -> None:
    job_id = world.create_job(lasting(minutely()))
    world.pass_time(MINUTE)
    act(world, job_id, "delete")
    with pytest.raises(Refusal, match="no such job"):
        world.trigger(job_id)
    end_one(world)
    assert world.journal.jobs[job_id].state == "deleted"
    assert not world.journal.runs


def test_pausing_twice_changes_nothing_the_second_time(world: World) -> None:
    job_id = world.create_job(instant(minutely()))
    assert act(world, job_id, "pause").version == 2
    assert act(world, job_id, "pause").version == 2
    assert not world.effects.writes


# ---------------------------------------------------------------------------------------------------------------- versions


def test_a_change_needs_the_current_version(world: World) -> None:
    job_id = world.create_job(instant())
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, lasting(), 1))
    with pytest.raises(Refusal) as refusal:
        world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, instant(), 1))
    assert (refusal.value.reason, refusal.value.metadata) == ("version_conflict", {"version": "2"})
    assert not world.effects.writes


def test_a_new_schedule_counts_from_now_and_the_old_one_is_decided(world: World) -> None:
    job_id = world.create_job(instant(minutely()))
    world.now = Micros(NOON + MINUTE)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, instant(schedule("*/10 * * * *")), 1))
    assert fired(world, job_id) == {1: "run"}
    assert world.journal.jobs[job_id].next_due == NOON + 10 * MINUTE
    world.pass_time(5 * MINUTE)
    assert fired(world, job_id) == {1: "run"}


def test_a_change_of_something_else_keeps_the_next_due_time(world: World) -> None:
    job_id = world.create_job(instant(schedule("@every 1h")))
    before = world.journal.jobs[job_id].next_due
    world.pass_time(MINUTE)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, lasting(schedule("@every 1h")), 1))
    assert world.journal.jobs[job_id].next_due == before


def test_another_projects_job_does_not_exist(world: World) -> None:
    job_id = world.create_job(instant())
    other = Project("other")
    for command in (
        commands.TriggerJob(other, job_id),
        commands.UpdateJob(other, job_id, instant(), 1),
        commands.SetJobState(other, job_id, "delete"),
    ):
        with pytest.raises(Refusal, match="no such job"):
            world.ask(command)


# ------------------------------------------------------------------------------------------------- jobs that are not in memory


def stored_job(world: World, when: SchedulePlan, due: int) -> Job:
    """A job's row as PostgreSQL has it."""
    job = Job(JobId(b"\x07" * 16), DEFAULT_PROJECT, instant(when), NOON, NOON, version=3, stored=Stored.LIVE)
    job.next_due = job.fires_at = Micros(due)
    world.journal.jobs.setdefault(job.id, job_row(job))
    return job


def test_jobs_are_taken_into_memory_ahead_of_their_due_time(world: World) -> None:
    job = stored_job(world, minutely(), NOON + MINUTE)
    world.do(commands.JobsDue([job]))
    world.pass_time(MINUTE)
    assert fired(world, job.id) == {1: "run"}


def test_a_job_that_was_due_while_nobody_led_fires_when_it_is_read(world: World) -> None:
    job = stored_job(world, minutely(), NOON - 2 * MINUTE)
    world.do(commands.JobsDue([job]))
    assert fired(world, job.id) == {-2: "misfire", -1: "run", 0: "run"}


def test_a_job_that_a_command_brought_into_memory_fires_too(world: World) -> None:
    job = stored_job(world, minutely(), NOON + MINUTE)
    run = world.ask(commands.TriggerJob(DEFAULT_PROJECT, job.id, record=job))
    assert isinstance(run, Run)
    world.do(commands.JobsDue([stored_job(world, minutely(), NOON + MINUTE)]))
    world.pass_time(MINUTE)
    assert fired(world, job.id) == {1: "run"}


def test_what_is_in_memory_wins_over_what_was_read(world: World) -> None:
    job_id = world.create_job(lasting())
    old = Job(job_id, DEFAULT_PROJECT, instant(minutely()), NOON, NOON, next_due=Micros(NOON), fires_at=Micros(NOON))
    world.do(commands.JobsDue([old]))
    world.pass_time(MINUTE)
    assert fired(world, job_id) == {}
    run = world.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id, record=old))
    assert isinstance(run, Run)
    assert run.id in world.journal.runs


def test_a_run_says_who_triggered_it_and_carries_the_trace(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a", plan=plan())))
    reply = world.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id, traceparent="00-ab-cd-01"))
    assert isinstance(reply, Run)
    assert reply.trigger is Trigger.MANUAL
    (task,) = world.state.tasks.values()
    assert task.traceparent == "00-ab-cd-01"


@pytest.mark.parametrize("policy", [ConcurrencyPolicy.FORBID, ConcurrencyPolicy.QUEUE])
def test_a_trigger_that_obeys_the_policy_is_refused_while_a_run_goes_on(world: World, policy: ConcurrencyPolicy) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=policy)))
    obeying = commands.TriggerJob(DEFAULT_PROJECT, job_id, obeys_policy=True)
    assert isinstance(world.ask(obeying), Run)
    with pytest.raises(Refusal, match=f"another run goes on, which the concurrency policy {policy} does not allow"):
        world.ask(obeying)
    assert len(world.journal.runs) == 1
    assert isinstance(world.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id)), Run)


def test_a_trigger_that_obeys_the_policy_replaces_the_run_that_goes_on(world: World) -> None:
    job_id = world.create_job(lasting(minutely(concurrency=ConcurrencyPolicy.REPLACE)))
    obeying = commands.TriggerJob(DEFAULT_PROJECT, job_id, obeys_policy=True)
    first, second = world.ask(obeying), world.ask(obeying)
    assert isinstance(first, Run)
    assert isinstance(second, Run)
    assert world.journal.runs_ended[first.id].state is RunState.CANCELLED
    assert world.journal.runs[second.id].state is RunState.PENDING


def test_a_trigger_that_obeys_the_policy_is_free_where_there_is_none(world: World) -> None:
    for plan_of_job in (lasting(), lasting(minutely())):
        job_id = world.create_job(plan_of_job)
        obeying = commands.TriggerJob(DEFAULT_PROJECT, job_id, obeys_policy=True)
        assert all(isinstance(world.ask(obeying), Run) for _ in range(2))
