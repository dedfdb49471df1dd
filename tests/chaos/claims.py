"""Whether executors, which claim by unary calls, were given each job one at a time, and their completions recorded."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tests.chaos.findings import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.history import Claim, History

EXECUTOR_LEASE_S: Final = 5.0
"""How long a claim outlives its last renewal in these runs."""


def check(history: History) -> Iterator[Violation]:
    """Look at every claim."""
    tasks = {task.id: task for task in history.ended}
    by_task: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in history.claims:
        by_task[claim.task].append(claim)
    for task_id, claims in by_task.items():
        in_order = sorted(claims, key=lambda claim: claim.claimed_at)
        for earlier, later in pairwise(in_order):
            yield from _two(earlier, later)
        told = [claim for claim in in_order if claim.completed_at]
        if len(told) > 1 and len({claim.executor for claim in told}) > 1:
            yield Violation(Promise.TWICE, f"{len(told)} executors were told that they completed {task_id}")
        task = tasks.get(task_id)
        for claim in told:
            if task is None or task.state != "succeeded" or task.worker != claim.executor:
                yield Violation(Promise.RECORD, f"{claim.executor} completed {task_id}; recorded is {task}")
        if task is not None and task.state == "succeeded" and not any(claim.completing_at for claim in in_order):
            yield Violation(Promise.RECORD, f"{task_id} is recorded as succeeded; no executor completed it")


def _two(earlier: Claim, later: Claim) -> Iterator[Violation]:
    """A claim that comes after another's must come when that has ended: its last renewal was confirmed a lease ago or more."""
    if earlier.executor == later.executor:
        return  # an answer that was lost is given again
    trusted_from = max((at for at in earlier.renewed if at < later.claimed_at), default=earlier.claimed_at)
    if later.claimed_at < trusted_from + EXECUTOR_LEASE_S:
        text = f"job {later.task} was given to {later.executor} at {later.claimed_at:.3f}, though {earlier.executor} holds it"
        yield Violation(Promise.HOLDER, f"{text} since {trusted_from:.3f}")
