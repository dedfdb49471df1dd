"""The JSON of workers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.tasks.envelopes import Limit, Page, Shape
from foliot_gateway.apis.tasks.shapes import TaskId
from foliot_gateway.apis.tasks.words import TaskStatus, WorkerStatus

Usage = Annotated[float, Meta(ge=0)]


class Worker(Shape, frozen=True, kw_only=True):
    """A worker in a list."""

    id: Annotated[str, Meta(description="The worker's own name for itself.")]
    hostname: str
    status: Annotated[
        WorkerStatus,
        Meta(description="`active`: it runs something; `idle`: it is connected and runs nothing; `offline`: it is gone."),
    ]
    tasks_completed: Annotated[int, Meta(description="How many attempts succeeded on it.", ge=0)]
    tasks_failed: Annotated[int, Meta(description="How many attempts failed on it.", ge=0)]
    current_tasks: Annotated[int, Meta(description="How many of the caller's tasks it holds.", ge=0)]
    last_heartbeat: Annotated[datetime, Meta(description="When it was last heard, give or take 10 s.")]
    registered_at: Annotated[datetime, Meta(description="When it was first seen.")]
    version: str
    tags: list[str]


class Resources(Shape, frozen=True, kw_only=True):
    """How busy a worker's machine is, each from 0 to 1."""

    cpu_usage: Annotated[Usage, Meta(description="Of all cores.")]
    memory_usage: Annotated[Usage, Meta(description="Of the machine's memory.")]
    disk_usage: Annotated[Usage, Meta(description="Of the file system that holds the worker's files.")]


class WorkerInFull(Shape, frozen=True, kw_only=True):
    """A worker with what it holds."""

    id: str
    hostname: str
    status: WorkerStatus
    tasks_completed: Annotated[int, Meta(ge=0)]
    tasks_failed: Annotated[int, Meta(ge=0)]
    current_tasks: Annotated[int, Meta(ge=0)]
    current_task_ids: list[TaskId]
    last_heartbeat: datetime
    registered_at: datetime
    version: str
    tags: list[str]
    resources: Annotated[Resources | None, Meta(description="Null where they are not measured: executors that claim by HTTP.")]


class WorkerTask(Shape, frozen=True, kw_only=True):
    """A task in the list of a worker."""

    id: TaskId
    name: str
    status: TaskStatus
    started_at: Annotated[datetime | None, Meta(description="When its latest attempt started; null: it is about to.")]
    priority: Annotated[int, Meta(ge=1, le=10)]


class WorkerListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of workers."""

    status: Annotated[WorkerStatus | UnsetType, Meta(description="Keeps workers that were so within the last 10 s.")] = UNSET
    page: Page = 1
    limit: Limit = 20


class WorkerTasksQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of a worker's tasks."""

    status: Annotated[TaskStatus | UnsetType, Meta(description="Keeps tasks of this status.")] = UNSET
    page: Page = 1
    limit: Limit = 20
