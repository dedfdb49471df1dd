"""A database that holds the engine to its word: rows move only where `Stored` says they are, and keys are unique.

It takes write sets the way the store's committer does: `encode` copies the rows as they stand and calls `mark_stored`, `commit`
makes the copy the truth. Between the two the engine may run on. Tasks are sorted by the committer's own function, and of each
only those columns are written that the committer's statement names: what it leaves out must not have changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from foliot_scheduler.core.effects import (
    AttemptRecord,
    CheckpointRecord,
    FireRecord,
    FireSpanRecord,
    IdempotencyRecord,
    Redriven,
    WriteSet,
)
from foliot_scheduler.core.model import Job, Outcome, Run, Stored, Task, TaskPlan, TriggerRule
from foliot_scheduler.core.subscriptions import DeliveryRecord
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, Token, WorkerId
from foliot_scheduler.store import commit
from foliot_scheduler.store.dependents import NoteChanges, note_changes

FIRES_MAX: Final = 1_000_000
"""No story skips more due times at once."""


class TaskRow(NamedTuple):
    """What PostgreSQL keeps of a task."""

    project: Project
    plan: TaskPlan
    depends_on: tuple[TaskId, ...]
    trigger_rule: TriggerRule
    run_id: RunId | None
    position: int
    created: Micros
    updated: Micros
    state: TaskState
    attempt: int
    failed_attempts: int
    lost_attempts: int
    due: Micros | None
    worker_id: WorkerId | None
    token: Token | None
    started: Micros | None
    ended: Micros | None
    outcome: Outcome | None
    exit_code: int | None
    error: str
    output: bytes
    error_output: bytes

    @property
    def is_live(self) -> bool:
        return self.ended is None


TASK_GROUPS: Final = (
    "insert_task",
    "insert_ended_task",
    "update_task",
    "replan_task",
    "end_task",
    "relabel_task",
    "end_task_again",
    "delete_task",
    "delete_ended_task",
)
"""What `commit.task_rows` sorts tasks into, in its order."""
assert tuple(group.name for group in commit.GROUPS[: len(TASK_GROUPS)]) == TASK_GROUPS


@cache
def columns_of(group: str) -> frozenset[str]:
    """The columns that a group of the commit writes, as its SQL names them."""
    (_, names), *_ = commit.statement(1 << TASK_GROUPS.index(group)).parameters
    return frozenset(names)


@cache
def fields_of(group: str) -> tuple[bool, ...]:
    """Which fields of a row a group writes, in their order."""
    return tuple(name in columns_of(group) for name in TaskRow._fields)


def written(before: TaskRow | None, row: TaskRow, group: str) -> TaskRow:
    """A row after a group has written it, with nothing that its table has no column for."""
    if before is None:
        assert {"spec", "run_id", "created", "state"} <= columns_of(group)
        after = row
    else:
        after = TaskRow._make([new if writes else old for writes, old, new in zip(fields_of(group), before, row, strict=True)])
        columns = columns_of(group)
        if "kind" in columns:
            after = after._replace(plan=row.plan)
        elif "spec" in columns:
            after = after._replace(plan=before.plan._replace(name=row.plan.name, tags=row.plan.tags, spec=row.plan.spec))
    if row.ended is None:
        if after.ended is None and not after.output and not after.error_output:
            return after
        return after._replace(ended=None, output=b"", error_output=b"")
    return after if after.due is None and after.token is None else after._replace(due=None, token=None)


class RunRow(NamedTuple):
    """What PostgreSQL keeps of a run."""

    job_id: JobId
    job_version: int
    due_at: Micros | None
    state: str
    cancelled: bool
    started: Micros | None
    ended: Micros | None
    redrive_of: RunId | None


class JobRow(NamedTuple):
    """What PostgreSQL keeps of a job."""

    version: int
    state: str
    next_due: Micros | None
    fires_at: Micros | None
    waiting_runs: tuple[Micros, ...]


class BatchRow(NamedTuple):
    """What PostgreSQL keeps of leases handed out together."""

    worker_id: WorkerId
    task_ids: tuple[TaskId, ...]
    attempts: tuple[int, ...]


def task_row(task: Task) -> TaskRow:
    """Copy a task as it stands."""
    return TaskRow(
        task.project,
        task.plan,
        task.depends_on,
        task.trigger_rule,
        task.run_id,
        task.position,
        task.created,
        task.updated,
        task.state,
        task.attempt,
        task.failed_attempts,
        task.lost_attempts,
        task.due,
        task.worker_id,
        task.lease.token if task.lease else None,
        task.started,
        task.ended,
        task.outcome,
        task.exit_code,
        task.error,
        task.output,
        task.error_output,
    )


def run_row(run: Run) -> RunRow:
    """Copy a run as it stands."""
    return RunRow(run.job_id, run.job_version, run.due_at, run.state, run.cancelled, run.started, run.ended, run.redrive_of)


def job_row(job: Job) -> JobRow:
    """Copy a job as it stands."""
    return JobRow(job.version, job.state, job.next_due, job.fires_at, tuple(job.waiting_runs))


def told_apart(span: FireSpanRecord) -> list[FireRecord]:
    """What a span says of each of its due times."""
    dues = span.schedule.fires_between(Micros(span.since - 1), span.until, FIRES_MAX, anchor_us=span.anchor)
    assert dues[0] == span.since, "a span begins with a due time"
    assert len(dues) < FIRES_MAX
    return [FireRecord(span.job_id, due, None, span.skip_reason, span.decided) for due in dues]


@dataclass(slots=True)
class Encoded:
    """One commit: rows, and where each of them was before."""

    tasks: dict[TaskId, tuple[str, TaskRow]]
    """The group of the commit that writes each task, and its row."""
    tasks_removed: dict[str, list[TaskId]]
    """By the group that removes them, those that are written to the other table too included."""
    tasks_deleted: list[TaskId]
    notes: NoteChanges
    runs: dict[RunId, tuple[Stored, RunRow]]
    redriven: list[Redriven]
    jobs: dict[JobId, tuple[Stored, JobRow]]
    attempts: list[AttemptRecord]
    batches_opened: dict[Token, BatchRow]
    batches_closed: list[Token]
    checkpoints: dict[TaskId, CheckpointRecord]
    fires: list[FireRecord]
    fire_spans: list[FireSpanRecord]
    idempotency: list[IdempotencyRecord]
    workers: dict[tuple[str, WorkerId], tuple[int, int, bool, Micros]]
    counted: dict[tuple[str, WorkerId], tuple[int, int]]
    deliveries: list[DeliveryRecord]


@dataclass(slots=True)
class FakeJournal:
    """All tables. Breaking a rule of theirs is an AssertionError."""

    live: dict[TaskId, TaskRow] = field(default_factory=dict)
    history: dict[TaskId, TaskRow] = field(default_factory=dict)
    deleted: set[TaskId] = field(default_factory=set)
    notes: dict[tuple[TaskId, TaskId], bool] = field(default_factory=dict)
    """By dependency and the task that failed because of it: whether that is to be asked again."""
    runs: dict[RunId, RunRow] = field(default_factory=dict)
    runs_ended: dict[RunId, RunRow] = field(default_factory=dict)
    redriven: dict[RunId, RunId] = field(default_factory=dict)
    jobs: dict[JobId, JobRow] = field(default_factory=dict)
    attempts: dict[tuple[TaskId, int], AttemptRecord] = field(default_factory=dict)
    batches: dict[Token, BatchRow] = field(default_factory=dict)
    checkpoints: dict[TaskId, CheckpointRecord] = field(default_factory=dict)
    fires: dict[tuple[JobId, Micros], FireRecord] = field(default_factory=dict)
    answers: dict[tuple[Project, str], IdempotencyRecord] = field(default_factory=dict)
    workers: dict[tuple[str, WorkerId], tuple[int, int, bool, Micros]] = field(default_factory=dict)
    deliveries: list[DeliveryRecord] = field(default_factory=list)
    tokens_used: int = 0

    def encode(self, writes: WriteSet) -> Encoded:
        """Copy the rows as they stand, and mark their objects as stored."""
        assert writes.plans_changed <= writes.tasks.keys()
        assert writes.relabelled <= writes.tasks.keys()
        *groups, removed, revived = commit.task_rows(writes)
        encoded = Encoded(
            {task.id: (group, task_row(task)) for group, rows in zip(TASK_GROUPS, groups, strict=False) for task in rows},
            {"delete_task": removed, "delete_ended_task": revived},
            [task.id for task in writes.tasks_deleted],
            note_changes(writes),
            {id_: (run.stored, run_row(run)) for id_, run in writes.runs.items()},
            list(writes.redriven),
            {id_: (job.stored, job_row(job)) for id_, job in writes.jobs.items()},
            list(writes.attempts),
            {t: BatchRow(batch.worker_id, batch.task_ids, batch.attempts) for t, batch in writes.batches_opened.items()},
            list(writes.batches_closed),
            dict(writes.checkpoints),
            list(writes.fires),
            list(writes.fire_spans),
            list(writes.idempotency),
            {key: (worker.succeeded, worker.failed, worker.offline, worker.last_heard) for key, worker in writes.workers.items()},
            {
                (worker.project or "", worker.profile.id): (worker.succeeded, worker.failed)
                for worker in commit.counted_workers(writes)
            },
            list(writes.deliveries),
        )
        assert encoded.tasks.keys() == writes.tasks.keys()
        writes.mark_stored()
        assert all((task.stored is Stored.LIVE) == task.is_live for task in writes.tasks.values())
        return encoded

    def commit(self, encoded: Encoded) -> None:
        """Make a commit the truth, if every row is where it must be."""
        self._delete_tasks(encoded)
        for task_id, (group, row) in encoded.tasks.items():
            self._write_task(task_id, group, row, encoded)
        self._write_notes(encoded.notes)
        self.deliveries.extend(encoded.deliveries)
        for run_id, (stored, run) in encoded.runs.items():
            self._write_run(run_id, stored, run)
        for run_id, redriven_by in encoded.redriven:
            assert run_id not in self.redriven, "a run is redriven twice"
            assert redriven_by in encoded.runs, "a redrive and its run are in one commit"
            self.redriven[run_id] = redriven_by
        for job_id, (stored, job) in encoded.jobs.items():
            assert (job_id in self.jobs) == (stored is not Stored.NOWHERE)
            self.jobs[job_id] = job
        for attempt in encoded.attempts:
            key = (attempt.task_id, attempt.number)
            assert key not in self.attempts, f"attempt {attempt.number} is recorded twice"
            self.attempts[key] = attempt
        self._write_batches(encoded)
        self.checkpoints.update(encoded.checkpoints)
        for fire in [*encoded.fires, *(fire for span in encoded.fire_spans for fire in told_apart(span))]:
            assert (fire.job_id, fire.due_at) not in self.fires, "one due time is decided twice"
            assert (fire.run_id is None) == bool(fire.skip_reason)
            assert fire.run_id is None or fire.run_id in self.runs or fire.run_id in self.runs_ended
            self.fires[fire.job_id, fire.due_at] = fire
        for answer in encoded.idempotency:
            assert answer.replaces or (answer.project, answer.key) not in self.answers, "an idempotency key is used twice"
            self.answers[answer.project, answer.key] = answer
        for worker, (succeeded, failed, offline, last_heard) in encoded.workers.items():
            before = self.workers.get(worker, (0, 0, False, Micros(0)))
            self.workers[worker] = (before[0] + succeeded, before[1] + failed, offline, last_heard)
        for worker, (succeeded, failed) in encoded.counted.items():
            if worker in self.workers:  # else it has no row: one known by name only
                before = self.workers[worker]
                self.workers[worker] = (before[0] + succeeded, before[1] + failed, *before[2:])

    def apply(self, writes: WriteSet) -> None:
        """Encode and commit at once."""
        self.commit(self.encode(writes))

    def row(self, task_id: TaskId) -> TaskRow:
        """The row of a task, live or ended."""
        return self.live.get(task_id) or self.history[task_id]

    def leases(self) -> dict[TaskId, tuple[Token, int]]:
        """The leases that a new leader would find: token and attempt for each task (the rule of recovery)."""
        found: dict[TaskId, tuple[Token, int]] = {}
        for first, batch in self.batches.items():
            for i, (task_id, attempt) in enumerate(zip(batch.task_ids, batch.attempts, strict=True)):
                row = self.live.get(task_id)
                if row is None or not (row.attempt < attempt or (row.attempt == attempt and row.state is TaskState.RUNNING)):
                    continue
                if task_id not in found or found[task_id][1] < attempt:
                    found[task_id] = (Token(first + i), attempt)
        return found

    def _delete_tasks(self, encoded: Encoded) -> None:
        for task_id in encoded.tasks_deleted:
            assert task_id not in encoded.tasks, "a task is deleted and written by one commit"
            assert (task_id in self.live) != (task_id in self.history), "a task is deleted that is not stored"
            self.live.pop(task_id, None)
            self.history.pop(task_id, None)
            self.deleted.add(task_id)

    def _write_task(self, task_id: TaskId, group: str, row: TaskRow, encoded: Encoded) -> None:
        """Do what the parts of the commit do; all see the database as it was before, so no two may write one key of a table."""
        assert task_id not in self.deleted, "a deleted task is written"
        live, ended = self.live.get(task_id), self.history.get(task_id)
        leaves_live = task_id in encoded.tasks_removed["delete_task"] or group == "end_task"
        leaves_history = task_id in encoded.tasks_removed["delete_ended_task"]
        match group:
            case "insert_task":
                assert live is None
                assert (ended is not None) == leaves_history
            case "insert_ended_task":
                assert ended is None
                assert (live is not None) == leaves_live
            case "update_task" | "replan_task" | "end_task":
                assert live is not None, "a live task is not where it must be"
                assert ended is None
            case _:
                assert ended is not None, "an ended task is not where it must be"
                assert live is None
        before = live or ended
        inserted = group in {"insert_task", "insert_ended_task"}
        after = written(None if inserted else before, row, group)
        whole = written(None, row, "insert_task")
        if group == "relabel_task":  # a caller reads an ended task without its output
            whole = whole._replace(output=after.output, error_output=after.error_output)
        assert after == whole, f"{group} leaves out what has changed"
        if before is not None:
            assert before.attempt <= row.attempt
            assert (before.project, before.run_id, before.created) == (row.project, row.run_id, row.created)
            if not before.is_live and (row.is_live or group == "end_task_again"):
                assert before.state in {TaskState.FAILED, TaskState.CANCELLED}, "only these come back to life"
        if leaves_live:
            del self.live[task_id]
        if leaves_history:
            del self.history[task_id]
        (self.live if row.is_live else self.history)[task_id] = after

    def _write_notes(self, changes: NoteChanges) -> None:
        if not (changes.put or changes.deleted or changes.waking):
            return
        put = {(note.parent_id, note.child_id): note.due for note in changes.put}
        assert len(put) == len(changes.put), "a note is written twice by one commit"
        touched = {child for _, child in put} | set(changes.deleted)
        assert len(touched) == len({child for _, child in put}) + len(changes.deleted), "a note is written and deleted"
        for waking in changes.waking:
            assert touched == set(waking.but_child_ids)
            for parent, child in self.notes:
                if parent in waking.parent_ids and child not in touched:
                    self.notes[parent, child] = True
        self.notes = {key: due for key, due in self.notes.items() if key[1] not in changes.deleted} | put

    def _write_run(self, run_id: RunId, stored: Stored, row: RunRow) -> None:
        assert (run_id in self.runs) == (stored is Stored.LIVE)
        assert stored is not Stored.HISTORY, "an ended run is written"
        self.runs.pop(run_id, None)
        (self.runs if row.ended is None else self.runs_ended)[run_id] = row

    def _write_batches(self, encoded: Encoded) -> None:
        # The store opens and closes by parts of one statement, none of which sees what another wrote.
        assert not set(encoded.batches_closed) & encoded.batches_opened.keys(), "a batch is opened and closed by one commit"
        for first, batch in encoded.batches_opened.items():
            assert first > self.tokens_used, "a fencing token is given twice"
            self.tokens_used = first + len(batch.task_ids) - 1
            self.batches[first] = batch
        for first in encoded.batches_closed:
            del self.batches[first]
