"""Notes of tasks that failed because of a dependency: what a commit writes of them, and who is to be put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.transitions import ENDED_TASK_STATES, TaskState
from foliot_scheduler.core.types import TaskId
from foliot_scheduler.store import rows
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.rows import TaskRow
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import WriteSet
    from foliot_scheduler.store.columns import Columns

_SQL = Queries("queries/dependents.sql")


class Note(NamedTuple):
    """A task failed because of its dependencies, of which this is one."""

    parent_id: TaskId
    child_id: TaskId
    due: bool


class Waking(NamedTuple):
    """Notes that become due: those that name one of these tasks, but for those that are written or deleted anyway."""

    parent_ids: list[TaskId]
    but_child_ids: list[TaskId]


class NoteChanges(NamedTuple):
    """What a commit does to the notes; no note is touched twice, which one statement could not do."""

    put: list[Note]
    deleted: list[TaskId]
    """Dependents whose notes go."""
    waking: list[Waking]
    """One, or none."""


def note_changes(writes: WriteSet) -> NoteChanges:
    """Say what becomes of the notes."""
    failed, due = writes.failed_dependents, writes.dependents_due
    if not failed and not due:
        return NoteChanges([], [], [])
    doubted = writes.dependents_doubted
    put = [
        Note(parent, child, parent in due or child in doubted)
        for child, parents in failed.items()
        for parent in dict.fromkeys(parents)
    ]
    deleted = [child for child, parents in failed.items() if not parents]
    return NoteChanges(put, deleted, [Waking(list(due), list(failed))] if due else [])


def note_columns(notes: Sequence[Note]) -> Columns:
    """Notes to write."""
    return {
        "parent_id": [note.parent_id for note in notes],
        "child_id": [note.child_id for note in notes],
        "due": [note.due for note in notes],
    }


def child_columns(children: Sequence[TaskId]) -> Columns:
    """Dependents whose notes go."""
    return {"child_id": children}


def waking_columns(waking: Sequence[Waking]) -> Columns:
    """Notes that become due."""
    (one,) = waking
    return {"parent_id": one.parent_ids, "child_id": one.but_child_ids}


class DueDependents(NamedTuple):
    """Tasks to be asked again."""

    ended: list[TaskRow]
    gone: list[TaskId]
    """Those that are not in the history: they live, or were deleted."""
    states: dict[TaskId, TaskState]
    """How the dependencies of `ended` ended that are not live; one that is gone counts as failed."""


async def read_due(conn: Connection, limit: int) -> DueDependents:
    """Read at most so many tasks that are to be asked again. Raises StoreUnavailable."""
    with translated("read dependents to put back"):
        ids = [TaskId(row["child_id"]) for row in await conn.fetch(_SQL["due"], limit)]
        if not ids:
            return DueDependents([], [], {})
        ended = [rows.task_row(row) for row in await conn.fetch(_SQL["ended"], ids)]
        wanted = list({dependency for row in ended for dependency in row.depends_on})
        found = {TaskId(row["id"]): TaskState(row["state"]) for row in await conn.fetch(_SQL["states"], wanted)}
    states = {dependency: found.get(dependency, TaskState.FAILED) for dependency in wanted}
    there = {row.id for row in ended}
    return DueDependents(
        ended,
        [task_id for task_id in ids if task_id not in there],
        {dependency: state for dependency, state in states.items() if state in ENDED_TASK_STATES},
    )
