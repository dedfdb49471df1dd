"""Jobs: their versions, their schedules, and the runs that follow from both.

Theory of operation. A job in memory is the truth about it; commands about a job that is not in memory bring its row along.
A schedule has one next due time, kept in the job's row, and one timer. When the timer goes off every due time up to now gets
exactly one `FireRecord`, in the commit that also creates its run and moves `next_due` on: the database's unique key on (job,
due time) then makes a second run of one due time impossible, whoever leads.

A paused job has no timer and costs nothing: its `next_due` stays at the first due time of the pause. When the pause ends, by
whatever change, the due times that it swallowed are recorded as skipped: one by one if they are few, else all in one record,
from which the schedule tells them apart again. So each due time has its reason, and no decision takes longer for a longer pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import submissions, tasks
from foliot_scheduler.core.admission import admit, lacks_room, note_admitted
from foliot_scheduler.core.cron import jitter_us
from foliot_scheduler.core.effects import FireRecord, FireSpanRecord, Refusal, Repeated
from foliot_scheduler.core.model import ConcurrencyPolicy, Job, JobState, MisfirePolicy, Run, SchedulePlan, Trigger, TriggerRule
from foliot_scheduler.core.runs import create_run, end_run
from foliot_scheduler.core.timers import JobDue
from foliot_scheduler.core.types import JobId, Micros

if TYPE_CHECKING:
    from foliot_scheduler.core import commands
    from foliot_scheduler.core.model import JobPlan
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import Project, RunId


def create(state: State, command: commands.CreateJob) -> Job | Repeated:
    """Create a job."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    job = Job(JobId(state.new_id()), command.project, command.plan, state.now, state.now)
    if command.paused:
        job.state = JobState.PAUSED
    state.jobs[job.id] = job
    _plan_next(state, job)
    state.effects.writes.jobs[job.id] = job
    state.remember(command.project, command.once, job.id)
    return job.snapshot()


def _find(state: State, project: Project, job_id: JobId, record: Job | None) -> Job:
    """Return the job, taking the row that came with the command into memory if it is not there."""
    job = state.jobs.get(job_id, record)
    if job is None or job.project != project or job.state is JobState.DELETED:
        raise Refusal("not_found", "no such job")
    adopt(state, job)
    return job


def adopt(state: State, job: Job) -> None:
    """Take a job's row into memory, unless the job is there already: from then on what is here is the truth."""
    if job.id not in state.jobs:
        state.jobs[job.id] = job
        _arm(state, job)


def update(state: State, command: commands.UpdateJob) -> Job | Repeated:
    """Replace a job's plan, if it still has the version the new plan was made from."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    job = _find(state, command.project, command.job_id, command.record)
    if command.version != job.version:
        raise Refusal("version_conflict", f"the job has version {job.version}", {"version": str(job.version)})
    plan = command.plan or job.plan
    wanted = command.state or job.state
    if command.plan is not None or wanted is not job.state:
        _change(state, job, plan, wanted)
    state.remember(command.project, command.once, job.id)
    return job.snapshot()


def _timing(schedule: SchedulePlan | None) -> tuple[str, str, int] | None:
    return None if schedule is None else (schedule.expression, schedule.timezone, schedule.max_jitter)


def _change(state: State, job: Job, plan: JobPlan, wanted: JobState) -> None:
    """Make a new version of a job: another plan, another state, or both."""
    restated = wanted is not job.state
    rescheduled = _timing(plan.schedule) != _timing(job.plan.schedule)
    if restated or rescheduled:
        _decide_dues(state, job, wanted if restated and wanted is not JobState.ACTIVE else "the schedule was changed")
    job.plan = plan
    job.state = wanted
    if restated and wanted is not JobState.ACTIVE:
        for due_at in job.waiting_runs:
            _record(state, job, due_at, None, wanted)
        job.waiting_runs.clear()
    if restated or rescheduled:
        _plan_next(state, job)
    job.version += 1
    job.updated = state.now
    state.effects.writes.jobs[job.id] = job
    _start_waiting(state, job)


def set_state(state: State, command: commands.SetJobState) -> Job:
    """Pause, resume or delete a job; what runs goes on."""
    job = _find(state, command.project, command.job_id, command.record)
    wanted = {"pause": JobState.PAUSED, "resume": JobState.ACTIVE, "delete": JobState.DELETED}[command.action]
    if wanted is job.state:
        return job.snapshot()
    _change(state, job, job.plan, wanted)
    return job.snapshot()


def trigger(state: State, command: commands.TriggerJob) -> Run | Repeated:
    """Start a run now, whatever the schedule says."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    job = _find(state, command.project, command.job_id, command.record)
    check_room(state, job)
    if command.obeys_policy:
        _make_way(state, job)
    note_admitted(state, job.project, len(job.plan.nodes))
    run = start(state, job, Trigger.MANUAL, None, command.traceparent)
    state.remember(command.project, command.once, run.id)
    return run.snapshot()


