"""What must hold of an engine and its journal after every step, whatever happened."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.gates import Gate
from foliot_scheduler.core.model import JobState, Kind, Outcome, Run, Task
from foliot_scheduler.core.prefetch import room
from foliot_scheduler.core.readiness import Readiness, count_parent, readiness
from foliot_scheduler.core.state import State
from foliot_scheduler.core.subscriptions import TaskFacts, WebhookEvent
from foliot_scheduler.core.transitions import ENDED_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import Micros, Project, TaskId
from tests.unit.core.fake_journal import FakeJournal, TaskRow, job_row, run_row, task_row
from tests.unit.core.oracle import BAD, verdict


def check_engine(engine: Engine) -> None:
    """Everything that holds in memory."""
    state = engine.state
    assert not state.settling
    assert not state.ended_runs
    undecided = set(state.undecided)
    assert all(task.run is not None for task in undecided)
    assert state.live_by_project == Counter(task.project for task in state.tasks.values())
    for task in state.tasks.values():
        _check_task(task, is_undecided=task in undecided)
    _check_leases(state)
    _check_suspects(state)
    _check_ready(state)
    _check_gates(state)
    for run in state.runs.values():
        _check_live_run(run)
    for job in state.jobs.values():
        assert all(run.id in state.runs and run.job_id == job.id for run in job.active_runs.values())
        # A paused job keeps its next due time, and does not act on it.
        assert (job.fires_at is None) == (job.next_due is None or job.state is not JobState.ACTIVE)
    assert {run.id for job in state.jobs.values() for run in job.active_runs.values()} == set(state.runs)


def _check_task(task: Task, *, is_undecided: bool) -> None:
    assert task.is_live
    assert (task.state is TaskState.RUNNING) == (task.lease is not None)
    assert (task.state is TaskState.SCHEDULED) == (task.due is not None)
    assert task.plan.placement.kind is not Kind.MARKER or task.state in {TaskState.BLOCKED, TaskState.SCHEDULED}
    assert task.lane is None or task.state is TaskState.READY
    assert min(task.parents_open, task.parents_succeeded, task.parents_failed, task.parents_skipped) >= 0
    if task.run is not None:
        graph = task.run.plan.graph
        parents = [task.run.tasks[parent] for parent in graph.parents[task.position]]
        ends = [None if parent.is_live else parent.state for parent in parents]
        assert task.parents_open == ends.count(None)
        assert task.state is not TaskState.BLOCKED or is_undecided or verdict(task.trigger_rule, ends) is Readiness.WAIT


def _check_leases(state: State) -> None:
    open_in = Counter(lease.batch.first_token for lease in state.leases.values())
    assert {first: batch.open for first, batch in state.batches.items()} == dict(open_in)
    holders = [*state.workers.values(), *state.executors.values()]
    assert sum(len(worker.leases) for worker in holders) == len(state.leases)
    for worker in state.workers.values():
        assert worker.lease_until > state.now or not worker.leases, "a silent worker keeps its leases"
    for token, lease in state.leases.items():
        assert not lease.worker.is_executor or (lease.until or 0) > state.now
        assert lease.task.lease is lease
        assert lease.worker.leases[token] is lease
        assert lease.token == token
        assert lease.attempt == lease.task.attempt
        assert state.tasks[lease.task.id] is lease.task


def _check_suspects(state: State) -> None:
    """A worker holds one suspect task at a time, and knows which."""
    for worker in state.workers.values():
        held = [lease for lease in worker.leases.values() if lease.task.suspect]
        assert held == ([worker.suspect] if worker.suspect else [])


def _check_ready(state: State) -> None:
    """The queue's counts are exact, and no worker with room leaves a task waiting that it could run."""
    waiting = [task for task in state.tasks.values() if task.lane is not None]
    queue = state.ready
    assert queue.count == len(waiting)
    assert queue.suspects == sum(task.suspect for task in waiting)
    assert queue.counts_by_priority() == dict(Counter(task.plan.priority for task in waiting))
    assert sum(project.count for project in queue._active.values()) == len(waiting)
    lanes = [lane for project in queue._active.values() for lane in project.all_lanes()]
    assert sum(lane.count for lane in lanes) == len(waiting)
    for worker in state.workers.values():
        free, accepts = room(worker, state.now)
        if worker.session and not worker.draining and free > 0:
            assert not any(accepts(task.plan.placement) for task in waiting if not task.suspect)
            assert worker.suspect or not any(accepts(task.plan.placement) for task in waiting)


