"""The JSON of `chadburn`: what it takes and what it gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.chadburn.examples import EXECUTION_ID, JOB_ID

MASK = "******"
"""Shown for every environment value; sent back, it keeps the stored one."""

TIMEOUT_DEFAULT_S = 3_600
RETRIES_DEFAULT = 0
RETRY_DELAY_DEFAULT_S = 60
JOBS_MAX = 1_000
JOBS_DEFAULT = 100
EXECUTIONS_MAX = 100
"""Each comes with up to 64 KiB of output."""
EXECUTIONS_DEFAULT = 10

JobId = Annotated[str, Meta(description="The job's id: `job-` and a UUID.", examples=[JOB_ID])]
ExecutionId = Annotated[str, Meta(description="The execution's id: `exec-` and a UUID.", examples=[EXECUTION_ID])]
Name = Annotated[str, Meta(description="Job name, at most 255 bytes.", min_length=1, max_length=255)]
Cron = Annotated[
    str,
    Meta(
        description="Cron schedule expression: five fields, six with seconds first, `@hourly` and its like, or `@every 90s`. "
        "Read in UTC, unless the job was given a time zone through another API.",
        min_length=1,
        max_length=1_024,
        examples=["0 0 * * *"],
    ),
]
Line = Annotated[
    str,
    Meta(
        description="Command to execute: a line for `/bin/sh -c`, at most 64 KiB, run in a process group of its own.",
        min_length=1,
        max_length=65_536,
    ),
]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]
Tags = Annotated[
    list[Tag],
    Meta(description="Tags for categorizing jobs: at most 50, each at most 100 bytes.", max_length=50),
]
Timeout = Annotated[
    int, Meta(description="Maximum execution time in seconds, of each attempt; at most 30 days.", ge=1, le=2_592_000)
]
Retries = Annotated[int, Meta(description="Number of retry attempts on failure or timeout.", ge=0, le=99)]
RetryDelay = Annotated[
    int, Meta(description="Delay between retry attempts in seconds, the same each time; at most a day.", ge=0, le=86_400)
]
Environment = Annotated[
    dict[str, str],
    Meta(
        description="Environment variables for the job, added to a clean environment: at most 256 entries, 64 KiB in all. "
        f"Answers show each value as `{MASK}`; a `{MASK}` in a change keeps the stored value.",
        max_length=256,
    ),
]
Directory = Annotated[
    str, Meta(description="Working directory for the job; null: a fresh directory of each attempt.", max_length=4_096)
]
JobStatus = Literal["active", "paused", "completed"]
ExecutionStatus = Literal["success", "failure", "in_progress"]
Ignored = Annotated[
    Annotated[msgspec.Raw, Meta(extra_json_schema={})] | UnsetType,
    Meta(description="Taken so that an answer can be sent back, and ignored."),
]
Status = Annotated[
    JobStatus,
    Meta(description="`completed`: the schedule has no further time."),
]
NextRun = Annotated[
    datetime | None, Meta(description="When the schedule fires next; null while paused, and where no time is left.")
]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all have in common."""


class NewJob(Shape, frozen=True, kw_only=True):
    """A job to create."""

    name: Name
    schedule: Cron
    command: Line
    tags: Tags = []
    timeout: Timeout = TIMEOUT_DEFAULT_S
    retries: Retries = RETRIES_DEFAULT
    retry_delay: RetryDelay = RETRY_DELAY_DEFAULT_S
    environment: Environment = {}
    working_directory: Directory | None = None


class JobChange(Shape, frozen=True, kw_only=True):
    """A change of a job: what is absent stays."""

    name: Name | UnsetType = UNSET
    schedule: Cron | UnsetType = UNSET
    command: Line | UnsetType = UNSET
    status: Annotated[
        JobStatus | UnsetType,
        Meta(description="`active` or `paused`, what the job is to be. `completed` only where it is so already."),
    ] = UNSET
    tags: Tags | UnsetType = UNSET
    timeout: Timeout | UnsetType = UNSET
    retries: Retries | UnsetType = UNSET
    retry_delay: RetryDelay | UnsetType = UNSET
    environment: Annotated[Environment | UnsetType, Meta(description="Replaces the object.")] = UNSET
    working_directory: Directory | UnsetType | None = UNSET
    id: Annotated[str | UnsetType, Meta(description="If given, the id in the path.")] = UNSET
    created_at: Ignored = UNSET
    updated_at: Ignored = UNSET
    last_run: Ignored = UNSET
    next_run: Ignored = UNSET


