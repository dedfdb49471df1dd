"""The JSON of tasks: what `tasks` takes and what it gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.tasks.envelopes import Limit, Page, Shape
from foliot_gateway.apis.tasks.examples import TASK_ID
from foliot_gateway.apis.tasks.words import TaskKind, TaskStatus

PRIORITY_DEFAULT: Final = 5
RETRIES_DEFAULT: Final = 3
TIMEOUT_DEFAULT_S: Final = 3_600
RETRIES_MAX: Final = 99
"""The contract's limit of 100 attempts, less the first."""
TIMEOUT_MAX_S: Final = 2_592_000
"""The contract's limit: 30 days."""

TaskId = Annotated[str, Meta(description="The task's id: `task-` and a UUID.", examples=[TASK_ID])]
Name = Annotated[str, Meta(description="Shown to people, at most 255 bytes.", min_length=1, max_length=255)]
Prose = Annotated[str, Meta(description="Free text, at most 4 KiB.", max_length=4_096)]
Line = Annotated[
    str,
    Meta(description="A shell line, run by `/bin/sh -c`, at most 64 KiB.", min_length=1, max_length=65_536),
]
Priority = Annotated[int, Meta(description="1 to 10, 10 first.", ge=1, le=10)]
Retries = Annotated[int, Meta(description="How many attempts may follow a first one that failed.", ge=0, le=RETRIES_MAX)]
Timeout = Annotated[int, Meta(description="Bounds one attempt, in seconds.", ge=1, le=TIMEOUT_MAX_S)]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]
Tags = Annotated[tuple[Tag, ...], Meta(description="Labels to filter by: at most 50, each at most 100 bytes.", max_length=50)]
Dependencies = Annotated[
    tuple[Annotated[str, Meta(max_length=255)], ...],
    Meta(description="The ids of tasks that must complete before this one starts: at most 1,000.", max_length=1_000),
]
Instant = Annotated[datetime, Meta(tz=True)]
JsonObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class NewTask(Shape, frozen=True, kw_only=True):
    """A task to create. A failed attempt is followed by another after a random wait of at most 1 s, doubling up to 60 s."""

    name: Name
    command: Line
    description: Prose | None = None
    priority: Priority = PRIORITY_DEFAULT
    max_retries: Retries = RETRIES_DEFAULT
    scheduled_at: Annotated[
        Instant | None, Meta(description="Holds the task back until then (ISO 8601 with an offset); in the past: starts at once.")
    ] = None
    timeout_seconds: Timeout = TIMEOUT_DEFAULT_S
    tags: Tags = ()
    dependencies: Dependencies = ()
    checkpoint_enabled: Annotated[bool, Meta(description="Whether the task says that it saves checkpoints.")] = False


class TaskChange(Shape, frozen=True, kw_only=True):
    """A change of a task: what is absent stays. At least one field. `tags` and `description` may change at any time."""

    name: Name | UnsetType = UNSET
    command: Annotated[Line | UnsetType, Meta(description="Replaces the work; the environment of a command stays.")] = UNSET
    description: Prose | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET
    max_retries: Retries | UnsetType = UNSET
    scheduled_at: Annotated[Instant | UnsetType | None, Meta(description="As in a new task; null removes it.")] = UNSET
    timeout_seconds: Timeout | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    dependencies: Dependencies | UnsetType = UNSET
    checkpoint_enabled: bool | UnsetType = UNSET


