"""The facts that reach the engine: one class for each.

A command carries what the engine cannot look up: rows of ended tasks, jobs or runs that are not in memory come along as
`ended`, `job` or the like, read by whoever sends the command, so that the engine never waits. Names are in the imperative
for wishes that may be refused, in the past tense for facts that may only be stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from foliot_scheduler.core.model import (
    Job,
    JobPlan,
    JobState,
    Kind,
    Outcome,
    Resources,
    Task,
    TaskPlan,
    TriggerRule,
    WorkerProfile,
)
from foliot_scheduler.core.subscriptions import WebhookCommand
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, Token, WorkerId


class Once(NamedTuple):
    """What makes a wish safe to repeat: the caller's key, and a digest of the request it came with."""

    key: str
    digest: bytes
    is_new: bool = False
    """Whether the key was made for this wish, so that no earlier leader can know it."""


class NewTask(NamedTuple):
    """One task to create."""

    plan: TaskPlan
    depends_on: tuple[TaskId, ...] = ()
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS


@dataclass(frozen=True, slots=True)
class SubmitTasks:
    """Create tasks on their own, all or none. Replies with the task where there is one, else with the ids."""

    project: Project
    tasks: list[NewTask]
    once: Once | None = None
    traceparent: str = ""
    ended: dict[TaskId, TaskState] = field(default_factory=dict)
    """How the dependencies that are not live ended, as far as the sender could read."""


@dataclass(frozen=True, slots=True)
class TaskChange:
    """New values of a task; None leaves a field as it is."""

    plan: TaskPlan | None = None
    depends_on: tuple[TaskId, ...] | None = None
    trigger_rule: TriggerRule | None = None
    labels_only: bool = False
    """Only tags and description changed, which is allowed at any time."""


@dataclass(frozen=True, slots=True)
class UpdateTask:
    """Change a task that has not started; labels at any time. Replies with the task."""

    project: Project
    task_id: TaskId
    change: TaskChange
    ended: dict[TaskId, TaskState] = field(default_factory=dict)
    record: Task | None = None
    """The task as PostgreSQL has it, when it is not live."""


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Remove a task that is not running. Replies with None."""

    project: Project
    task_id: TaskId
    record: Task | None = None


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Cancel a live task. Replies with the task."""

    project: Project
    task_id: TaskId
    record: Task | None = None
    only_waiting: bool = False
    """Whether one that runs is left alone."""


@dataclass(frozen=True, slots=True)
class RetryTask:
    """Give a failed or cancelled task on its own another attempt. Replies with the task."""

    project: Project
    task_id: TaskId
    once: Once | None = None
    record: Task | None = None


@dataclass(frozen=True, slots=True)
class PutBackDependents:
    """Ask tasks again that failed because of a dependency which has succeeded since. Replies with None."""

    records: list[Task]
    """The tasks as PostgreSQL has them."""
    gone: list[TaskId]
    """Those that are not in the history."""
    ended: dict[TaskId, TaskState]
    """How their dependencies ended that are not live; one that is gone counts as failed."""


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Store a running task's progress, said by somebody who is not its worker. Replies with the task."""

    project: Project
    task_id: TaskId
    checkpoint: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create a job. Replies with the job."""

    project: Project
    plan: JobPlan
    paused: bool = False
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """Replace a job's plan, and pause or resume it, if it still has the version. Replies with the job."""

    project: Project
    job_id: JobId
    plan: JobPlan | None
    """None leaves it as it is."""
    version: int
    """The version the new plan was made from."""
    record: Job | None = None
    once: Once | None = None
    state: JobState | None = None
    """Active or paused; None leaves it as it is."""


@dataclass(frozen=True, slots=True)
class SetJobState:
    """Pause, resume or delete a job. Replies with the job."""

    project: Project
    job_id: JobId
    action: str
    """pause, resume or delete."""
    record: Job | None = None


@dataclass(frozen=True, slots=True)
class TriggerJob:
    """Start a run now. Replies with the run."""

    project: Project
    job_id: JobId
    once: Once | None = None
    traceparent: str = ""
    record: Job | None = None
    obeys_policy: bool = False
    """Whether the schedule's concurrency policy holds for it too."""


