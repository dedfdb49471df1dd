"""The JSON of `dag_jobs`: what it takes and what it gives, camelCase."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.dag_jobs.examples import JOB_ID

MASK = "******"
"""Shown for every environment value; sent back, it keeps the stored one."""

JobId = Annotated[str, Meta(description="The job's id: `job-` and a UUID.", examples=[JOB_ID])]
TaskId = Annotated[
    str,
    Meta(
        description="Names the task inside its job, unique there; no white space or control characters.",
        min_length=1,
        max_length=255,
        pattern=r"^[^\s\x00-\x1f\x7f]+$",
        extra={"rule": "must be without white space and control characters"},
        examples=["extract"],
    ),
]
Environment = Annotated[
    dict[str, str],
    Meta(
        description="Added to the process's clean environment: at most 256 entries, 64 KiB in all. Answers show each value "
        f"as `{MASK}`; a `{MASK}` in a change keeps the stored value.",
        max_length=256,
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Label = Annotated[str, Meta(max_length=255)]
Prose = Annotated[str, Meta(max_length=4_096)]
Cron = Annotated[str, Meta(min_length=1, max_length=1_024)]
Zone = Annotated[str, Meta(min_length=1, max_length=255)]
Line = Annotated[str, Meta(min_length=1, max_length=65_536)]
Seconds = Annotated[float, Meta(gt=0, le=2_592_000)]
Priority = Annotated[int, Meta(ge=1, le=10)]
Retries = Annotated[int, Meta(ge=0, le=99)]
Version = Annotated[int, Meta(ge=1, le=2**63 - 1)]
TriggerRuleName = Literal["ALL_SUCCESS", "ALL_DONE", "ONE_SUCCESS", "ONE_FAILED", "NONE_FAILED", "ALWAYS"]
JobStatus = Literal["ACTIVE", "PAUSED"]
RunStatus = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]
TaskStatus = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"]
JsonObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
JsonValue = Annotated[msgspec.Raw, Meta(extra_json_schema={})]
Time = datetime


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What all have in common."""


class RetryPolicy(Shape, frozen=True, kw_only=True):
    """Which failed attempts of a task are followed by another, and when.

    The wait before attempt n + 1 is drawn at random from 0 to
    min(maxBackoffSeconds, backoffSeconds * backoffMultiplier ^ (n - 1)).
    """

    type: Annotated[
        Literal["NONE", "ON_FAILURE", "ALWAYS"],
        Meta(
            description="`NONE`: one attempt. `ON_FAILURE`: a failed attempt (non-zero exit, exception, HTTP 5xx or 429) is "
            "followed by another. `ALWAYS`: so is one that timed out or failed in a way marked as not worth retrying."
        ),
    ]
    max_retries: Annotated[
        Retries | None,
        Meta(description="How many attempts follow the first: 3 unless given; 0 with `NONE`."),
    ] = None
    backoff_seconds: Annotated[float, Meta(description="The longest wait after the first failed attempt.", ge=0, le=86_400)] = 1.0
    backoff_multiplier: Annotated[float, Meta(description="Makes each wait longer than the last.", ge=1, le=10)] = 2.0
    max_backoff_seconds: Annotated[float, Meta(description="Caps the wait.", ge=0, le=604_800)] = 60.0


class Command(Shape, frozen=True, kw_only=True):
    """A shell line, run by `/bin/sh -c` in a process group of its own."""

    line: Annotated[str, Meta(description="The shell line, at most 64 KiB.", min_length=1, max_length=65_536)]
    environment: Environment = {}
    working_directory: Annotated[str, Meta(description="Where the process starts; empty: a fresh directory of the attempt.")] = ""