def _check_gates(state: State) -> None:
    """No limit is exceeded, and no free place is forgotten while a worker with room could use it."""
    inside: Counter[tuple[Project, str]] = Counter()
    for task in state.tasks.values():
        for limit in task.plan.limits if task.lease else ():
            inside[task.project, limit.key] += 1
    held_up = {task.id for task in state.tasks.values() if task.state is TaskState.READY and task.lane is None}
    assert set(state.gates._waiting) == held_up
    assert all(state.tasks[task_id].lane is not None for task_id in state.gates._called)
    assert not state.gates._fresh, "a chance counts although the leader has dealt out"
    for key, gate in state.gates._gates.items():
        assert gate.inside == inside[key]
        _check_line(state, gate)
    for key, count in inside.items():
        assert count <= max(_bound(task, key) for task in state.tasks.values() if task.lease and _names(task, key))
    for task_id, gate in state.gates._waiting.items():
        task = state.tasks[task_id]
        could_run = any(
            worker.session and not worker.draining and free > 0 and accepts(task.plan.placement)
            for worker in state.workers.values()
            for free, accepts in [room(worker, state.now)]
        )
        # All tasks of a story that name a key name one bound.
        assert gate.inside >= _bound(task, gate.key) or not could_run, "a free place is forgotten"


def _check_line(state: State, gate: Gate) -> None:
    """A gate has no place for the first in line, or each of its groups has somebody whom the next worker finds."""
    assert gate.promised == 0
    assert gate.inside or gate.groups
    called = [state.tasks[task_id] for task_id, chance in state.gates._called.items() if chance.gate is gate]
    groups = Counter((task.plan.placement, task.run_id is None) for task in called)
    in_line = []
    for key, group in gate.groups.items():
        assert group.untaken == groups.pop(key, 0)
        for waiter in group.waiters.values():
            assert state.gates._waiting[waiter.task.id] is gate
            assert (waiter.task.plan.placement, waiter.task.run_id is None) == key
        if not group.untaken:
            in_line.append((next(iter(group.waiters.values())).turn, group))
            assert group.listed == in_line[-1][0]
    assert not groups
    assert gate.line == sorted(in_line, key=itemgetter(0))
    if gate.line:
        first = next(iter(gate.line[0][1].waiters.values())).task
        assert gate.inside >= _bound(first, gate.key), "somebody who waits for a place that is free was not called"


def _names(task: Task, key: tuple[Project, str]) -> bool:
    return task.project == key[0] and any(limit.key == key[1] for limit in task.plan.limits)


def _bound(task: Task, key: tuple[Project, str]) -> int:
    (bound,) = (limit.max_running for limit in task.plan.limits if limit.key == key[1])
    return bound


def _check_live_run(run: Run) -> None:
    live = [task for task in run.tasks if task.is_live]
    assert run.open_tasks == len(live) > 0
    assert run.failed_tasks == sum(task.state in BAD for task in run.tasks)
    started = any(task.attempt or not task.is_live for task in run.tasks)
    assert run.state is (RunState.RUNNING if started else RunState.PENDING)


def ended_run_state(cancelled: bool, ends: list[TaskState]) -> RunState:
    """The state of a run, from nothing but its tasks' ends and whether it was cancelled."""
    if cancelled:
        return RunState.CANCELLED
    return RunState.FAILED if any(end in BAD for end in ends) else RunState.SUCCEEDED


def check_journal(engine: Engine, journal: FakeJournal) -> None:
    """Once all is committed: the database alone tells what the engine knows."""
    state = engine.state
    assert journal.live.keys() == state.tasks.keys(), "a live task is not stored, or an ended one still is"
    for task_id, task in state.tasks.items():
        assert _comparable(journal.live[task_id], leased=task.lease is not None) == _comparable(
            task_row(task), leased=task.lease is not None
        )
    leased = {task.id: (task.lease.token, task.lease.attempt) for task in state.tasks.values() if task.lease}
    assert journal.leases() == leased, "a new leader would find other leases"
    assert set(journal.batches) == set(state.batches)
    assert journal.runs == {run_id: run_row(run) for run_id, run in state.runs.items()}
    assert journal.jobs == {job_id: job_row(job) for job_id, job in state.jobs.items()}
    for task_id in journal.live:
        _check_attempts(journal, task_id, state.tasks[task_id].attempt, open_last=state.tasks[task_id].lease is not None)
    for task_id, row in journal.history.items():
        assert row.state in ENDED_TASK_STATES
        _check_attempts(journal, task_id, row.attempt, open_last=row.outcome is not None)
    _check_ended_runs(journal)


def _comparable(row: TaskRow, *, leased: bool) -> TaskRow:
    """What a row must say; while a task is leased its batch says the rest, and `updated` may be older."""
    if not leased:
        return row._replace(token=None, worker_id=None)
    return row._replace(
        state=TaskState.RUNNING,
        attempt=0,
        token=None,
        worker_id=None,
        started=None,
        updated=row.created,
        due=None,
    )


