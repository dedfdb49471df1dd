"""Trigger rules: whether a task may start, given how its dependencies ended. Counters only, never a scan."""

from enum import Enum, auto
from typing import assert_never

from foliot_scheduler.core.model import Task, TriggerRule
from foliot_scheduler.core.transitions import TaskState


class Readiness(Enum):
    """What the dependencies say."""

    WAIT = auto()
    START = auto()
    NEVER = auto()
    """The rule can no longer hold."""


def readiness(task: Task) -> Readiness:
    """Return what the dependencies' counters say under the task's trigger rule."""
    rule = task.trigger_rule
    waiting = task.parents_open > 0
    match rule:
        case TriggerRule.ALL_SUCCESS:
            if task.parents_failed or task.parents_skipped:
                return Readiness.NEVER
            return Readiness.WAIT if waiting else Readiness.START
        case TriggerRule.ALL_DONE:
            return Readiness.WAIT if waiting else Readiness.START
        case TriggerRule.ONE_SUCCESS:
            return _one(task, seen=task.parents_succeeded > 0)
        case TriggerRule.ONE_FAILED:
            return _one(task, seen=task.parents_failed > 0)
        case TriggerRule.NONE_FAILED:
            if task.parents_failed:
                return Readiness.NEVER
            return Readiness.WAIT if waiting else Readiness.START
        case TriggerRule.ALWAYS:
            return Readiness.START
        case _:
            assert_never(rule)


def _one(task: Task, *, seen: bool) -> Readiness:
    if seen:
        return Readiness.START
    if task.parents_open:
        return Readiness.WAIT
    # Without any dependency there is nothing to wait for, whatever the rule.
    return Readiness.NEVER if task.parents_succeeded or task.parents_failed or task.parents_skipped else Readiness.START


def count_parent(task: Task, state: TaskState) -> None:
    """Count a dependency that has ended in `state`, one of the ended states."""
    if state is TaskState.SUCCEEDED:
        task.parents_succeeded += 1
    elif state is TaskState.SKIPPED:
        task.parents_skipped += 1
    else:
        assert state is TaskState.FAILED or state is TaskState.CANCELLED, state
        task.parents_failed += 1
