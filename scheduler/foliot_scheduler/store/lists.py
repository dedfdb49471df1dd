"""Puts together the statements of lists: which rows, in which order, from where on.

Theory of operation. What is asked for lies in two tables, live and history, and history lies in daily partitions. Each order
has an index, and each branch of a statement reads one index in that order and no further than the page, however many rows
there are.
A list by creation reads a few days at a time, newest first, because most pages are full after the first and a statement over
all partitions takes longer to plan than to run. Where a page ended is its last row's sort value and id, so the next page starts
with an index search, not by counting from the front.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from foliot_scheduler.core.model import PRIORITY_HIGHEST, PRIORITY_LOWEST, Kind
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import (
    ENDED_RUN_STATES,
    ENDED_TASK_STATES,
    LIVE_RUN_STATES,
    LIVE_TASK_STATES,
    RunState,
    TaskState,
)
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, WorkerId
from foliot_scheduler.store.partitions import lowest_id
from foliot_scheduler.store.recovery import ID_BYTES
from foliot_scheduler.store.rows import TaskRow
from foliot_scheduler.store.sql import Queries

_TASKS = Queries("queries/tasks.sql")
_RUNS = Queries("queries/runs.sql")

_MS_BYTES: Final = 6
_DAY_MS: Final = 86_400_000
TASK_REACHES_DAYS: Final = (1, 3, 7, 15, 31)
RUN_REACHES_DAYS: Final = (1, 7, 31)
"""How many days back each statement of a list by creation looks: as far as the history is kept by default, in a few steps. Runs
are fewer, and lists of one job's runs often come to their end before the page is full, so those take fewer steps."""

_LIVE: Final = tuple(sorted(LIVE_TASK_STATES))
_ENDED: Final = tuple(sorted(ENDED_TASK_STATES))
_LIVE_RUNS: Final = tuple(sorted(LIVE_RUN_STATES))
_ENDED_RUNS: Final = tuple(sorted(ENDED_RUN_STATES))


class BadPageEndError(ValueError):
    """A page's end that no list of this order gave."""


class TaskSort(StrEnum):
    """What a list of tasks is sorted by; ties are broken by creation."""

    CREATED = "id"
    UPDATED = "updated_at"
    PRIORITY = "priority"
    NAME = "name"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks of a project a list holds; without any restriction, all."""

    states: frozenset[TaskState] = frozenset()
    """Empty: all."""
    tag: str | None = None
    run_id: RunId | None = None
    worker_id: WorkerId | None = None
    queue: str | None = None
    standalone: bool = False
    kind: str | None = None
    priority: int | None = None
    name: str | None = None
    priorities: frozenset[int] = frozenset()
    """Empty: all."""
    ids: tuple[TaskId, ...] = ()
    """Empty: all."""


@dataclass(slots=True)
class Statement:
    """A statement that grows, and its arguments."""

    arguments: list[object] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """Add an argument and return how the text names it."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def condition(self, fragment: str, value: object) -> str:
        """Bind a value into a condition."""
        return fragment.replace("{value}", self.bind(value))


def fill(text: str, **parts: str) -> str:
    """Put parts into a text's `{places}`; unlike `str.format` it leaves other braces alone."""
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


_NUMBERS: Final[Mapping[TaskSort, Callable[[int], int | None]]] = {
    TaskSort.UPDATED: lambda value: value if 0 <= value < 1 << 60 else None,
    TaskSort.PRIORITY: lambda value: value if PRIORITY_LOWEST <= value <= PRIORITY_HIGHEST else None,
}
"""Sorts by a number, and which numbers there are: one that the column's type cannot hold is no page's end."""

Window = tuple[tuple[str, bytes], ...]
"""A span of ids: names of conditions (`from_id`, `above_id`, `below_id`) with their values."""

EVERYTHING: Final[Window] = ()


def windows(*, now: Micros, end: bytes, ascending: bool, reaches_days: Sequence[int] = TASK_REACHES_DAYS) -> list[Window]:
    """Cut the ids from where a list goes on into spans that begin with a day and grow.

    Together they are all ids; how they are cut only decides how many partitions the first statements have to look at.
    """
    position = int.from_bytes(end[:_MS_BYTES], "big") // _DAY_MS if end else now // 1000 // _DAY_MS
    if not ascending:
        cuts = [_id_of_day(position - reach) for reach in (0, *reaches_days)]
        upper: Window = (("below_id", end),) if end else ()
        spans: list[Window] = []
        for cut in cuts:
            spans.append((("from_id", cut), *upper))
            upper = (("below_id", cut),)
        return [*spans, upper]
    if not end:
        position -= reaches_days[-1]
    cuts = [_id_of_day(position + 1 + reach) for reach in (0, *reaches_days)]
    lower: Window = (("above_id", end),) if end else ()
    spans = []
    for cut in cuts:
        spans.append((*lower, ("below_id", cut)))
        lower = (("from_id", cut),)
    return [*spans, lower]


