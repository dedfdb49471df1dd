"""What the engine decided, as named buckets for others to carry out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.model import Job, Lease, LeaseBatch, Outcome, Run, Stored, Task, Worker
from foliot_scheduler.core.subscriptions import DeliveryRecord, Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foliot_scheduler.core.access import Role
    from foliot_scheduler.core.cron import CronSchedule
    from foliot_scheduler.core.subscriptions import WebhookId
    from foliot_scheduler.core.types import JobId, Micros, Project, RunId, Span, TaskId, Token, WorkerId


class AttemptRecord(NamedTuple):
    """An ended attempt that is followed by another; the last attempt of a task is told by the task's own row."""

    task_id: TaskId
    number: int
    worker_id: WorkerId
    worker_address: str
    started: Micros | None
    ended: Micros
    outcome: Outcome
    exit_code: int | None
    error: str


class FireRecord(NamedTuple):
    """What became of one due time: a run, or the reason for none."""

    job_id: JobId
    due_at: Micros
    run_id: RunId | None
    skip_reason: str
    decided: Micros


class FireSpanRecord(NamedTuple):
    """Due times that were skipped together: all of a schedule from the first to an instant, both included."""

    job_id: JobId
    since: Micros
    """The first of them."""
    until: Micros
    schedule: CronSchedule
    """By which they came."""
    anchor: Micros
    """What `@every` counts from."""
    skip_reason: str
    decided: Micros


class AuditRecord(NamedTuple):
    """That somebody changed something (core/audit.py)."""

    id: bytes
    at: Micros
    actor: str
    role: Role
    project: Project
    method: str
    request_id: str
    touched: int
    """How many things were made or changed."""
    ids: bytes
    """The ids of the first of them, 16 bytes each."""


class Redriven(NamedTuple):
    """A dead letter, and the run that was started in its place."""

    run_id: RunId
    redriven_by: RunId


class IdempotencyRecord(NamedTuple):
    """The answer that a repeated request gets."""

    project: Project
    key: str
    digest: bytes
    ids: bytes
    """The ids of what was created, 16 bytes each."""
    created: Micros
    replaces: bool = False
    """Whether an answer that is kept under the key gives way; otherwise finding one fails the commit."""


class CheckpointRecord(NamedTuple):
    """A task's last saved progress."""

    task_id: TaskId
    attempt: int
    checkpoint: str
    saved: Micros


@dataclass(slots=True)
class WriteSet:
    """The rows that one commit writes. A key holds the object as it stands when the set is encoded, so several changes merge.

    `Stored` of an object says where its row is before this commit; the encoder reads it, then calls `mark_stored`.
    """

    tasks: dict[TaskId, Task] = field(default_factory=dict)
    """New, changed or ended: inserted, updated, or moved between the live table and the history as `stored` and state say."""
    plans_changed: set[TaskId] = field(default_factory=set)
    """Those of `tasks` whose plan or dependencies changed too."""
    relabelled: set[TaskId] = field(default_factory=set)
    """Those of `tasks` that had ended before, and of which only name, tags and spec changed since. Any other task that had ended
    was retried and has ended again, or lives: its row is written whole."""
    tasks_deleted: list[Task] = field(default_factory=list)
    failed_dependents: dict[TaskId, tuple[TaskId, ...]] = field(default_factory=dict)
    """Tasks on their own that failed because of a dependency, with all their dependencies; none: the task did not, or is gone."""
    dependents_doubted: set[TaskId] = field(default_factory=set)
    """Those of `failed_dependents` that are to be asked again in any case."""
    dependents_due: dict[TaskId, None] = field(default_factory=dict)
    """Tasks of which those that failed because of them are to be asked again."""
    runs: dict[RunId, Run] = field(default_factory=dict)
    redriven: list[Redriven] = field(default_factory=list)
    jobs: dict[JobId, Job] = field(default_factory=dict)
    attempts: list[AttemptRecord] = field(default_factory=list)
    batches_opened: dict[Token, LeaseBatch] = field(default_factory=dict)
    batches_closed: list[Token] = field(default_factory=list)
    checkpoints: dict[TaskId, CheckpointRecord] = field(default_factory=dict)
    fires: list[FireRecord] = field(default_factory=list)
    fire_spans: list[FireSpanRecord] = field(default_factory=list)
    idempotency: list[IdempotencyRecord] = field(default_factory=list)
    workers: dict[tuple[str, WorkerId], Worker] = field(default_factory=dict)
    """By (project, empty for a worker that serves all; id)."""
    workers_counted: dict[Worker, None] = field(default_factory=dict)
    """Those that were given attempts, or whose attempts ended: only the counts of their rows change."""
    webhooks: dict[WebhookId, Webhook] = field(default_factory=dict)
    webhooks_deleted: list[WebhookId] = field(default_factory=list)
    deliveries: list[DeliveryRecord] = field(default_factory=list)
    """Events for webhooks: the outbox."""
    audits: list[AuditRecord] = field(default_factory=list)
    """Who asked for the changes of this commit."""

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.tasks
            or self.batches_opened
            or self.batches_closed
            or self.runs
            or self.redriven
            or self.jobs
            or self.attempts
            or self.checkpoints
            or self.fires
            or self.fire_spans
            or self.idempotency
            or self.workers
            or self.tasks_deleted
            or self.failed_dependents
            or self.dependents_due
            or self.deliveries
            or self.webhooks
            or self.webhooks_deleted
            or self.audits
        )

    def mark_stored(self) -> None:
        """Record where each row is once this set is committed. Called right after encoding: a failed commit drops all state."""
        for task in self.tasks.values():
            task.row_state = task.state
            if task.is_live:
                task.stored = Stored.LIVE
                task.row_priority = task.plan.priority
            else:
                task.stored = Stored.HISTORY
                # A live run keeps its ended tasks; what is large of them is in the database now.
                task.output = task.error_output = b""
                task.checkpoint = ""
        for run in self.runs.values():
            run.stored = Stored.HISTORY if run.ended is not None else Stored.LIVE
        for job in self.jobs.values():
            job.stored = Stored.LIVE
        for worker in (*self.workers.values(), *self.workers_counted):
            worker.succeeded = worker.failed = 0


