"""The nouns of the scheduler: jobs, runs, tasks, workers and leases, as the leader holds them in memory.

Plans are immutable: what was asked for. Task, Run, Job, Worker and Lease are mutable and have one owner, the engine. `stored`
says which table of PostgreSQL holds a row as of the last effects handed out, which is how several changes to one row within
one commit become a single write.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.transitions import ENDED_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, Span, TaskId, Token, WorkerId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foliot_scheduler.core.cron import CronSchedule
    from foliot_scheduler.core.graph import Graph
    from foliot_scheduler.core.ready import Lane

PRIORITY_LOWEST = 1
PRIORITY_HIGHEST = 10
PRIORITY_DEFAULT = 5


class Kind(StrEnum):
    """What a task runs."""

    MARKER = "marker"
    COMMAND = "command"
    HTTP = "http"
    BINARY = "binary"
    FUNCTION = "function"


class Outcome(StrEnum):
    """How one attempt ended; the values are what PostgreSQL stores."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    NON_RETRYABLE = "non_retryable"
    CANCELLED = "cancelled"
    LOST = "lost"


class TriggerRule(StrEnum):
    """When a task may start, given how its dependencies ended."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"
    ALWAYS = "always"


class Trigger(StrEnum):
    """What started a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    REDRIVE = "redrive"


class JobState(StrEnum):
    """Where a job stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class MisfirePolicy(StrEnum):
    """What happens to due times that passed while nothing could fire."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due while another goes on."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"
    QUEUE = "queue"


class Stored(StrEnum):
    """Which table holds the row."""

    NOWHERE = "nowhere"
    LIVE = "live"
    HISTORY = "history"


class RetryPolicy(NamedTuple):
    """Which failed attempts are followed by another, and when; see `retry.py` for the arithmetic."""

    max_attempts: int = 1
    initial_backoff: Span = Span(1_000_000)
    multiplier: float = 2.0
    max_backoff: Span = Span(60_000_000)
    jitter: float = 1.0
    retry_on: frozenset[Outcome] = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})


class Placement(NamedTuple):
    """What a worker must offer to be given a task. Tasks of one placement wait in one lane."""

    queue: str
    kind: Kind
    function: str
    labels: tuple[tuple[str, str], ...]


class ConcurrencyLimit(NamedTuple):
    """At most `max_running` tasks that name `key` run at once."""

    key: str
    max_running: int


class TaskPlan(NamedTuple):
    """What a task is to do; `spec` is the serialized form that a worker receives, opaque here."""

    name: str
    placement: Placement
    priority: int
    tags: tuple[str, ...]
    limits: tuple[ConcurrencyLimit, ...]
    start_at: Micros | None
    timeout: Span
    retry: RetryPolicy
    spec: bytes


class NodePlan(NamedTuple):
    """One task of a job's DAG."""

    key: str
    trigger_rule: TriggerRule
    plan: TaskPlan


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """When a job fires."""

    cron: CronSchedule
    expression: str
    timezone: str
    max_jitter: Span
    misfire: MisfirePolicy
    concurrency: ConcurrencyPolicy


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One version of what a job is; `spec` is its serialized form and `head` the same without its tasks, both opaque here."""

    name: str
    surface: str
    tags: tuple[str, ...]
    schedule: SchedulePlan | None
    nodes: tuple[NodePlan, ...]
    graph: Graph
    max_active_runs: int
    spec: bytes
    head: bytes


@dataclass(slots=True, eq=False)
class Task:
    """One unit of work, in a run or on its own."""

    id: TaskId
    project: Project
    plan: TaskPlan
    created: Micros
    updated: Micros
    state: TaskState = TaskState.BLOCKED
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    run: Run | None = None
    """The live run it belongs to."""
    run_id: RunId | None = None
    """The run it belongs to, live or ended."""
    position: int = 0
    """Index in the run's job; 0 for a task on its own."""
    depends_on: tuple[TaskId, ...] = ()
    """For a task on its own; in a run the job's graph says it."""
    children: list[Task] | None = None
    """Live tasks on their own that wait for this one; in a run the job's graph says it."""
    traceparent: str = ""
    # Counters over the dependencies, from which alone readiness follows.
    parents_open: int = 0
    parents_succeeded: int = 0
    parents_failed: int = 0
    parents_skipped: int = 0
    attempt: int = 0
    failed_attempts: int = 0
    lost_attempts: int = 0
    due: Micros | None = None
    worker_id: WorkerId | None = None
    worker_address: str = ""
    """Where the worker of its latest attempt said that it runs."""
    started: Micros | None = None
    ended: Micros | None = None
    outcome: Outcome | None = None
    """How the latest ended attempt ended; None before the first. An ended task has it only if that attempt ended the task, and
    that attempt has no `AttemptRecord`; None if the task ended without one, say while it waited to be tried again."""
    exit_code: int | None = None
    error: str = ""
    output: bytes = b""
    error_output: bytes = b""
    checkpoint: str = ""
    lease: Lease | None = None
    lane: Lane | None = None
    """Where it waits for a worker; None while it does not, or while a concurrency limit holds it."""
    stored: Stored = Stored.NOWHERE
    row_state: TaskState | None = None
    """What its stored row says, and its priority too if it is live; None while there is no row."""
    row_priority: int = 0
    suspect: bool = False
    """Whether it may have killed its workers; see `suspicion.py`."""
    retried: bool = False
    """Whether somebody retried it, so that others may be put back when it succeeds; see `dependents.py`."""

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state not in ENDED_TASK_STATES

    @property
    def key(self) -> str:
        """Its key in the run's job; empty for a task on its own."""
        return self.run.plan.nodes[self.position].key if self.run is not None else ""

    def snapshot(self) -> Task:
        """A copy as it stands now, for a reply that leaves later."""
        return Task(*_values_of_task(self))