def run_window(run_id: RunId, end: bytes, *, ascending: bool) -> Window:
    """The span of the tasks of a run, which are made after it, from where a list goes on."""
    return (("above_id", run_id), *((("above_id" if ascending else "below_id", end),) if end else ()))


def _id_of_day(day: int) -> bytes:
    return lowest_id(Micros(max(day, 0) * _DAY_MS * 1000))


def checked_end(end: bytes | None) -> bytes:
    """Return where a list by creation ended, empty for the first page; raises BadPageEndError for what is no id."""
    if end and len(end) != ID_BYTES:
        raise BadPageEndError("a page's end has the wrong length")
    return end or b""


def task_page(
    project: Project,
    wanted: TaskFilter,
    *,
    sort: TaskSort,
    ascending: bool,
    limit: int,
    offset: int,
    window: Window = EVERYTHING,
    end: bytes = b"",
) -> tuple[str, list[object]]:
    """Write the statement of a page of tasks, in a window of ids or after where the last page ended; raises BadPageEndError."""
    statement = Statement()
    conditions = _conditions(statement, project, wanted, window)
    direction = "ASC" if ascending else "DESC"
    after = [[condition] for condition in _after(statement, sort, end, ascending=ascending)] if end else [[]]
    order = f"{sort} {direction}" if sort is TaskSort.CREATED else f"{sort} {direction}, id {direction}"
    places = {"order": order, "limit": f"{statement.bind(limit)}::bigint", "offset": f"{statement.bind(offset)}::bigint"}
    merge_states = sort is TaskSort.CREATED
    branches = [
        branch for beyond in after for branch in _branches(statement, [*conditions, *beyond], wanted, merge_states=merge_states)
    ]
    text = fill(
        _TASKS["list"],
        branches="\nUNION ALL\n".join(
            fill(_TASKS["branch"], columns=fill(_TASKS[f"{table}_columns"], conditions=where)) for table, where in branches
        ),
    )
    return fill(text, **places), statement.arguments


def task_count(project: Project, wanted: TaskFilter, window: Window = EVERYTHING) -> tuple[str, list[object]]:
    """Write the statement that counts what a filter holds, in a window of ids."""
    statement = Statement()
    conditions = _conditions(statement, project, wanted, window)
    branches = _branches(statement, conditions, wanted, merge_states=False)
    text = fill(
        _TASKS["count"],
        branches="\nUNION ALL\n".join(fill(_TASKS[f"{table}_count"], conditions=where) for table, where in branches),
    )
    return text, statement.arguments


def task_count_by_state(project: Project, wanted: TaskFilter) -> tuple[str, list[object]]:
    """Write the statement that counts what a filter holds by state and priority."""
    statement = Statement()
    conditions = _conditions(statement, project, wanted, EVERYTHING)
    text = fill(
        _TASKS["count_by_state"],
        branches="\nUNION ALL\n".join(
            fill(_TASKS[f"{table}_count_by_state"], conditions=where)
            for table, where in _branches(statement, conditions, wanted, merge_states=False)
        ),
    )
    return text, statement.arguments


def task_end(sort: TaskSort, row: TaskRow) -> bytes:
    """Say where a page ended: its last row's id, and the value it is sorted by."""
    values: Mapping[TaskSort, str] = {
        TaskSort.CREATED: "",
        TaskSort.UPDATED: str(row.updated_at),
        TaskSort.PRIORITY: str(row.priority),
        TaskSort.NAME: row.name,
        TaskSort.STATE: row.state,
    }
    return row.id + values[sort].encode()


def _conditions(statement: Statement, project: Project, wanted: TaskFilter, window: Window) -> list[str]:
    conditions = [statement.condition(_TASKS["of_project"], project)]
    conditions += [statement.condition(_TASKS[name], value) for name, value in window]
    is_binary_on_its_own = wanted.standalone and wanted.kind == Kind.BINARY
    for name, value in (
        ("with_tag", wanted.tag),
        ("of_run", wanted.run_id),
        ("of_worker", wanted.worker_id),
        ("of_queue", wanted.queue),
        ("of_kind", None if is_binary_on_its_own else wanted.kind),
        ("of_priority", wanted.priority),
        ("with_name", wanted.name),
        ("of_priorities", sorted(wanted.priorities) or None),
        ("with_ids", wanted.ids or None),
    ):
        if value is not None:
            conditions.append(statement.condition(_TASKS[name], value))
    if is_binary_on_its_own:
        conditions.append(_TASKS["binary_on_its_own"])
    elif wanted.standalone:
        conditions.append(_TASKS["standalone"])
    return conditions