class Http(Shape, frozen=True, kw_only=True):
    """One HTTP request; any status from 200 to 299 is success."""

    url: Annotated[str, Meta(description="Absolute, http or https, at most 8 KiB.", min_length=1, max_length=8_192)]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: Annotated[
        dict[str, str],
        Meta(
            description="Sent as given: at most 100. A value `secret://name` is resolved by the worker at send time; one that "
            f"carries a credential is shown as `{MASK}`.",
            max_length=100,
        ),
    ] = {}
    body: Annotated[
        JsonValue | UnsetType,
        Meta(
            description="A string is sent as it is; any other JSON value is sent as JSON, with the content type "
            "`application/json` unless `headers` names one. At most 1 MiB."
        ),
    ] = UNSET
    body_base64: Annotated[str | UnsetType, Meta(description="The body as base64, where it is not text; instead of `body`.")] = (
        UNSET
    )
    timeout_seconds: Annotated[Seconds | None, Meta(description="Bounds the whole exchange; unset: the task's timeout does.")] = (
        None
    )
    bearer_secret: Annotated[str, Meta(description="A `secret://name` whose value is sent as `Authorization: Bearer`.")] = ""


class Binary(Shape, frozen=True, kw_only=True):
    """An executable fetched over http or https, verified before it runs."""

    url: Annotated[str, Meta(description="Absolute, http or https, at most 8 KiB.", min_length=1, max_length=8_192)]
    sha256: Annotated[
        str,
        Meta(
            description="The file's SHA-256; it never runs when this differs.",
            pattern="^[0-9a-fA-F]{64}$",
            extra={"rule": "must be 64 hexadecimal digits"},
        ),
    ]
    arguments: Annotated[list[str], Meta(description="Passed as they are: at most 1,000.", max_length=1_000)] = []
    environment: Environment = {}


class Function(Shape, frozen=True, kw_only=True):
    """A call of a handler that worker programs registered by name."""

    name: Annotated[str, Meta(description="The registered name.", min_length=1, max_length=255)]
    input: Annotated[JsonValue | UnsetType, Meta(description="The handler's argument; null unless given.")] = UNSET


class TaskWork(Shape, frozen=True, kw_only=True):
    """The parts of a task that may be absent from a change of it."""

    name: Annotated[Label | UnsetType | None, Meta(description="Shown to people; the id unless given.")] = UNSET
    dependencies: Annotated[
        list[TaskId] | UnsetType, Meta(description="The ids of the tasks of the job that come before it.")
    ] = UNSET
    command: Annotated[
        Line | Command | UnsetType | None, Meta(description="A shell line, as a string or with its environment.")
    ] = UNSET
    http: Annotated[Http | UnsetType | None, Meta(description="One HTTP request.")] = UNSET
    binary: Annotated[Binary | UnsetType | None, Meta(description="A file to fetch, verify and run.")] = UNSET
    function: Annotated[
        Name | Function | UnsetType | None, Meta(description="A registered handler, by name or with its input.")
    ] = UNSET
    retry_policy: Annotated[
        RetryPolicy | UnsetType | None, Meta(description="The task's own policy; the job's unless given.")
    ] = UNSET
    timeout_seconds: Annotated[
        Seconds | UnsetType | None, Meta(description="Bounds one attempt: 3600 unless given, at most 30 days.")
    ] = UNSET
    priority: Annotated[Priority | UnsetType | None, Meta(description="1 to 10, 10 first; 5 unless given.")] = UNSET
    trigger_rule: Annotated[
        TriggerRuleName | UnsetType | None,
        Meta(description="When it may start, given its dependencies; `ALL_SUCCESS` unless given."),
    ] = UNSET


class NewTask(TaskWork, frozen=True, kw_only=True):
    """A task of a job. At most one of `command`, `http`, `binary`, `function`; with none it is a marker that succeeds at once."""

    id: TaskId


class TaskChange(TaskWork, frozen=True, kw_only=True):
    """A change of a task: what is absent stays. Naming another kind of work replaces the work; null removes it."""

    id: Annotated[TaskId | UnsetType, Meta(description="If given, the id in the path: a task keeps its id.")] = UNSET
    dependents: Annotated[
        list[str] | UnsetType,
        Meta(description="Taken so that an answer can be sent back, and ignored: it follows from the others' dependencies."),
    ] = UNSET


