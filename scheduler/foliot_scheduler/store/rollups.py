"""Rollups: what ended, by project and minute.

Theory of operation. Each commit knows which tasks it records as ended, so it adds them up and adds the sums to the rows of
their minutes, in the same statement: nothing is ever counted twice or forgotten, whoever leads, and no history is scanned. The
tasks that end in a commit mostly end in one minute and one project, so that is one row more. Reading adds the minutes up: a month
has 43,200.

A task that is retried after its end and ends again counts again, at the time of that end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import MINUTE, Micros, Project, Span
from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.core.model import Task
    from foliot_scheduler.store.columns import Columns

_SQL = Queries("queries/rollups.sql")

_STATES = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)
_TIMED = len(_STATES)
_RUN_TIME = _TIMED + 1


class Rollup(NamedTuple):
    """What ended in one span of time."""

    start_at: Micros
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    timed: int = 0
    """Those whose last attempt ran."""
    run_time: Span = Span(0)
    """How long those attempts took together."""


Sums = dict[tuple[Project, Micros], list[int]]
"""By project and minute: as many as ended in each of `_STATES`, how many of them were timed, and how long those took."""


def add_up(ended: Iterable[Sequence[Task]]) -> Sums:
    """Add up tasks that have just ended: 0.2 µs for each, as neighbours mostly share project and minute."""
    sums: Sums = {}
    project, until, since, found = None, 0, 1, [0] * (_RUN_TIME + 1)
    succeeded = TaskState.SUCCEEDED
    for tasks in ended:
        for task in tasks:
            ended_at = task.ended
            assert ended_at is not None
            if not since <= ended_at < until or task.project != project:
                project, since = task.project, ended_at - ended_at % MINUTE
                until = since + MINUTE
                found = sums.setdefault((project, Micros(since)), [0] * (_RUN_TIME + 1))
            state = task.state
            found[0 if state is succeeded else _STATES.index(state)] += 1
            started = task.started
            # Without an outcome no attempt ended it: it was cancelled or skipped while it waited, or is a marker.
            if started is not None and task.outcome is not None:
                found[_TIMED] += 1
                found[_RUN_TIME] += ended_at - started
    return sums


def sum_columns(sums: Sequence[tuple[tuple[Project, Micros], list[int]]]) -> Columns:
    """Sums as the commit's parameters."""
    names = (*_STATES, "timed", "run_time_us")
    return {
        "project": [project for (project, _), _ in sums],
        "minute": [minute for (_, minute), _ in sums],
        **{name: [counts[index] for _, counts in sums] for index, name in enumerate(names)},
    }


async def read_rollups(reader: Connection | Pool, project: Project, *, start: Micros, end: Micros, step: Span) -> list[Rollup]:
    """Read what ended in a project from `start` on and before `end`, both whole minutes, in spans of `step`.

    Spans in which nothing ended are left out. Raises StoreUnavailable.
    """
    with translated("read rollups"):
        found = await reader.fetch(_SQL["sum_by_step"], project, start, end, step)
    return [Rollup(*row) for row in found]