class JobSummary(Shape, frozen=True, kw_only=True):
    """A job in a list."""

    id: JobId
    name: Name
    schedule: Cron
    command: Line
    status: Status
    tags: Tags
    created_at: datetime
    updated_at: datetime


class LastRun(Shape, frozen=True, kw_only=True):
    """The latest execution of a job, in brief."""

    status: ExecutionStatus
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    output: str


class Job(JobSummary, frozen=True, kw_only=True):
    """A job and where it stands."""

    last_run: Annotated[LastRun | None, Meta(description="Its latest execution; null before the first.")]
    next_run: NextRun


class JobSettings(JobSummary, frozen=True, kw_only=True):
    """A job and all that can be set on it."""

    timeout: Timeout
    retries: Retries
    retry_delay: RetryDelay
    environment: Environment
    working_directory: Directory | None
    next_run: NextRun


class Execution(Shape, frozen=True, kw_only=True):
    """An execution of a job."""

    id: ExecutionId
    job_id: JobId
    status: Annotated[ExecutionStatus, Meta(description="A cancelled execution is a `failure`, one that waits is `in_progress`.")]
    started_at: Annotated[datetime | None, Meta(description="When its first attempt started; null before.")]
    finished_at: Annotated[datetime | None, Meta(description="Null until it has ended.")]
    duration: Annotated[int | None, Meta(description="From start to finish in whole seconds; null until it has ended.")]
    exit_code: Annotated[
        int | None, Meta(description="Of the latest ended attempt: 128 and the signal's number where one killed it.")
    ]
    output: Annotated[
        str, Meta(description="The last 64 KiB of the latest ended attempt's standard output, without its last line end.")
    ]
    error: Annotated[
        str | None,
        Meta(description="Why it failed: the end of what the command wrote to standard error, or else what went wrong."),
    ]
    retry_count: Annotated[int, Meta(description="How many attempts followed the first.", ge=0)]


class Pagination(Shape, frozen=True, kw_only=True):
    """Where a page is in its list."""

    total: Annotated[int, Meta(description="How many there are in all.", ge=0)]
    limit: Annotated[int, Meta(ge=1)]
    offset: Annotated[int, Meta(ge=0)]


class JobPage(Shape, frozen=True, kw_only=True):
    """A page of jobs."""

    data: list[JobSummary]
    pagination: Pagination


class ExecutionPage(Shape, frozen=True, kw_only=True):
    """A page of executions."""

    data: list[Execution]
    pagination: Pagination


class JobAnswer(Shape, frozen=True, kw_only=True):
    """A job."""

    data: Job


class JobSettingsAnswer(Shape, frozen=True, kw_only=True):
    """A job as it was created or changed."""

    data: JobSettings


class Done(Shape, frozen=True, kw_only=True):
    """That it was done."""

    message: str


class DoneAnswer(Shape, frozen=True, kw_only=True):
    """That it was done."""

    data: Done


class Triggered(Shape, frozen=True, kw_only=True):
    """What was started."""

    message: str
    execution_id: ExecutionId


class TriggeredAnswer(Shape, frozen=True, kw_only=True):
    """What was started."""

    data: Triggered


class Paused(Shape, frozen=True, kw_only=True):
    """That the job is paused."""

    message: str
    id: JobId
    status: Status


class PausedAnswer(Shape, frozen=True, kw_only=True):
    """That the job is paused."""

    data: Paused


class Resumed(Paused, frozen=True, kw_only=True):
    """That the job goes by its schedule again."""

    next_run: NextRun


class ResumedAnswer(Shape, frozen=True, kw_only=True):
    """That the job goes by its schedule again."""

    data: Resumed


class JobListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of jobs."""

    limit: Annotated[int, Meta(description="Maximum number of jobs to return, at most 1,000.", ge=1, le=JOBS_MAX)] = JOBS_DEFAULT
    offset: Annotated[int, Meta(description="Number of jobs to skip.", ge=0, le=1_000_000)] = 0
    status: Annotated[JobStatus | UnsetType, Meta(description="Filter by job status.")] = UNSET
    tag: Annotated[Tag | UnsetType, Meta(description="Filter by job tag.")] = UNSET


class ExecutionListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of a job's execution history."""

    limit: Annotated[int, Meta(description="Maximum number of executions to return, at most 100.", ge=1, le=EXECUTIONS_MAX)] = (
        EXECUTIONS_DEFAULT
    )
    offset: Annotated[int, Meta(description="Number of executions to skip.", ge=0, le=1_000_000)] = 0
    status: Annotated[ExecutionStatus | UnsetType, Meta(description="Filter by execution status.")] = UNSET