class NewJob(Shape, frozen=True, kw_only=True):
    """A job to create."""

    name: Annotated[str, Meta(description="Shown to people.", min_length=1, max_length=255)]
    description: Annotated[Prose | None, Meta(description="Free text, at most 4 KiB.")] = None
    schedule: Annotated[
        Cron | None,
        Meta(
            description="Cron: five fields, six with seconds first, `@hourly` and its like, or `@every 90s`. Without one, "
            "only triggers start it.",
            examples=["0 6 * * *"],
        ),
    ] = None
    timezone: Annotated[
        Zone | None,
        Meta(description="The IANA zone of the schedule, UTC unless given. Needs a schedule.", examples=["Europe/Vienna"]),
    ] = None
    retry_policy: Annotated[RetryPolicy | None, Meta(description="The policy of tasks that carry none.")] = None
    tasks: Annotated[list[NewTask], Meta(description="The DAG, in any order; at most 100,000 tasks.", max_length=100_000)] = []
    metadata: Annotated[JsonObject | UnsetType, Meta(description="Any JSON object, kept for the caller, at most 64 KiB.")] = UNSET


class Dag(Shape, frozen=True, kw_only=True):
    """The job's tasks as a graph."""

    nodes: Annotated[list[str], Meta(description="The task ids.")]
    edges: Annotated[list[tuple[str, str]], Meta(description="Pairs of ids: the first comes before the second.")]
    levels: Annotated[
        list[list[str]], Meta(description="Ids in dependency order: those of one level depend only on levels before it.")
    ]


class JobChange(Shape, frozen=True, kw_only=True):
    """A change of a job: what is absent stays.

    A whole job as `GET` answers it may be sent back: `id` and `status` must be as they are (see pause and resume), and `dag`,
    `nextRunAt`, `createdAt` and `updatedAt`, which follow from the rest, are ignored.
    """

    name: Annotated[Name | UnsetType, Meta(description="Shown to people.")] = UNSET
    description: Annotated[Prose | UnsetType | None, Meta(description="Free text, at most 4 KiB.")] = UNSET
    schedule: Annotated[Cron | UnsetType | None, Meta(description="As in a new job; null removes it.")] = UNSET
    timezone: Annotated[Zone | UnsetType | None, Meta(description="As in a new job; null stands for UTC.")] = UNSET
    retry_policy: Annotated[RetryPolicy | UnsetType | None, Meta(description="Replaces the policy; null removes it.")] = UNSET
    tasks: Annotated[
        Annotated[list[NewTask], Meta(max_length=100_000)] | UnsetType, Meta(description="Replaces the whole DAG.")
    ] = UNSET
    metadata: Annotated[JsonObject | UnsetType, Meta(description="Replaces the object.")] = UNSET
    version: Annotated[Version | UnsetType, Meta(description="If given, must be the current version: 409 otherwise.")] = UNSET
    id: Annotated[str | UnsetType, Meta(description="If given, the id in the path.")] = UNSET
    status: Annotated[JobStatus | UnsetType, Meta(description="If given, the current status: pause and resume change it.")] = (
        UNSET
    )
    dag: Annotated[Dag | UnsetType, Meta(description="Ignored.")] = UNSET
    next_run_at: Annotated[Time | UnsetType | None, Meta(description="Ignored.")] = UNSET
    created_at: Annotated[Time | UnsetType, Meta(description="Ignored.")] = UNSET
    updated_at: Annotated[Time | UnsetType, Meta(description="Ignored.")] = UNSET


class Task(Shape, frozen=True, kw_only=True):
    """A task of a job, as it is kept.

    It carries the key of its work: `command`, `http`, `binary` or `function`; a marker has none.
    """

    id: TaskId
    name: str
    dependencies: list[str]
    command: Annotated[str | Command | UnsetType, Meta(description="A string where it is the line alone.")] = UNSET
    http: Http | UnsetType = UNSET
    binary: Binary | UnsetType = UNSET
    function: Annotated[str | Function | UnsetType, Meta(description="A string where it has no input.")] = UNSET
    retry_policy: Annotated[RetryPolicy | None, Meta(description="Null: the job's.")]
    timeout_seconds: float
    priority: Annotated[int, Meta(ge=1, le=10)]
    trigger_rule: TriggerRuleName


