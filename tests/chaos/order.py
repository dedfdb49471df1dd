"""Whether every task began as its trigger rule allows, by what bodies wrote down."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.evidence import FAILED, SUCCEEDED
from tests.chaos.findings import Promise, Violation
from tests.chaos.history import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.chaos.executions import Evidence
    from tests.chaos.history import History, RecordedTask


class _Parent(NamedTuple):
    state: str
    over_at: float | None
    """When its body ended that counts; None: no body says so."""


def check(history: History, evidence: Evidence) -> Iterator[Violation]:
    """Look at the tasks of jobs with more than one, and at those that were submitted with dependencies."""
    tasks = {task.id: task for task in (*history.live, *history.ended)}
    jobs = {run.id: run.job for run in history.runs}
    members: dict[str, dict[str, RecordedTask]] = {}
    for task in tasks.values():
        if task.run:
            members.setdefault(task.run, {})[task.key] = task
    for run, keyed in members.items():
        for key, node in history.graphs.get(jobs.get(run, ""), {}).items():
            if key in keyed:
                yield from _child(keyed[key], node, [keyed[parent] for parent in node.parents if parent in keyed], evidence)
    for wish in history.asked:
        if wish.parents and wish.answers and wish.answers[0][0] in tasks:
            parents = [tasks[parent] for parent in wish.parents if parent in tasks]
            yield from _child(tasks[wish.answers[0][0]], Node(tuple(wish.parents)), parents, evidence)


def _child(child: RecordedTask, node: Node, parents: Iterable[RecordedTask], evidence: Evidence) -> Iterator[Violation]:
    began = min((one.began for one in evidence.by_task.get(child.id, ())), default=None)
    if began is None:
        return
    found = [_Parent(parent.state, _over_at(parent, evidence)) for parent in parents]
    if not _may_begin(node, found, began):
        text = f"task {child.id} ({child.key or child.name}, {node.rule}) began at {began:.3f}, its parents: {found}"
        yield Violation(Promise.ORDER, text)


def _over_at(parent: RecordedTask, evidence: Evidence) -> float | None:
    """When the body of a parent's recorded attempt ended."""
    wanted = {"succeeded": SUCCEEDED, "failed": FAILED}.get(parent.state)
    ends = [one.ended for one in evidence.of(parent.id, parent.attempt) if one.note == wanted and one.ended is not None]
    return min(ends, default=None)


def _may_begin(node: Node, parents: list[_Parent], at: float) -> bool:
    """Whether the rule allows a task to begin at a time, given its parents."""
    if len(parents) < len(node.parents):
        return False
    # One that never ran (skipped, or cancelled in time) has no end of its own to compare with.
    over = [
        parent.over_at <= at if parent.over_at is not None else parent.state in {"skipped", "cancelled"} for parent in parents
    ]
    succeeded = [done and parent.state == "succeeded" for done, parent in zip(over, parents, strict=True)]
    failed = [done and parent.state == "failed" for done, parent in zip(over, parents, strict=True)]
    match node.rule:
        case "all_success":
            return all(succeeded)
        case "all_done":
            return all(over)
        case "one_success":
            return any(succeeded)
        case "one_failed":
            return any(failed)
        case "none_failed":
            return all(over) and not any(failed)
        case _:
            return True