def check_room(state: State, job: Job) -> None:
    """Refuse a run that somebody asks for where the job, or the scheduler, has no room for it."""
    if job.plan.max_active_runs and len(job.active_runs) >= job.plan.max_active_runs:
        raise Refusal("wrong_state", f"{len(job.active_runs)} runs go on; the job allows no more", {"state": job.state})
    admit(state, job.project, len(job.plan.nodes))


def _make_way(state: State, job: Job) -> None:
    """Hold a run that somebody asks for to the schedule's concurrency policy; it cannot wait, as its id is to be answered now."""
    schedule = job.plan.schedule
    if schedule is None or schedule.concurrency is ConcurrencyPolicy.ALLOW or not job.active_runs:
        return
    if schedule.concurrency is not ConcurrencyPolicy.REPLACE:
        message = f"another run goes on, which the concurrency policy {schedule.concurrency} does not allow"
        raise Refusal("wrong_state", message, {"state": "running"})
    _cancel_active(state, job)


def _cancel_active(state: State, job: Job) -> None:
    for run in job.active_runs.values():
        if run.ended is None:
            cancel_live_run(state, run)
    tasks.settle(state)


def start(
    state: State, job: Job, why: Trigger, due_at: Micros | None, traceparent: str = "", *, redrive_of: RunId | None = None
) -> Run:
    """Create a run and let its first tasks go."""
    run = create_run(state, job, why, due_at, traceparent, redrive_of=redrive_of)
    for task in list(run.tasks):
        if task.parents_open == 0 or task.trigger_rule is TriggerRule.ALWAYS:
            tasks.decide(state, task, None)
    if not run.tasks:
        end_run(state, run)
    return run


def cancel_run(state: State, command: commands.CancelRun) -> Run:
    """Cancel every live task of a run."""
    run = state.runs.get(command.run_id)
    if run is None or run.project != command.project:
        raise Refusal("not_found", "no such run goes on")
    cancel_live_run(state, run)
    tasks.settle(state)
    return run.snapshot()


def cancel_live_run(state: State, run: Run) -> None:
    """Cancel a run that goes on."""
    run.cancelled = True
    state.effects.writes.runs[run.id] = run
    for task in run.tasks:
        if task.is_live:
            submissions.cancel_live(state, task)


def run_ended(state: State, run: Run) -> None:
    """Take an ended run from its job, and start one that waited for it."""
    job = state.jobs.get(run.job_id)
    if job is None:
        return
    job.active_runs.pop(run.id, None)
    _start_waiting(state, job)


def arm_all(state: State) -> None:
    """Set the timers of all jobs in memory, when a new leader takes over."""
    for job in state.jobs.values():
        _arm(state, job)


def jobs_due(state: State, command: commands.JobsDue) -> None:
    """Take jobs into memory whose next due time is near."""
    for job in command.jobs:
        adopt(state, job)


def _plan_next(state: State, job: Job) -> None:
    """Compute a job's next due time from now, and set its timer; a paused job only notes it."""
    schedule = job.plan.schedule
    if schedule is None or job.state is JobState.DELETED:
        job.next_due = job.fires_at = None
        return
    _set_next(job, schedule, schedule.cron.next_after(state.now, anchor_us=job.created))
    if job.state is JobState.PAUSED:
        job.fires_at = None
    _arm(state, job)


def _fires_at(job: Job, schedule: SchedulePlan, due: Micros) -> Micros:
    return Micros(due + jitter_us(job.id, due, schedule.max_jitter))


def _set_next(job: Job, schedule: SchedulePlan, due: Micros | None) -> None:
    job.next_due = due
    job.fires_at = None if due is None else _fires_at(job, schedule, due)


def _arm(state: State, job: Job) -> None:
    if job.fires_at is not None:
        state.timers.add(job.fires_at, JobDue(job))


def _decide_dues(state: State, job: Job, reason: str) -> None:
    """Decide every due time that has come, before the schedule goes or stops; one that only waits for its jitter is skipped."""
    if job.fires_at is not None and job.fires_at <= state.now:
        fire(state, job)
    schedule, due = job.plan.schedule, job.next_due
    if job.state is JobState.PAUSED:
        reason = JobState.PAUSED
    if schedule is None or due is None or due > state.now:
        return
    limit = state.settings.skips_max
    dues = [due, *schedule.cron.fires_between(due, state.now, limit, anchor_us=job.created)]
    if len(dues) > limit:
        _record_span(state, job, schedule, state.now, reason)
    else:
        for each in dues:
            _record(state, job, each, None, reason)


