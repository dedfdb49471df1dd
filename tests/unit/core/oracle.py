"""The trigger rules said once more, in another way than the core does: by all dependencies, and by all their futures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

from foliot_scheduler.core.model import TriggerRule
from foliot_scheduler.core.readiness import Readiness
from foliot_scheduler.core.transitions import TaskState

SUCCEEDED, FAILED, CANCELLED, SKIPPED = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED
BAD = {FAILED, CANCELLED}
ENDS = (SUCCEEDED, FAILED, CANCELLED, SKIPPED)

Dependencies = Sequence[TaskState | None]
"""How each dependency ended; None: it has not."""


def may_start(rule: TriggerRule, ends: Dependencies) -> bool:
    """Whether the rule holds now."""
    if not ends or rule is TriggerRule.ALWAYS:
        return True
    if rule is TriggerRule.ONE_SUCCESS:
        return SUCCEEDED in ends
    if rule is TriggerRule.ONE_FAILED:
        return any(end in BAD for end in ends)
    if None in ends:
        return False
    if rule is TriggerRule.ALL_SUCCESS:
        return set(ends) == {SUCCEEDED}
    if rule is TriggerRule.NONE_FAILED:
        return not BAD & set(ends)
    assert rule is TriggerRule.ALL_DONE
    return True


def verdict(rule: TriggerRule, ends: Dependencies) -> Readiness:
    """START if the rule holds, NEVER if it holds in no future, else WAIT."""
    if may_start(rule, ends):
        return Readiness.START
    futures = product(*[(end,) if end is not None else (SUCCEEDED, FAILED, SKIPPED) for end in ends])
    return Readiness.WAIT if any(may_start(rule, future) for future in futures) else Readiness.NEVER


def may_have_started(rule: TriggerRule, ends: Sequence[Collection[TaskState]]) -> bool:
    """Whether the rule held at some time, given every way in which each dependency ever ended (a retried one ends again)."""
    return any(may_start(rule, chosen) for chosen in product(*[tuple(ways) or (None,) for ways in ends]))