def _branches(statement: Statement, conditions: list[str], wanted: TaskFilter, *, merge_states: bool) -> list[tuple[str, str]]:
    """List the tables to read with their conditions.

    `merge_states` reads each state that is asked for by itself, in the order of the index by state.
    """
    common = " AND ".join(conditions)
    branches = []
    for table, all_states in (("live", _LIVE), ("ended", _ENDED)):
        states = [state for state in all_states if not wanted.states or state in wanted.states]
        if not states:
            continue
        if merge_states and wanted.states:
            branches += [(table, f"{common} AND {statement.condition(_TASKS['in_state'], state)}") for state in states]
        elif len(states) == len(all_states):
            branches.append((table, common))
        else:
            branches.append((table, f"{common} AND {statement.condition(_TASKS['in_states'], states)}"))
    return branches


def _after(statement: Statement, sort: TaskSort, end: bytes, *, ascending: bool) -> list[str]:
    """Write the conditions of rows that come after where the last page ended: those with its sort value, and those beyond.

    Two branches, not one comparison of (value, id): PostgreSQL guesses the size of that by the value alone, and for a value that
    most rows have, such as the default priority, it takes the millions that share it for none.
    """
    sign = ">" if ascending else "<"
    if len(end) < ID_BYTES:
        raise BadPageEndError("a page's end is too short")
    try:
        value = _NUMBERS[sort](int(end[ID_BYTES:])) if sort in _NUMBERS else end[ID_BYTES:].decode()
    except ValueError as error:
        raise BadPageEndError("a page's end is malformed") from error
    if value is None or (isinstance(value, str) and "\0" in value):
        raise BadPageEndError("a page's end is out of range")
    last = statement.bind(value)
    return [f"{sort} = {last} AND id {sign} {statement.bind(end[:ID_BYTES])}", f"{sort} {sign} {last}"]


def _run_branches(
    statement: Statement, project: Project, job_id: JobId | None, states: Collection[RunState], window: Window
) -> list[tuple[str, str]]:
    """List the tables to read with their conditions, each state by itself, in the order of the indexes."""
    scope = [statement.condition(_RUNS["of_project"], project)]
    scope += [statement.condition(_RUNS[name], value) for name, value in window]
    if job_id is not None:
        scope.append(statement.condition(_RUNS["of_job"], job_id))
    return [
        (table, " AND ".join((*scope, statement.condition(_RUNS["in_state"], state))))
        for table, of_table in (("live", _LIVE_RUNS), ("ended", _ENDED_RUNS))
        for state in of_table
        if not states or state in states
    ]


def run_page(
    project: Project,
    job_id: JobId | None,
    states: Collection[RunState],
    *,
    limit: int,
    offset: int,
    window: Window,
) -> tuple[str, list[object]]:
    """Write the statement of a page of runs, newest first, in a window of ids."""
    statement = Statement()
    places = {"limit": f"{statement.bind(limit)}::bigint", "offset": f"{statement.bind(offset)}::bigint"}
    branches = [
        fill(_RUNS["branch"], columns=fill(_RUNS[f"{table}_columns"], conditions=where))
        for table, where in _run_branches(statement, project, job_id, states, window)
    ]
    return fill(fill(_RUNS["list"], branches="\nUNION ALL\n".join(branches)), **places), statement.arguments


def run_count(
    project: Project, job_id: JobId | None, states: Collection[RunState], window: Window = EVERYTHING
) -> tuple[str, list[object]]:
    """Write the statement that counts runs, in a window of ids."""
    statement = Statement()
    branches = [
        fill(_RUNS[f"{table}_count"], conditions=where)
        for table, where in _run_branches(statement, project, job_id, states, window)
    ]
    return fill(_RUNS["count"], branches="\nUNION ALL\n".join(branches)), statement.arguments


def dead_letter_page(
    project: Project, job_id: JobId | None, shape: JobShape | None, *, limit: int, offset: int, window: Window
) -> tuple[str, list[object]]:
    """Write the statement of a page of dead letters, newest first, in a window of ids; of one job, or of jobs of one form."""
    statement = Statement()
    scope = [statement.condition(_RUNS["of_project"], project), _RUNS["dead"]]
    scope += [statement.condition(_RUNS[name], value) for name, value in window]
    if job_id is not None:
        # The index of the job's runs finds them; the index of all dead letters would have to look at those of every job.
        scope.append(statement.condition(_RUNS["of_job"], job_id))
        parts = [] if shape is None else [statement.condition(_RUNS["of_shape"], shape)]
        branches = [" AND ".join((*scope, *parts))]
    else:
        shapes = tuple(JobShape) if shape is None else (shape,)
        branches = [" AND ".join((*scope, statement.condition(_RUNS["of_shape"], one))) for one in shapes]
    places = {"limit": f"{statement.bind(limit)}::bigint", "offset": f"{statement.bind(offset)}::bigint"}
    texts = [fill(_RUNS["branch"], columns=fill(_RUNS["ended_columns"], conditions=where)) for where in branches]
    return fill(fill(_RUNS["list"], branches="\nUNION ALL\n".join(texts)), **places), statement.arguments