class Task(Shape, frozen=True, kw_only=True):
    """A task as it stands.

    Tasks made through other APIs are shown too. One that is not a command has a null `command`, and its `kind` beside it.
    """

    id: TaskId
    name: str
    description: str | None
    command: Annotated[str | None, Meta(description="The shell line; null for a task that is not a command.")]
    status: Annotated[
        TaskStatus,
        Meta(
            description="`pending` is waiting of any kind: for dependencies, for a time, for a worker. `skipped` is a task of "
            "a DAG run whose trigger rule can no longer hold."
        ),
    ]
    priority: Annotated[int, Meta(ge=1, le=10)]
    retry_count: Annotated[
        int, Meta(description="How many attempts followed the first, one that is about to follow included.", ge=0)
    ]
    max_retries: Annotated[int, Meta(ge=0)]
    created_at: datetime
    updated_at: datetime
    scheduled_at: Annotated[datetime | None, Meta(description="When it was asked to start; null: at once.")]
    started_at: Annotated[datetime | None, Meta(description="When its latest attempt started; null before the first.")]
    completed_at: Annotated[datetime | None, Meta(description="When it ended, however; null before.")]
    timeout_seconds: Annotated[float, Meta(gt=0)]
    tags: list[str]
    dependencies: Annotated[
        list[str],
        Meta(description="The ids of the tasks it waits for, or waited for. In lists empty for tasks of a DAG run."),
    ]
    worker_id: Annotated[str | None, Meta(description="The worker of the latest attempt; null before the first.")]
    result: Annotated[
        str | None,
        Meta(
            description="Of a completed task: what it wrote to standard output (the last 1 MiB), its response body, or its "
            "handler's return value as JSON. Null otherwise. In lists its last 16 KiB."
        ),
    ]
    error: Annotated[str | None, Meta(description="Why the latest ended attempt failed; null if it did not.")]
    checkpoint_data: Annotated[
        msgspec.Raw | None, Meta(description="The checkpoint saved last; null if there is none, and in lists.")
    ]
    checkpoint_enabled: bool
    kind: Annotated[
        TaskKind | UnsetType,
        Meta(description="What the task is where it is not a command; a `marker` does nothing. Absent for commands."),
    ] = UNSET


class Cancelled(Shape, frozen=True, kw_only=True):
    """A task that was cancelled."""

    id: TaskId
    status: TaskStatus
    updated_at: datetime


class Retried(Shape, frozen=True, kw_only=True):
    """A task that was given another attempt."""

    id: TaskId
    status: TaskStatus
    retry_count: Annotated[int, Meta(ge=0)]
    updated_at: datetime


class Deleted(Shape, frozen=True, kw_only=True):
    """That something was deleted."""

    success: bool
    message: str


class NewCheckpoint(Shape, frozen=True, kw_only=True):
    """The progress of a running task."""

    checkpoint_data: Annotated[JsonObject, Meta(description="A JSON object, at most 1 MiB. The next attempt receives it.")]


class Checkpointed(Shape, frozen=True, kw_only=True):
    """A task whose progress was saved."""

    id: TaskId
    checkpoint_data: JsonObject
    updated_at: datetime


class LogLine(Shape, frozen=True, kw_only=True):
    """A line that a task wrote. Standard output is `info`, standard error is `error`."""

    timestamp: datetime
    level: Literal["debug", "info", "warn", "error"]
    message: str


class LogMeta(Shape, frozen=True, kw_only=True):
    """Where a page of lines is."""

    limit: int
    offset: int
    total: Annotated[int, Meta(description="How many lines the level holds.", ge=0)]


class LogPage(Shape, frozen=True, kw_only=True):
    """A page of log lines, oldest first."""

    data: list[LogLine]
    meta: LogMeta


class TaskListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of tasks."""

    status: Annotated[TaskStatus | UnsetType, Meta(description="Keeps tasks of this status.")] = UNSET
    page: Page = 1
    limit: Limit = 20
    sort: Annotated[
        Literal["created_at", "updated_at", "priority", "name", "status"],
        Meta(description="What to sort by; ties go by creation. `status` goes by the alphabet."),
    ] = "created_at"
    order: Annotated[Literal["asc", "desc"], Meta(description="Which way to sort.")] = "desc"
    tag: Annotated[Tag | UnsetType, Meta(description="Keeps tasks that carry this tag.")] = UNSET


class LogQuery(Shape, frozen=True, kw_only=True):
    """The parameters of a task's logs."""

    limit: Annotated[int, Meta(description="How many lines at most.", ge=1, le=1_000)] = 100
    offset: Annotated[int, Meta(description="How many lines to skip.", ge=0, le=2**31 - 1)] = 0
    level: Annotated[Literal["debug", "info", "warn", "error"] | UnsetType, Meta(description="Keeps lines of this level.")] = (
        UNSET
    )