@dataclass(frozen=True, slots=True)
class RedriveRun:
    """Start another run in the place of one that failed for good and was not redriven. Replies with the new run."""

    project: Project
    run_id: RunId
    """It is in PostgreSQL, failed and not redriven, as the sender has read in this term."""
    job_id: JobId
    once: Once | None = None
    traceparent: str = ""
    record: Job | None = None


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Cancel every live task of a run. Replies with the run."""

    project: Project
    run_id: RunId


@dataclass(frozen=True, slots=True)
class JobsDue:
    """Jobs whose next due time is near, read from PostgreSQL ahead of it. Replies with None."""

    jobs: list[Job]


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker opened a stream. Replies with the tokens it no longer holds."""

    session: int
    profile: WorkerProfile
    held: tuple[Token, ...] = ()
    project: Project | None = None
    """The one whose tasks it may be given, and nobody else's; None: everybody's."""
    process: str = ""
    """Tells the worker's process from an earlier one of the same name; empty: not said."""


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker's stream ended. Replies with None."""

    session: int
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """A worker wants no more leases. Replies with None."""

    session: int
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker renewed its leases. Replies with None."""

    session: int
    worker_id: WorkerId
    sequence: int
    resources: Resources | None = None


@dataclass(frozen=True, slots=True)
class LeasesAcknowledged:
    """A worker has received lease batches. Replies with None."""

    session: int
    worker_id: WorkerId
    batches: tuple[Token, ...]


class AttemptStarted(NamedTuple):
    """An attempt that has been running for a while."""

    token: Token
    started: Micros


@dataclass(frozen=True, slots=True)
class AttemptsStarted:
    """A worker reports long attempts. Replies with None."""

    session: int
    worker_id: WorkerId
    attempts: list[AttemptStarted]


class AttemptEnd(NamedTuple):
    """How one attempt ended on its worker."""

    token: Token
    outcome: Outcome
    exit_code: int | None
    error: str
    output: bytes
    error_output: bytes
    started: Micros
    ended: Micros


@dataclass(frozen=True, slots=True)
class AttemptsEnded:
    """A worker reports ended attempts. Replies with None; the acknowledgement is an effect of its own."""

    session: int
    worker_id: WorkerId
    ends: list[AttemptEnd]


@dataclass(frozen=True, slots=True)
class CheckpointReported:
    """A worker saves the progress of an attempt it runs. Replies with None; the acknowledgement is an effect of its own."""

    session: int
    worker_id: WorkerId
    token: Token
    sequence: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class LeasesReleased:
    """A worker gives back leases it has not started. Replies with None."""

    session: int
    worker_id: WorkerId
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class ClaimTask:
    """An executor asks for one task. Replies with the task, or None when nothing waits."""

    project: Project
    executor_id: WorkerId
    address: str
    queues: frozenset[str]
    kinds: frozenset[Kind]
    standalone: bool = False
    """Whether tasks of runs are left to others."""


@dataclass(frozen=True, slots=True)
class RenewClaim:
    """An executor renews the lease of a task it claimed. Replies with None."""

    project: Project
    executor_id: WorkerId
    task_id: TaskId
    token: Token | None = None
    """None: of whichever claim it holds."""


@dataclass(frozen=True, slots=True)
class EndClaim:
    """An executor reports the end of a task it claimed. Replies with the task."""

    project: Project
    executor_id: WorkerId
    task_id: TaskId
    outcome: Outcome
    exit_code: int | None
    error: str
    output: bytes
    error_output: bytes
    token: Token | None = None
    """None: of whichever claim it holds."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: everything due by now happens. Replies with None."""


Command = (
    SubmitTasks
    | UpdateTask
    | DeleteTask
    | CancelTask
    | RetryTask
    | PutBackDependents
    | SaveCheckpoint
    | CreateJob
    | UpdateJob
    | SetJobState
    | TriggerJob
    | RedriveRun
    | CancelRun
    | JobsDue
    | WorkerJoined
    | WorkerLeft
    | WorkerDraining
    | Heartbeat
    | LeasesAcknowledged
    | AttemptsStarted
    | AttemptsEnded
    | CheckpointReported
    | LeasesReleased
    | ClaimTask
    | RenewClaim
    | EndClaim
    | WebhookCommand
    | Tick
)