def _check_attempts(journal: FakeJournal, task_id: TaskId, last: int, *, open_last: bool) -> None:
    """Every attempt is told exactly once: by its record, or by the row when it is the one that runs or that ended the task."""
    recorded = {number for number in range(1, last + 2) if (task_id, number) in journal.attempts}
    assert recorded == set(range(1, last if open_last else last + 1))


def _check_ended_runs(journal: FakeJournal) -> None:
    ends: dict[bytes, list[TaskState]] = {}
    for row in journal.history.values():
        if row.run_id is not None:
            ends.setdefault(row.run_id, []).append(row.state)
    for run_id, run in journal.runs_ended.items():
        assert run.state == ended_run_state(run.cancelled, ends.get(run_id, []))
    for task_id, row in journal.history.items():
        if row.outcome is None:
            continue
        if row.state is TaskState.SUCCEEDED:
            assert row.outcome is Outcome.SUCCEEDED, task_id
        elif row.state is TaskState.CANCELLED:
            assert row.outcome is Outcome.CANCELLED, task_id
        else:
            assert row.outcome not in {Outcome.SUCCEEDED, Outcome.CANCELLED}, task_id


def check_failed_dependents(journal: FakeJournal) -> None:
    """When nothing goes on any more: who failed because of a dependency has a note of it, and would fail again."""
    noted: dict[TaskId, set[TaskId]] = {}
    for (parent, child), due in journal.notes.items():
        assert not due, "somebody is to be asked again and was not"
        noted.setdefault(child, set()).add(parent)
    for task_id, row in journal.history.items():
        failed = row.state is TaskState.FAILED and row.outcome is None and row.run_id is None
        assert failed or task_id not in noted, "a note of a task that did not fail because of a dependency"
        if not failed:
            continue
        assert noted.pop(task_id) >= set(row.depends_on), "a note is missing"
        asked = Task(task_id, row.project, row.plan, row.created, row.updated, trigger_rule=row.trigger_rule)
        for dependency in row.depends_on:
            count_parent(asked, journal.history[dependency].state if dependency in journal.history else TaskState.FAILED)
        assert readiness(asked) is Readiness.NEVER, "a task was not put back although its dependencies allow it"
    assert not noted, "a note of a task that is gone"


def check_due_times(engine: Engine, journal: FakeJournal) -> None:
    """Each due time has one run or one recorded skip, or waits for the run before it; `FakeJournal` refuses a second decision."""
    for job in engine.state.jobs.values():
        for due_at in job.waiting_runs:
            assert (job.id, due_at) not in journal.fires
        assert job.next_due is None or (job.id, job.next_due) not in journal.fires
        assert len(set(job.waiting_runs)) == len(job.waiting_runs) <= engine.state.settings.fire_all_max
        if job.fires_at is not None:
            catching_up = engine.state.timers.next_due() == engine.state.now + 1
            assert job.fires_at > engine.state.now or catching_up, "a due time has come and was not decided"
        if job.version == 1 and job.plan.schedule is not None and job.next_due is not None:
            cron = job.plan.schedule.cron
            dues = cron.fires_between(job.created, Micros(job.next_due - 1), 100_000, anchor_us=job.created)
            decided = {due_at for job_id, due_at in journal.fires if job_id == job.id}
            assert set(dues) == decided | set(job.waiting_runs), "a due time is forgotten"
    for run_id, run in {**journal.runs, **journal.runs_ended}.items():
        if run.due_at is not None:
            assert journal.fires[run.job_id, run.due_at].run_id == run_id


_ENDS = {
    WebhookEvent.TASK_COMPLETED: {TaskState.SUCCEEDED},
    WebhookEvent.TASK_FAILED: {TaskState.FAILED},
    WebhookEvent.TASK_CANCELLED: {TaskState.CANCELLED, TaskState.SKIPPED},
}


def check_events(journal: FakeJournal, listening: Project) -> None:
    """What is told of tasks is what became of them: each is created once, and the last end that is told is how it ended."""
    created: Counter[TaskId] = Counter()
    ends: dict[TaskId, WebhookEvent] = {}
    for record in journal.deliveries:
        if isinstance(record.facts, TaskFacts):
            created[record.facts.id] += record.event is WebhookEvent.TASK_CREATED
            if record.event in _ENDS:
                ends[record.facts.id] = record.event
    for task_id, row in (*journal.live.items(), *journal.history.items()):
        assert created[task_id] == (row.project == listening), "a task is created once, for its own project"
        if row.project == listening and not row.is_live:
            assert row.state in _ENDS[ends[task_id]], "a task ended otherwise than was told"
