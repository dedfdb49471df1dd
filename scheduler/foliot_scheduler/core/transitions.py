"""The legal moves of tasks and runs, as data.

Theory of operation. A task is one unit of work with one row. It is *live* while it is blocked, scheduled, ready or running,
and *ended* otherwise. Everything that changes a task's state goes through `next_task_state`, so that this table is the whole
truth: the README's diagram is drawn from it, the database's CHECKs repeat its states, and an unknown pair is a bug that stops
the daemon rather than a row that lies. An ended task moves again only when somebody retries it (REVIVED_*).

This file must not know why a move happens, when, or to whom: it knows states and events only.
"""

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task stands; the values are what PostgreSQL stores."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class TaskEvent(StrEnum):
    """What can happen to a task."""

    RELEASED = "released"
    """Its dependencies allow it to start, and its start time has come."""
    POSTPONED = "postponed"
    """It may not start before a time: its start_at, or the end of a backoff."""
    DUE = "due"
    """The time it waited for has come."""
    HELD = "held"
    """It was changed so that it waits for dependencies again."""
    LEASED = "leased"
    """A worker was given it."""
    PASSED = "passed"
    """It is a marker: nothing is to be run, so it has succeeded."""
    SUCCEEDED = "succeeded"
    """Its attempt succeeded."""
    FAILED = "failed"
    """Its attempt failed and no other follows."""
    RETRIED = "retried"
    """Its attempt failed, or was given back again and again, and another follows after a wait."""
    REQUEUED = "requeued"
    """Its attempt was lost or given back and another follows at once."""
    CANCELLED = "cancelled"
    """Somebody cancelled it."""
    SKIPPED = "skipped"
    """Its trigger rule can no longer hold."""
    DEPENDENCY_FAILED = "dependency_failed"
    """A task it depends on, outside of a run, failed or was cancelled."""
    REVIVED = "revived"
    """Somebody retried it after its end."""


LIVE_TASK_STATES = frozenset({TaskState.BLOCKED, TaskState.SCHEDULED, TaskState.READY, TaskState.RUNNING})
ENDED_TASK_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})

TASK_TRANSITIONS: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (TaskState.BLOCKED, TaskEvent.RELEASED): TaskState.READY,
    (TaskState.BLOCKED, TaskEvent.POSTPONED): TaskState.SCHEDULED,
    (TaskState.BLOCKED, TaskEvent.SKIPPED): TaskState.SKIPPED,
    (TaskState.BLOCKED, TaskEvent.DEPENDENCY_FAILED): TaskState.FAILED,
    (TaskState.BLOCKED, TaskEvent.CANCELLED): TaskState.CANCELLED,
    (TaskState.SCHEDULED, TaskEvent.DUE): TaskState.READY,
    (TaskState.SCHEDULED, TaskEvent.POSTPONED): TaskState.SCHEDULED,
    (TaskState.SCHEDULED, TaskEvent.HELD): TaskState.BLOCKED,
    (TaskState.SCHEDULED, TaskEvent.CANCELLED): TaskState.CANCELLED,
    (TaskState.READY, TaskEvent.LEASED): TaskState.RUNNING,
    (TaskState.READY, TaskEvent.PASSED): TaskState.SUCCEEDED,
    (TaskState.READY, TaskEvent.HELD): TaskState.BLOCKED,
    (TaskState.READY, TaskEvent.CANCELLED): TaskState.CANCELLED,
    (TaskState.RUNNING, TaskEvent.SUCCEEDED): TaskState.SUCCEEDED,
    (TaskState.RUNNING, TaskEvent.FAILED): TaskState.FAILED,
    (TaskState.RUNNING, TaskEvent.RETRIED): TaskState.SCHEDULED,
    (TaskState.RUNNING, TaskEvent.REQUEUED): TaskState.READY,
    (TaskState.RUNNING, TaskEvent.CANCELLED): TaskState.CANCELLED,
    (TaskState.FAILED, TaskEvent.REVIVED): TaskState.BLOCKED,
    (TaskState.CANCELLED, TaskEvent.REVIVED): TaskState.BLOCKED,
}


class RunState(StrEnum):
    """Where a run stands; the values are what PostgreSQL stores."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunEvent(StrEnum):
    """What can happen to a run."""

    STARTED = "started"
    """Its first task was leased, or ended without one."""
    SUCCEEDED = "succeeded"
    """Every task ended and none failed, or there was none."""
    FAILED = "failed"
    """Every task ended and one failed."""
    CANCELLED = "cancelled"
    """Somebody cancelled it and every task ended."""


LIVE_RUN_STATES = frozenset({RunState.PENDING, RunState.RUNNING})
ENDED_RUN_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})

RUN_TRANSITIONS: dict[tuple[RunState, RunEvent], RunState] = {
    (RunState.PENDING, RunEvent.STARTED): RunState.RUNNING,
    (RunState.PENDING, RunEvent.SUCCEEDED): RunState.SUCCEEDED,
    (RunState.RUNNING, RunEvent.SUCCEEDED): RunState.SUCCEEDED,
    (RunState.RUNNING, RunEvent.FAILED): RunState.FAILED,
    (RunState.RUNNING, RunEvent.CANCELLED): RunState.CANCELLED,
}


class IllegalTransitionError(AssertionError):
    """A move that the tables do not hold: a bug, which stops the daemon."""

    def __init__(self, state: TaskState | RunState, event: TaskEvent | RunEvent) -> None:
        super().__init__(f"illegal transition: {state} -{event}->")
        self.state = state
        self.event = event


def next_task_state(state: TaskState, event: TaskEvent) -> TaskState:
    """Return the state that follows; raises IllegalTransitionError for a pair outside the table."""
    try:
        return TASK_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None


def next_run_state(state: RunState, event: RunEvent) -> RunState:
    """Return the state that follows; raises IllegalTransitionError for a pair outside the table."""
    try:
        return RUN_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None
