"""Everything the engine knows: live work, workers, leases, timers, and the effects being gathered."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.effects import Effects, IdempotencyRecord, Refusal, Repeated
from foliot_scheduler.core.gates import Gates
from foliot_scheduler.core.ready import ReadyQueue
from foliot_scheduler.core.timers import Timers
from foliot_scheduler.core.types import HOUR, MINUTE, SECOND, Micros, Span, Token

if TYPE_CHECKING:
    from foliot_scheduler.core.commands import Once
    from foliot_scheduler.core.model import Job, Lease, LeaseBatch, Outcome, Run, Task, Worker
    from foliot_scheduler.core.subscriptions import Webhook, WebhookEvent, WebhookId
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.core.types import Draw, JobId, NewId, Project, RunId, TaskId, WorkerId

EPOCH_SHIFT = 32
"""A token is the epoch shifted by this, plus a counter: 4 billion leases a term, 2 billion terms in a signed 64-bit column."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """The numbers behind the rules."""

    lease_ttl: Span = Span(5 * SECOND)
    """How long leases outlive the heartbeat that renewed them. A killed worker's tasks run elsewhere after this at most; a worker
    renews five times as often, so four lost heartbeats in a row are forgiven."""
    takeover_grace: Span = Span(7 * SECOND)
    """How long a new leader waits for workers to come back: lease_ttl, plus the 2 s for which a deposed leader may go on
    confirming heartbeats before it notices (see the leader's `trusted_until`)."""
    acknowledge_within: Span = Span(5 * SECOND)
    """A lease batch unconfirmed for so long is withdrawn (the contract's LeaseAck)."""
    claim_ttl: Span = Span(60 * SECOND)
    """How long a claim by unary call lasts without a heartbeat (documented by the queue API)."""
    overdue_grace: Span = Span(30 * SECOND)
    """How long past its timeout an attempt may go on before the leader stops waiting for its worker to end it: more than the
    5 s between SIGTERM and SIGKILL, with room for a slow machine."""
    lost_attempts_max: int = 10
    """A task lost more often than this has most likely killed its workers, and ends failed."""
    uncounted_losses_free: int = 4
    """Losses that are not the task's fault (a worker stops, or gives the lease back) have no cap, and the task is leased again at
    once; after more than so many it waits for `uncounted_loss_wait` first. They are all attempts that count neither as failed nor
    as lost, those before somebody retried the task included. Deployments cost a few; a worker that refuses it, thousands."""
    uncounted_loss_wait: Span = Span(1 * SECOND)
    """Keeps a task that every worker gives back from being leased, and its attempts from being written, all the time."""
    live_tasks_max: int = 2_000_000
    """More live tasks than this are refused with OVERLOADED: at about 600 bytes each they fill 1.2 GB of the leader."""
    project_live_tasks_max: int = 1_500_000
    """The same of one project: three quarters of the whole, so that one project does not fill the scheduler."""
    project_tasks_per_second: int = 0
    """Tasks that callers may ask for in one project and second, on average; 0: no limit. See `admission.py`."""
    misfire_after: Span = Span(60 * SECOND)
    """A fire later than this is a misfire (the schedules API's decision)."""
    fire_all_max: int = 100
    """What `fire_all` fires at most, and `queue` holds back at most (the schedules API's decision)."""
    decisions_per_step: int = 2_000
    """Tasks of runs that one step of the engine starts or ends because their dependencies have ended: some 10 ms of the leader.
    The rest is left to the next steps, so that what follows from one end in a run of 100,000 tasks fills neither one step nor one
    commit."""
    fires_below: int = 20_000
    """No schedule fires while more changed tasks than this wait for a commit: several runs of 100,000 tasks that are due at one
    instant must not become one commit, which would take longer than a leader may be silent. The others are a little late."""
    fires_per_tick: int = 1_000
    """Due times of one job that are dealt with before others get their turn. Where more have come, as after a long standstill,
    those that no policy lets fire are recorded together."""
    skips_max: int = 100
    """Due times that one change of a job records as skipped one by one, say those of a pause that ends. More of them are recorded
    together, which costs the same for a year of seconds."""
    worker_row_every: Span = Span(10 * SECOND)
    """How stale a worker's stored heartbeat may be (the contract's last_heartbeat_at)."""
    worker_kept: Span = Span(1 * HOUR)
    """How long a silent worker is kept in memory, so that it keeps its counts when it returns."""
    key_kept: Span = Span(2 * MINUTE)
    """How long idempotency keys, and changes of ended tasks, stay in memory. It has to be longer than the time between a look-up
    in the database and the command that follows it, both within one call, and calls take a minute at most."""
    keys_max: int = 500_000
    """Idempotency keys in memory; more are refused with OVERLOADED. About 530 bytes each, 265 MB together: those of 4,000 calls a
    second, however many tasks each submits. None is forgotten early to make room: its call may have been looked up before it
    was stored, and then its second use would do everything again, or rather fail a commit with all that is in it, because the
    database knows the key."""

    webhooks_max: int = 10_000
    """Webhooks of all projects together; more are refused with OVERLOADED. All of them are in memory, about 1 KiB each, and each
    is told when a worker comes and goes."""
    project_webhooks_max: int = 100
    """Webhooks of one project: each event of it may become so many deliveries."""

    def __post_init__(self) -> None:
        """Check what the rules take for granted."""
        assert self.project_tasks_per_second >= 0, "a pace is a number of tasks"
        assert 0 < self.fire_all_max < self.fires_per_tick, "catching up must leave fewer due times than it deals with"


class KnownKey(NamedTuple):
    """The first use of an idempotency key."""

    digest: bytes
    ids: bytes


RowMark = tuple[Micros, "TaskState", int, "Outcome | None", bytes]
"""What tells the rows that an ended task had at different times apart, also while the clock stands still."""


def row_mark(task: Task) -> RowMark:
    """Return the mark of an ended task's row."""
    return (task.updated, task.state, task.attempt, task.outcome, task.plan.spec)


class State:
    """The single owner of all mutable scheduling state; changed only by the functions of this package."""

    __slots__ = (
        "_counter",
        "_key_order",
        "_keys",
        "ahead_until",
        "batches",
        "decisions_left",
        "draw",
        "effects",
        "ended_runs",
        "epoch",
        "executors",
        "gates",
        "jobs",
        "leases",
        "listening",
        "live_by_project",
        "new_id",
        "now",
        "ready",
        "records_used",
        "redriven",
        "runs",
        "settings",
        "settling",
        "tasks",
        "timers",
        "undecided",
        "webhooks",
        "workers",
    )

    def __init__(self, *, epoch: int, settings: CoreSettings, new_id: NewId, draw: Draw) -> None:
        self.epoch = epoch
        self.settings = settings
        self.new_id = new_id
        self.draw = draw
        self.now = Micros(0)
        self.tasks: dict[TaskId, Task] = {}
        """Live tasks; changed by `add_task` and `drop_task` alone."""
        self.live_by_project: dict[Project, int] = {}
        """How many of them each project has; projects without any are not in it."""
        self.ahead_until: dict[Project, Micros] = {}
        """Until when projects are ahead of the pace that they are allowed; some until a time that has passed."""
        self.runs: dict[RunId, Run] = {}
        """Live runs."""
        self.jobs: dict[JobId, Job] = {}
        """Jobs that were touched, that have live runs, or that are due soon. What is here is the truth."""
        self.workers: dict[WorkerId, Worker] = {}
        self.executors: dict[tuple[Project, WorkerId], Worker] = {}
        self.leases: dict[Token, Lease] = {}
        self.batches: dict[Token, LeaseBatch] = {}
        """By first token."""
        self.webhooks: dict[WebhookId, Webhook] = {}
        self.listening: dict[Project, dict[WebhookEvent, list[Webhook]]] = {}
        """Whom each event goes to; projects without an enabled webhook are not in it."""
        self.ready = ReadyQueue()
        self.gates = Gates()
        self.timers = Timers()
        self.effects = Effects()
        self.settling: deque[Task] = deque()
        """Ended tasks whose dependents and runs have not been told yet; empty between commands."""
        self.undecided: deque[Task] = deque()
        """Tasks of runs whose dependencies have had their say and that wait blocked for the next step; some may have been
        cancelled or changed since."""
        self.decisions_left = settings.decisions_per_step
        """How many of them this step may still decide."""
        self.ended_runs: deque[Run] = deque()
        """Ended runs whose jobs have not been told yet; empty between commands."""
        self._counter = 0
        self._keys: dict[tuple[Project, str], KnownKey] = {}
        self._key_order: deque[tuple[Micros, tuple[Project, str]]] = deque()
        self.records_used: OrderedDict[TaskId, tuple[Micros, RowMark | None]] = OrderedDict()
        """Ended tasks that commands changed lately: when, and the mark of their row now; None while they live or are deleted."""
        self.redriven: OrderedDict[RunId, tuple[Micros, RunId]] = OrderedDict()
        """Dead letters that were redriven lately: when, and by which run."""

    def add_task(self, task: Task) -> None:
        """Take a live task in."""
        self.tasks[task.id] = task
        live = self.live_by_project
        live[task.project] = live.get(task.project, 0) + 1

    def drop_task(self, task: Task) -> None:
        """Leave out a task that lives no longer."""
        del self.tasks[task.id]
        left = self.live_by_project[task.project] - 1
        if left:
            self.live_by_project[task.project] = left
        else:
            del self.live_by_project[task.project]

    def next_tokens(self, count: int) -> Token:
        """Reserve consecutive fencing tokens and return the first."""
        first = self._counter + 1
        self._counter += count
        assert self._counter < 1 << EPOCH_SHIFT, "the term has used up its tokens"
        return Token((self.epoch << EPOCH_SHIFT) + first)

    def write_task(self, task: Task) -> None:
        """Note that a task's row changes with this commit."""
        task.updated = self.now
        self.effects.writes.tasks[task.id] = task

    def note_record_used(self, task: Task, *, ended: bool) -> None:
        """Note that a command changed an ended task, or revived or deleted it: rows of it that were read before are outdated."""
        records = self.records_used
        records[task.id] = (self.now, row_mark(task) if ended else None)
        records.move_to_end(task.id)
        while next(iter(records.values()))[0] + self.settings.key_kept < self.now:
            records.popitem(last=False)

    def last_end(self, task_id: TaskId) -> TaskState | None:
        """How a task ended that is not live, if a command changed it lately: what was read of it may be older than that."""
        known = self.records_used.get(task_id)
        return None if known is None or known[1] is None else known[1][1]

    def is_outdated(self, record: Task) -> bool:
        """Whether the row of a task that is not live was read before what is known here."""
        if record.is_live:
            return True
        known = self.records_used.get(record.id)
        return known is not None and known[1] != row_mark(record)

    def repeated(self, project: Project, once: Once | None) -> Repeated | None:
        """Return the first call's ids if its key is known.

        Raises Refusal if it came with another request, or if it is new and there is no room to remember it.
        """
        if once is None:
            return None
        known = self._keys.get((project, once.key))
        if known is None:
            self._forget_keys()
            if len(self._keys) >= self.settings.keys_max:
                raise Refusal("overloaded", f"{len(self._keys)} idempotency keys were used lately; that is the limit")
            return None
        if known.digest != once.digest:
            raise Refusal("idempotency_mismatch", "the idempotency key was used with another request")
        return Repeated(known.ids)

    def remember(self, project: Project, once: Once | None, ids: bytes) -> None:
        """Note the first use of a key, durably; `repeated` has found it to be new."""
        if once is None:
            return
        self._keys[project, once.key] = KnownKey(once.digest, ids)
        self._key_order.append((self.now, (project, once.key)))
        self.effects.writes.idempotency.append(IdempotencyRecord(project, once.key, once.digest, ids, self.now, once.is_new))

    def _forget_keys(self) -> None:
        """Let keys of long ago leave the memory; PostgreSQL has them, and the call that used one again has seen it there."""
        while self._key_order and self._key_order[0][0] + self.settings.key_kept < self.now:
            del self._keys[self._key_order.popleft()[1]]
