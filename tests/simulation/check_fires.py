"""Checks of schedules: each due time one run or one recorded skip, in time, under its policies."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from foliot.v1 import job_pb2
from foliot_scheduler.core.model import ConcurrencyPolicy, JobState, MisfirePolicy
from foliot_scheduler.specs.jobs import plan_job
from tests.simulation.cluster import SETTINGS
from tests.simulation.virtual import START_US

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import FireRecord
    from foliot_scheduler.core.model import JobPlan, SchedulePlan
    from foliot_scheduler.core.types import JobId, Micros
    from tests.simulation.story import Story

CALM_S: Final = 40.0
"""How long nothing was wrong before a due time must be decided within LATE_S: what follows from a harm is over by then."""

LATE_S: Final = 1.0
"""What the scheduler promises where nothing is wrong."""

LATE_AFTER_S: Final = 4.0
"""The same from when somebody leads whose commits go through: until the next try to read schedules after one that failed, a
second for the promise, and one as it is looked at once a second."""


class RunSpan(NamedTuple):
    """When a run lived."""

    created: Micros
    ended: Micros
    due_at: Micros | None


def check(story: Story) -> None:
    """Raise AssertionError for a promise that was broken."""
    journal, rows = story.database.journal, story.database.shelf.rows
    by_run = {fire.run_id for fire in journal.fires.values() if fire.run_id is not None}
    scheduled = {run_id for run_id, run in journal.runs_ended.items() if run.due_at is not None}
    assert by_run == scheduled, "a due time and its run do not match"
    fires: defaultdict[JobId, list[FireRecord]] = defaultdict(list)
    for fire in journal.fires.values():
        fires[fire.job_id].append(fire)
    spans: defaultdict[JobId, list[RunSpan]] = defaultdict(list)
    for run_id, run in journal.runs_ended.items():
        assert run.ended is not None
        spans[run.job_id].append(RunSpan(rows["run", run_id]["created_at"], run.ended, run.due_at))
    for job_id, job in journal.jobs.items():
        assert job.state == JobState.DELETED
        plan = plan_job(job_pb2.JobSpec.FromString(rows["spec", (job_id, 1)]["spec"]))
        order = story.ledger.jobs.get(job_id)
        _check_room(plan, spans[job_id])
        if plan.schedule is None or (order is not None and order.rescheduled):
            continue
        of_job = sorted(fires[job_id], key=lambda fire: fire.due_at)
        _check_each_is_decided(story, job_id, plan.schedule, of_job)
        _check_concurrency(plan.schedule, of_job, spans[job_id])
        if (order is None or not order.restated) and not plan.max_active_runs:
            _check_in_time(story, plan.schedule, of_job)


def _check_each_is_decided(story: Story, job_id: JobId, schedule: SchedulePlan, fires: list[FireRecord]) -> None:
    """Every due time from the job's creation to its deletion has a record, and nothing else has."""
    row = story.database.shelf.rows["job", job_id]
    created, deleted = row["created_at"], row["updated_at"]
    dues: list[Micros] = []
    due = schedule.cron.next_after(created, anchor_us=created)
    while due is not None and due <= deleted:
        dues.append(due)
        due = schedule.cron.next_after(due, anchor_us=created)
    found = [fire.due_at for fire in fires]
    missing, added = sorted(set(dues) - set(found)), sorted(set(found) - set(dues))
    assert not missing, f"{schedule.expression}: nothing is recorded of due times {[_seconds(at) for at in missing[:5]]}"
    assert not added, f"{schedule.expression}: recorded are {[_seconds(at) for at in added[:5]]}, which are no due times"


def _check_in_time(story: Story, schedule: SchedulePlan, fires: list[FireRecord]) -> None:
    """Due times are decided at once where nothing is wrong, else soon after somebody leads; misfires as the policy wants."""
    together: defaultdict[Micros, int] = defaultdict(int)
    for fire in fires:
        together[fire.decided] += 1
    for fire in fires:
        due_s, decided_s = _seconds(fire.due_at), _seconds(fire.decided)
        late_s = decided_s - due_s
        assert late_s >= 0, "a due time was decided before it came"
        if schedule.concurrency is not ConcurrencyPolicy.QUEUE or fire.skip_reason == "misfire":
            is_calm = not any(began <= due_s + LATE_S and ended >= due_s - CALM_S for began, ended in story.troubles)
            if is_calm:
                assert late_s <= LATE_S, f"{schedule.expression}: {due_s} s was decided {late_s} s late, and nothing was wrong"
            else:
                served_s = _served_from(story, due_s)
                assert decided_s <= served_s + LATE_AFTER_S, (
                    f"{due_s} s was decided at {decided_s} s; somebody led from {served_s} s"
                )
        misfired = late_s > SETTINGS.misfire_after / 1e6
        if fire.skip_reason == "misfire":
            assert misfired, f"{late_s} s is no misfire"
            assert schedule.misfire is not MisfirePolicy.FIRE_ALL or together[fire.decided] > SETTINGS.fire_all_max
        elif misfired and schedule.misfire is MisfirePolicy.SKIP and schedule.concurrency is not ConcurrencyPolicy.QUEUE:
            assert fire.run_id is None, f"a misfire of {late_s} s was run"


def _served_from(story: Story, at: float) -> float:
    """From when on after a time somebody has led for two seconds on end."""
    before = False
    for seconds, served in story.served:
        if seconds >= at and served and before:
            return seconds
        before = served and seconds >= at
    return float("inf")


def _check_room(plan: JobPlan, spans: list[RunSpan]) -> None:
    """No more runs of a job go on at once than it allows."""
    if plan.max_active_runs:
        for span in spans:
            active = sum(other.created <= span.created < other.ended for other in spans)
            assert active <= plan.max_active_runs, f"{active} runs go on of a job that allows {plan.max_active_runs}"


def _check_concurrency(schedule: SchedulePlan, fires: list[FireRecord], spans: list[RunSpan]) -> None:
    """A scheduled run begins while no other goes on, unless the policy allows it."""
    for fire in fires:
        if fire.skip_reason == "another run goes on":
            assert schedule.concurrency is ConcurrencyPolicy.FORBID
            goes_on = any(span.created <= fire.decided <= span.ended for span in spans)
            assert goes_on, "a due time was skipped because of a run that there is not"
    if schedule.concurrency is ConcurrencyPolicy.ALLOW:
        return
    for span in spans:
        if span.due_at is not None:
            others = [other for other in spans if other is not span and other.created < span.created < other.ended]
            assert not others, f"{schedule.concurrency}: a run began while another went on"


def _seconds(at: Micros) -> float:
    return (at - START_US) / 1e6