class LinkedTask(Task, frozen=True, kw_only=True):
    """A task of a job with its neighbours both ways."""

    dependents: Annotated[list[str], Meta(description="The ids of the tasks that depend on it.")]


class JobSummary(Shape, frozen=True, kw_only=True):
    """A job in a list."""

    id: JobId
    name: str
    description: str
    status: JobStatus
    schedule: str | None
    timezone: str | None
    next_run_at: Annotated[Time | None, Meta(description="When the schedule fires next; null without one, or while paused.")]
    task_count: Annotated[int, Meta(description="How many tasks it has.", ge=0)]
    version: Annotated[int, Meta(ge=1)]
    created_at: Time
    updated_at: Time


class Job(Shape, frozen=True, kw_only=True):
    """A job as it stands."""

    id: JobId
    name: str
    description: str
    status: JobStatus
    schedule: str | None
    timezone: str | None
    next_run_at: Annotated[Time | None, Meta(description="When the schedule fires next; null without one, or while paused.")]
    retry_policy: Annotated[RetryPolicy | None, Meta(description="The policy of tasks that carry none; null: one attempt.")]
    tasks: list[Task]
    dag: Dag
    metadata: JsonObject
    version: Annotated[int, Meta(description="Grows by one with each change, from 1.", ge=1)]
    created_at: Time
    updated_at: Time


class Created(Shape, frozen=True, kw_only=True):
    """What was created."""

    id: Annotated[str, Meta(description="Its id.")]
    message: str


class Done(Shape, frozen=True, kw_only=True):
    """That it was done."""

    message: str


class Triggered(Shape, frozen=True, kw_only=True):
    """What was started."""

    execution_id: Annotated[str, Meta(description="The execution's id: `exec-` and a UUID.")]
    message: str


class StatusChanged(Shape, frozen=True, kw_only=True):
    """Where the job stands now."""

    id: JobId
    status: JobStatus
    message: str


class ExecutionTask(Shape, frozen=True, kw_only=True):
    """A task of an execution. Waiting of any kind is `PENDING`; `SKIPPED` is one whose trigger rule can no longer hold."""

    id: str
    status: TaskStatus
    attempts: Annotated[int, Meta(description="How many attempts were started.", ge=0)]
    error: Annotated[str | None, Meta(description="Why the latest ended attempt failed.")]


class Execution(Shape, frozen=True, kw_only=True):
    """The latest execution of a job."""

    execution_id: str
    status: RunStatus
    started_at: Annotated[Time | None, Meta(description="When its first task started; null before.")]
    finished_at: Annotated[Time | None, Meta(description="Null until it has ended.")]
    tasks: list[ExecutionTask]


class ExecutionRecord(Shape, frozen=True, kw_only=True):
    """An execution in a job's history."""

    execution_id: str
    status: RunStatus
    trigger: Annotated[Literal["MANUAL", "SCHEDULE"], Meta(description="What started it.")]
    started_at: Time | None
    finished_at: Time | None
    duration_ms: Annotated[int | None, Meta(description="From start to finish; null until it has ended.")]


class JobListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of jobs."""

    limit: Annotated[int, Meta(description="How many at most.", ge=1, le=1_000)] = 100
    offset: Annotated[int, Meta(description="How many to skip.", ge=0, le=1_000_000)] = 0
    name: Annotated[Name | UnsetType, Meta(description="Keeps jobs of exactly this name.")] = UNSET
    status: Annotated[JobStatus | UnsetType, Meta(description="Keeps jobs of this status.")] = UNSET


class HistoryQuery(Shape, frozen=True, kw_only=True):
    """The parameters of a job's history."""

    limit: Annotated[int, Meta(description="How many at most.", ge=1, le=1_000)] = 100
    offset: Annotated[int, Meta(description="How many to skip.", ge=0, le=1_000_000)] = 0
