"""The words of `tasks` for the scheduler's states.

Waiting of any kind - for dependencies, for a time, for a worker - is `pending` here. `skipped` is a word that the document does
not have: it is shown for tasks of DAG runs made elsewhere whose trigger rule can no longer hold, which are neither cancelled nor
failed.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from foliot.v1 import spec_pb2, webhook_pb2, worker_pb2

TaskStatus = Literal["pending", "running", "completed", "failed", "cancelled", "skipped"]
WorkerStatus = Literal["active", "idle", "offline"]
TaskKind = Literal["http", "binary", "function", "marker"]

STATES: Final[dict[TaskStatus, tuple[spec_pb2.TaskState.ValueType, ...]]] = {
    "pending": (spec_pb2.TASK_STATE_BLOCKED, spec_pb2.TASK_STATE_SCHEDULED, spec_pb2.TASK_STATE_READY),
    "running": (spec_pb2.TASK_STATE_RUNNING,),
    "completed": (spec_pb2.TASK_STATE_SUCCEEDED,),
    "failed": (spec_pb2.TASK_STATE_FAILED,),
    "cancelled": (spec_pb2.TASK_STATE_CANCELLED,),
    "skipped": (spec_pb2.TASK_STATE_SKIPPED,),
}
"""The states that each status stands for."""

STATUS: Final[dict[spec_pb2.TaskState.ValueType, TaskStatus]] = {
    state: status for status, states in STATES.items() for state in states
}
"""The status of each state."""

STATUS_OF_NAME: Final[dict[str, TaskStatus]] = {
    spec_pb2.TaskState.Name(state).removeprefix("TASK_STATE_").lower(): status for state, status in STATUS.items()
}
"""The status of each state by the name that the scheduler's errors use."""

STATUSES: Final[tuple[TaskStatus, ...]] = get_args(TaskStatus)

WORKER_STATES: Final[dict[WorkerStatus, worker_pb2.WorkerState.ValueType]] = {
    "active": worker_pb2.WORKER_STATE_ACTIVE,
    "idle": worker_pb2.WORKER_STATE_IDLE,
    "offline": worker_pb2.WORKER_STATE_OFFLINE,
}
WORKER_STATUS: Final[dict[worker_pb2.WorkerState.ValueType, WorkerStatus]] = {
    state: status for status, state in WORKER_STATES.items()
}

SubscribableEvent = Literal[
    "task.created",
    "task.started",
    "task.completed",
    "task.failed",
    "task.cancelled",
    "task.retrying",
    "worker.registered",
    "worker.offline",
]
EventName = Literal[SubscribableEvent, "webhook.test"]
DeliveryStatus = Literal["pending", "delivered", "failed"]

EVENTS: Final[dict[SubscribableEvent, webhook_pb2.WebhookEvent.ValueType]] = {
    "task.created": webhook_pb2.WEBHOOK_EVENT_TASK_CREATED,
    "task.started": webhook_pb2.WEBHOOK_EVENT_TASK_STARTED,
    "task.completed": webhook_pb2.WEBHOOK_EVENT_TASK_COMPLETED,
    "task.failed": webhook_pb2.WEBHOOK_EVENT_TASK_FAILED,
    "task.cancelled": webhook_pb2.WEBHOOK_EVENT_TASK_CANCELLED,
    "task.retrying": webhook_pb2.WEBHOOK_EVENT_TASK_RETRYING,
    "worker.registered": webhook_pb2.WEBHOOK_EVENT_WORKER_REGISTERED,
    "worker.offline": webhook_pb2.WEBHOOK_EVENT_WORKER_OFFLINE,
}
SUBSCRIBED: Final[dict[webhook_pb2.WebhookEvent.ValueType, SubscribableEvent]] = {number: name for name, number in EVENTS.items()}
EVENT_NAMES: Final[dict[webhook_pb2.WebhookEvent.ValueType, EventName]] = {
    **SUBSCRIBED,
    webhook_pb2.WEBHOOK_EVENT_TEST: "webhook.test",
}

DELIVERY_STATES: Final[dict[DeliveryStatus, webhook_pb2.DeliveryState.ValueType]] = {
    "pending": webhook_pb2.DELIVERY_STATE_PENDING,
    "delivered": webhook_pb2.DELIVERY_STATE_DELIVERED,
    "failed": webhook_pb2.DELIVERY_STATE_FAILED,
}
DELIVERY_STATUS: Final[dict[webhook_pb2.DeliveryState.ValueType, DeliveryStatus]] = {
    state: status for status, state in DELIVERY_STATES.items()
}
