"""The JSON of `queue`: what it takes and what it gives, snake_case."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.queue import examples
from foliot_gateway.apis.queue.words import AttemptStatus, Priority, Status

MASK = "******"
"""Shown for every environment value, but to the executor that claims the job."""
BULK_MAX = 1_000
"""Jobs of one bulk call: as many as the longest page of a list."""

JobId = Annotated[str, Meta(description="The job's id: a UUID.", examples=[examples.JOB_ID])]
JobType = Annotated[
    str,
    Meta(
        description="Says what kind of job it is; no spaces or control characters.",
        min_length=1,
        max_length=255,
        pattern=r"^[^\s\x00-\x1f\x7f]+$",
        extra={"rule": "must be without white space and control characters"},
        examples=["data-processing"],
    ),
]
JobPriority = Annotated[
    Priority,
    Meta(description="`foreground` is claimed before `background`, then `best_effort`; the oldest first in each."),
]
ExecutorId = Annotated[
    str,
    Meta(description="The executor's own name for itself.", min_length=1, max_length=255, examples=[examples.EXECUTOR_ID]),
]
ClaimToken = Annotated[
    str,
    Meta(
        description="The claim's `token`, as its answer told. What quotes another claim than the one that counts is refused: so "
        "an executor that runs several jobs at once, or one job twice, never ends a later claim of its own by a late report.",
        pattern="^[1-9][0-9]{0,19}$",
        extra={"rule": "must be the token that the claim answered"},
        examples=[examples.TOKEN],
    ),
]
Output = Annotated[
    str, Meta(description="What it wrote; past 1 MiB it is cut, and its last line then says so (`[cut: 2097152 bytes in all]`).")
]
ExitCode = Annotated[int, Meta(description="The exit status.", ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all have in common."""


class NewJob(Shape, frozen=True, kw_only=True):
    """A job to submit."""

    type: JobType
    binary_url: Annotated[
        str, Meta(description="Where the executable is: absolute, http or https, at most 8 KiB.", min_length=1, max_length=8_192)
    ]
    binary_sha256: Annotated[
        str,
        Meta(
            description="The executable's SHA-256; it never runs when this differs.",
            pattern="^[0-9a-fA-F]{64}$",
            extra={"rule": "must be 64 hexadecimal digits"},
        ),
    ]
    arguments: Annotated[list[str], Meta(description="Passed as they are: at most 1,000, 128 KiB in all.", max_length=1_000)] = []
    env_variables: Annotated[
        dict[str, str],
        Meta(description="Added to the process's clean environment: at most 256 entries, 64 KiB in all.", max_length=256),
    ] = {}
    priority: JobPriority


NewJobs = cast("type[list[NewJob]]", Annotated[list[NewJob], Meta(min_length=1, max_length=BULK_MAX)])
"""The body of a bulk submit."""


class Submitted(Shape, frozen=True, kw_only=True):
    """A job as it was submitted."""

    id: JobId
    type: str
    status: Status
    created_at: datetime


class JobStatus(Shape, frozen=True, kw_only=True):
    """A job, and where it stands."""

    id: JobId
    status: Status


class JobListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of jobs."""

    status: Annotated[Status | UnsetType, Meta(description="Keeps jobs of this status.")] = UNSET
    type: Annotated[
        Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType, Meta(description="Keeps jobs of exactly this type.")
    ] = UNSET
    priority: Annotated[Priority | UnsetType, Meta(description="Keeps jobs of this priority.")] = UNSET
    limit: Annotated[int, Meta(description="How many at most.", ge=1, le=1_000)] = 100
    offset: Annotated[int, Meta(description="How many to skip.", ge=0, le=1_000_000)] = 0


class JobSummary(Shape, frozen=True, kw_only=True):
    """A job in a list."""

    id: JobId
    type: str
    status: Status
    priority: Priority
    executor_id: Annotated[str | None, Meta(description="Who runs it, or ran it last; null while it is pending.")]
    created_at: datetime
    started_at: Annotated[datetime | None, Meta(description="When its latest attempt started; null while it is pending.")]


class Attempt(Shape, frozen=True, kw_only=True):
    """One claim of a job, or one attempt of a worker of the project."""

    executor_id: str
    executor_ip: Annotated[str, Meta(description="Where the executor said that it runs; of a worker the host name.")]
    started_at: datetime | None
    ended_at: Annotated[datetime | None, Meta(description="Null while it runs.")]
    status: Annotated[
        AttemptStatus, Meta(description="`lost`: its executor was not heard for too long, and the job went back to pending.")
    ]


class Job(Shape, frozen=True, kw_only=True):
    """A job with everything that is known of it."""

    id: JobId
    type: str
    binary_url: str
    binary_sha256: str
    arguments: list[str]
    env_variables: Annotated[
        dict[str, str], Meta(description=f"Each value is shown as `{MASK}`, except to the executor that claims the job.")
    ]
    priority: Priority
    status: Status
    executor_id: Annotated[str | None, Meta(description="Who runs it, or ran it last; null while it is pending.")]
    stdout: Output
    stderr: Output
    exit_code: Annotated[int | None, Meta(description="Of the attempt that ended it; null before, and where there was none.")]
    created_at: datetime
    started_at: datetime | None
    completed_at: Annotated[datetime | None, Meta(description="When it ended, however it did; null before.")]
    attempts: Annotated[list[Attempt], Meta(description="All of them, oldest first.")]
    error_message: Annotated[
        str | UnsetType, Meta(description="Why it failed, as its executor said; there only where something was said.")
    ] = UNSET
    token: Annotated[
        Annotated[str, Meta(examples=[examples.TOKEN])] | UnsetType,
        Meta(description="There only in the answer to a claim: names it in the heartbeats and the end of the job, if wanted."),
    ] = UNSET


class Claim(Shape, frozen=True, kw_only=True):
    """An executor that asks for a job."""

    executor_id: ExecutorId
    executor_ip: Annotated[str, Meta(description="Where it runs; shown with the attempt.", max_length=255)] = ""


class Heartbeat(Shape, frozen=True, kw_only=True):
    """An executor that still runs a job."""

    executor_id: ExecutorId
    token: ClaimToken | UnsetType = UNSET


class Completion(Shape, frozen=True, kw_only=True):
    """What came of a job."""

    executor_id: ExecutorId
    token: ClaimToken | UnsetType = UNSET
    stdout: Output = ""
    stderr: Output = ""
    exit_code: ExitCode = 0


class Failure(Shape, frozen=True, kw_only=True):
    """Why a job failed."""

    executor_id: ExecutorId
    token: ClaimToken | UnsetType = UNSET
    stdout: Output = ""
    stderr: Output = ""
    exit_code: Annotated[ExitCode | None, Meta(description="The exit status, if the process had one.")] = None
    error_message: Annotated[str, Meta(description="Why it failed, at most 8 KiB.", max_length=8_192)] = ""


class CancelJobs(Shape, frozen=True, kw_only=True):
    """The jobs to cancel."""

    job_ids: Annotated[list[str], Meta(description="Each once.", min_length=1, max_length=BULK_MAX)]


class CancelError(Shape, frozen=True, kw_only=True):
    """A job that was not cancelled."""

    job_id: Annotated[str, Meta(description="Its id as it was given.")]
    error: Annotated[str, Meta(description="Why it was not cancelled.")]


class CancelledJobs(Shape, frozen=True, kw_only=True):
    """What became of each."""

    cancelled: Count
    failed: Count
    errors: Annotated[list[CancelError], Meta(description="Those that were not cancelled, in the order of the request.")]


class JobsByStatus(Shape, frozen=True, kw_only=True):
    """How many jobs have each status."""

    pending: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count


class PendingByPriority(Shape, frozen=True, kw_only=True):
    """How many pending jobs have each priority."""

    foreground: Count
    background: Count
    best_effort: Count


class Stats(Shape, frozen=True, kw_only=True):
    """Counts of all jobs that are kept."""

    jobs_by_status: JobsByStatus
    pending_by_priority: PendingByPriority
    active_executors: Annotated[int, Meta(description="Executors that were heard within the lease.", ge=0)]


class Executor(Shape, frozen=True, kw_only=True):
    """An executor that was heard within the lease."""

    executor_id: str
    current_job_id: Annotated[str | None, Meta(description="The job it runs; of several the oldest claim's; null with none.")]
    job_type: str | None
    last_heartbeat: Annotated[datetime, Meta(description="When it was heard last, give or take 10 s.")]
    jobs_completed: Count