def fire(state: State, job: Job) -> None:
    """A job's timer went off: deal with every due time up to now, at most `fires_per_tick` of them."""
    schedule = job.plan.schedule
    if state.jobs.get(job.id) is not job or schedule is None or job.fires_at is None or job.fires_at > state.now:
        return  # it was changed meanwhile, and has another timer
    assert job.next_due is not None
    settings = state.settings
    dues = [job.next_due]
    following = schedule.cron.next_after(job.next_due, anchor_us=job.created)
    while following is not None and _fires_at(job, schedule, following) <= state.now and len(dues) < settings.fires_per_tick:
        dues.append(following)
        following = schedule.cron.next_after(following, anchor_us=job.created)
    catching_up = len(dues) == settings.fires_per_tick
    if catching_up:
        misfired = _surely_misfired(state, job, schedule)
        if misfired > dues[-1]:
            _record_span(state, job, schedule, misfired, "misfire")
            dues.clear()
            following = schedule.cron.next_after(misfired, anchor_us=job.created)
        else:
            # `fire_all` fires the latest ones: leave enough of them for the next round, which may be the last.
            following = dues[-settings.fire_all_max]
            del dues[-settings.fire_all_max :]
    _set_next(job, schedule, following)
    if catching_up:
        state.timers.add(Micros(state.now + 1), JobDue(job))  # the next round: not before others had their turn
    else:
        _arm(state, job)
    state.effects.writes.jobs[job.id] = job
    firing = _firing(state, job, schedule, dues, catching_up=catching_up)
    for due_at in dues:
        if due_at in firing:
            _fire_one(state, job, schedule, due_at)
        else:
            _record(state, job, due_at, None, "misfire")


def _surely_misfired(state: State, job: Job, schedule: SchedulePlan) -> Micros:
    """Return an instant up to which every due time from the next one on has come and is a misfire under any policy."""
    assert job.next_due is not None
    settings = state.settings
    latest = schedule.cron.latest_between(
        job.next_due, Micros(state.now - schedule.max_jitter), settings.fire_all_max, anchor_us=job.created
    )
    before_latest = latest[0] - 1 if len(latest) == settings.fire_all_max else job.next_due
    # One that fires after its jitter, and later than the threshold, is none.
    return Micros(min(before_latest, state.now - settings.misfire_after - schedule.max_jitter - 1))


def _firing(state: State, job: Job, schedule: SchedulePlan, dues: list[Micros], *, catching_up: bool) -> frozenset[Micros]:
    """Return the due times that fire, under the misfire policy; `catching_up`: later ones are already due too."""
    threshold = state.now - state.settings.misfire_after
    punctual = []
    expected = 0
    for due in dues:
        # With a jitter longer than the period a due time waits for those before it: that makes it no misfire.
        expected = max(expected, _fires_at(job, schedule, due))
        if expected >= threshold:
            punctual.append(due)
    match schedule.misfire:
        case MisfirePolicy.SKIP:
            return frozenset(punctual)
        case MisfirePolicy.FIRE_ONCE:
            return frozenset(punctual or ([] if catching_up else dues[-1:]))
        case MisfirePolicy.FIRE_ALL:
            return frozenset([] if catching_up else dues[-state.settings.fire_all_max :])


def _fire_one(state: State, job: Job, schedule: SchedulePlan, due_at: Micros) -> None:
    """Run a due time, have it wait, or record why not."""
    policy = schedule.concurrency
    if policy is ConcurrencyPolicy.FORBID and job.active_runs:
        _record(state, job, due_at, None, "another run goes on")
    elif policy is not ConcurrencyPolicy.REPLACE and _must_wait(job):
        if len(job.waiting_runs) >= state.settings.fire_all_max:
            _record(state, job, due_at, None, "too many runs wait")
        else:
            job.waiting_runs.append(due_at)
    else:
        _start_due(state, job, due_at, replacing=policy is ConcurrencyPolicy.REPLACE)


def _must_wait(job: Job) -> bool:
    """Whether no other run of the job may start by its schedule now."""
    active = len(job.active_runs)
    if job.plan.max_active_runs and active >= job.plan.max_active_runs:
        return True
    schedule = job.plan.schedule
    return bool(active) and schedule is not None and schedule.concurrency is not ConcurrencyPolicy.ALLOW


def _start_waiting(state: State, job: Job) -> None:
    """Start the runs that were held back and may go on now."""
    while job.waiting_runs and not _must_wait(job):
        state.effects.writes.jobs[job.id] = job
        _start_due(state, job, job.waiting_runs.pop(0))


def _start_due(state: State, job: Job, due_at: Micros, *, replacing: bool = False) -> None:
    """Start the run of a due time, if there is room for its tasks."""
    if lacks_room(state, job.project, len(job.plan.nodes)):
        _record(state, job, due_at, None, "overloaded")
        return
    if replacing:
        _cancel_active(state, job)
    _record(state, job, due_at, start(state, job, Trigger.SCHEDULE, due_at), "")


def _record_span(state: State, job: Job, schedule: SchedulePlan, until: Micros, reason: str) -> None:
    """Record that the next due time and all later ones up to an instant are skipped."""
    assert job.next_due is not None
    record = FireSpanRecord(job.id, job.next_due, until, schedule.cron, job.created, reason, state.now)
    state.effects.writes.fire_spans.append(record)


def _record(state: State, job: Job, due_at: Micros, run: Run | None, reason: str) -> None:
    state.effects.writes.fires.append(FireRecord(job.id, due_at, run.id if run else None, reason, state.now))
