"""The words of `queue`: its statuses for the scheduler's states, its three priorities for ten, and the names of queues.

Waiting of any kind - for dependencies, for a time, for an executor - is `pending`. A task whose trigger rule can no longer
hold, which only other APIs can make, is shown as `cancelled`.
"""

from __future__ import annotations

from typing import Final, Literal

from foliot.v1 import spec_pb2
from foliot_gateway.http.identifiers import IdKind

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
Priority = Literal["foreground", "background", "best_effort"]
AttemptStatus = Literal["running", "completed", "failed", "cancelled", "lost"]

JOB: Final = IdKind(prefix="", noun="job")

STATES: Final[dict[Status, tuple[spec_pb2.TaskState.ValueType, ...]]] = {
    "pending": (spec_pb2.TASK_STATE_BLOCKED, spec_pb2.TASK_STATE_SCHEDULED, spec_pb2.TASK_STATE_READY),
    "running": (spec_pb2.TASK_STATE_RUNNING,),
    "completed": (spec_pb2.TASK_STATE_SUCCEEDED,),
    "failed": (spec_pb2.TASK_STATE_FAILED,),
    "cancelled": (spec_pb2.TASK_STATE_CANCELLED, spec_pb2.TASK_STATE_SKIPPED),
}
"""The states that each status stands for."""

STATUS: Final[dict[spec_pb2.TaskState.ValueType, Status]] = {
    state: status for status, states in STATES.items() for state in states
}
STATUS_OF_NAME: Final[dict[str, Status]] = {
    spec_pb2.TaskState.Name(state).removeprefix("TASK_STATE_").lower(): status for state, status in STATUS.items()
}
"""The status of each state by the name that the scheduler's errors use."""

ATTEMPT_STATUS: Final[dict[spec_pb2.Outcome.ValueType, AttemptStatus]] = {
    spec_pb2.OUTCOME_UNSPECIFIED: "running",
    spec_pb2.OUTCOME_SUCCEEDED: "completed",
    spec_pb2.OUTCOME_FAILED: "failed",
    spec_pb2.OUTCOME_TIMED_OUT: "failed",
    spec_pb2.OUTCOME_NON_RETRYABLE: "failed",
    spec_pb2.OUTCOME_CANCELLED: "cancelled",
    spec_pb2.OUTCOME_LOST: "lost",
}

PRIORITIES: Final[dict[Priority, tuple[int, ...]]] = {
    "foreground": (9, 8, 10),
    "background": (5, 4, 6, 7),
    "best_effort": (2, 1, 3),
}
"""The scheduler's priorities (10 first) that each stands for: the first is what jobs made here get, the others come from other
APIs. The same bands as those of the queue depths that `tasks` shows."""

PRIORITY: Final[dict[int, Priority]] = {number: name for name, numbers in PRIORITIES.items() for number in numbers}

QUEUE_OF_ALL: Final = "default"
"""The queue that the project's own workers take tasks from too."""
QUEUE_OF_EXECUTORS: Final = "executors"
"""The queue that executors alone claim from."""