_values_of_task = attrgetter(*[one.name for one in fields(Task)])
"""All fields in the order of the constructor. With it a copy takes 1.2 µs; `copy.copy` takes 6, and every task submitted alone is
copied for its reply."""


@dataclass(slots=True, eq=False)
class Run:
    """One execution of a job, pinned to the version it started with."""

    id: RunId
    project: Project
    job_id: JobId
    job_version: int
    plan: JobPlan
    trigger: Trigger
    created: Micros
    due_at: Micros | None = None
    state: RunState = RunState.PENDING
    started: Micros | None = None
    ended: Micros | None = None
    cancelled: bool = False
    tasks: list[Task] = field(default_factory=list)
    """One for each node, in the job's order."""
    open_tasks: int = 0
    failed_tasks: int = 0
    """Tasks that ended failed, or were cancelled one by one."""
    redrive_of: RunId | None = None
    """The failed run that this one is another try of."""
    stored: Stored = Stored.NOWHERE

    def snapshot(self) -> Run:
        """A copy as it stands now, without its tasks, for a reply that leaves later."""
        return replace(self, tasks=[])


@dataclass(slots=True, eq=False)
class Job:
    """A DAG of task plans with an optional schedule, versioned."""

    id: JobId
    project: Project
    plan: JobPlan
    created: Micros
    updated: Micros
    state: JobState = JobState.ACTIVE
    version: int = 1
    next_due: Micros | None = None
    """The schedule's next due time, before jitter."""
    fires_at: Micros | None = None
    """When the engine acts on `next_due`: with jitter."""
    active_runs: dict[RunId, Run] = field(default_factory=dict)
    waiting_runs: list[Micros] = field(default_factory=list)
    """Due times held back by the `queue` policy or by max_active_runs, oldest first."""
    stored: Stored = Stored.NOWHERE

    def snapshot(self) -> Job:
        """A copy as it stands now, without its runs, for a reply that leaves later."""
        return replace(self, active_runs={}, waiting_runs=list(self.waiting_runs))


@dataclass(slots=True, eq=False)
class Lease:
    """One attempt of one task on one worker."""

    token: Token
    task: Task
    attempt: int
    worker: Worker
    batch: LeaseBatch
    until: Micros | None = None
    """When it ends without a renewal of its own; None: it lives as long as its worker's heartbeats."""


@dataclass(slots=True, eq=False)
class LeaseBatch:
    """Leases handed out together: one durable row, gone when the last of them has ended."""

    first_token: Token
    worker_id: WorkerId
    leased: Micros
    task_ids: tuple[TaskId, ...]
    """Lease i has token first_token + i."""
    attempts: tuple[int, ...]
    open: int
    acknowledged: bool = False
    project: str = ""
    """Its holder's, which all executors have; empty for a worker that serves all."""


class WorkerProfile(NamedTuple):
    """What a worker said of itself."""

    id: WorkerId
    hostname: str
    version: str
    capacity: int
    queues: frozenset[str]
    labels: tuple[tuple[str, str], ...]
    kinds: frozenset[Kind]
    functions: frozenset[str]
    tags: tuple[str, ...]
    concurrency: int = 0
    """How many of its leases it runs at once; 0: as many as it holds."""


class Resources(NamedTuple):
    """How busy a worker's machine is, each from 0 to 1."""

    cpu: float
    memory: float
    disk: float


@dataclass(slots=True, eq=False)
class Worker:
    """A worker with a stream, or an executor that claims by unary calls (`session` 0)."""

    profile: WorkerProfile
    registered: Micros
    session: int
    """Numbers the stream it is on; 0: none now. Leases and cancels go to this stream only."""
    lease_until: Micros
    leases: dict[Token, Lease] = field(default_factory=dict)
    project: Project | None = None
    """The one it is served from, as every executor and the workers with a project's credential are; None: from all."""
    process: str = ""
    """Tells the process behind its stream from the one before; empty: not known."""
    draining: bool = False
    is_executor: bool = False
    last_heard: Micros = Micros(0)
    watched_at: Micros = Micros(0)
    """When its timer goes off that looks whether it was heard; a later one is left over from a silence."""
    row_written: Micros = Micros(0)
    """When its row was last handed out to be written."""
    resources: Resources | None = None
    succeeded: int = 0
    """Attempts that succeeded on it since its row was written last: the row holds the sum."""
    failed: int = 0
    """The same of those that failed."""
    offline: bool = False
    fast: dict[Placement, int] = field(default_factory=dict)
    """Placements whose tasks it ends fast, with how many of them it is to hold; see `prefetch.py`."""
    ended_since: dict[Placement, int] = field(default_factory=dict)
    """Attempts that ended on it since `paced`."""
    suspect: Lease | None = None
    """The one lease of a suspect task that it holds."""
    paced: Micros = Micros(0)
    """When its pace was last taken."""

    def accepts_fast(self, placement: Placement) -> bool:
        """Whether it may be given more tasks of this placement than its slots call for."""
        return placement in self.fast

    def accepts(self, placement: Placement) -> bool:
        """Whether it may be given tasks of this placement."""
        profile = self.profile
        if placement.queue not in profile.queues or placement.kind not in profile.kinds:
            return False
        if placement.kind is Kind.FUNCTION and placement.function not in profile.functions:
            return False
        if not placement.labels:
            return True
        offered: Mapping[str, str] = dict(profile.labels)
        return all(offered.get(name) == value for name, value in placement.labels)