class Refusal(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """Why a wish was not granted; nothing was changed."""

    def __init__(
        self, reason: str, message: str, metadata: Mapping[str, str] | None = None, *, retry_after: Span | None = None
    ) -> None:
        """Take a reason (the name of an ErrorReason, lower case), a text for people, details for programs, when to ask again."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class Repeated(NamedTuple):
    """A wish with a known idempotency key: the ids of what the first call created, 16 bytes each."""

    ids: bytes


Reply = Task | Run | Job | Webhook | DeliveryRecord | list["TaskId"] | tuple["Token", ...] | Repeated | Refusal | None
"""What answers a command: a copy of the thing as it stands, ids, dropped tokens, the first call's ids, or a refusal."""


class Acknowledgement(NamedTuple):
    """What a worker is told of its results: recorded, or refused as stale."""

    worker_id: WorkerId
    session: int
    recorded: list[Token]
    stale: list[Token]


class CheckpointAcknowledgement(NamedTuple):
    """What a worker is told of a checkpoint; an empty error means it is durable."""

    worker_id: WorkerId
    session: int
    token: Token
    sequence: int
    error: str


class LeaseGrant(NamedTuple):
    """Leases for one worker's stream."""

    worker_id: WorkerId
    session: int
    batch: LeaseBatch
    leases: list[Lease]


class Cancellation(NamedTuple):
    """Leases that a worker is to stop."""

    worker_id: WorkerId
    session: int
    tokens: list[Token]


class HeartbeatEcho(NamedTuple):
    """A renewal to confirm, if the leader still trusts its term."""

    worker_id: WorkerId
    session: int
    sequence: int


class Disconnect(NamedTuple):
    """A stream whose worker went silent, or was replaced by a newer stream of the same worker."""

    worker_id: WorkerId
    session: int


@dataclass(slots=True)
class Effects:
    """What follows from a batch of commands.

    The order is a contract: first `writes` are committed, in one transaction fenced by the term. Only after that commit, and
    after every commit handed out before it, may the others leave: `leases` before `cancellations` and `disconnects`, which may
    name the same lease or stream, the rest in any order. `heartbeats` depend on no write and may leave at once, as long as the
    term is trusted. If the commit fails or is fenced nothing leaves, and the engine's state is dropped.
    """

    writes: WriteSet = field(default_factory=WriteSet)
    replies: list[Reply] = field(default_factory=list)
    """One for each command, in their order."""
    leases: list[LeaseGrant] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    checkpoint_acknowledgements: list[CheckpointAcknowledgement] = field(default_factory=list)
    heartbeats: list[HeartbeatEcho] = field(default_factory=list)
    disconnects: list[Disconnect] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to commit or to send, replies and heartbeats left out."""
        return bool(
            self.leases
            or self.acknowledgements
            or self.cancellations
            or self.checkpoint_acknowledgements
            or self.disconnects
            or self.writes
        )
