"""Stores what tasks write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from foliot_scheduler.core.types import Micros, Project, TaskId
from foliot_scheduler.store.columns import clean
from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

_SQL = Queries("queries/tasks.sql")


class LogLine(NamedTuple):
    """One line of one attempt."""

    task_id: TaskId
    number: int
    """Counts the lines of the attempt from 1."""
    at: Micros
    attempt: int
    level: str
    """debug, info, warn or error."""
    message: str


async def insert_logs(writer: Connection | Pool, lines: Sequence[LogLine], project: Project | None = None) -> int:
    """Store lines of attempts that exist, of one project if it is named, and return how many were new.

    Others are dropped, as is a number that is there already. Any replica may do this, at any time. Raises StoreUnavailable.
    """
    lines = await _of_known_attempts(writer, lines, project)
    if not lines:
        return 0
    task_ids, numbers, ats, attempts, levels, messages = zip(*lines, strict=True)
    with translated("store log lines"):
        status = await writer.execute(
            _SQL["insert_logs"], task_ids, numbers, ats, attempts, levels, [clean(message) for message in messages]
        )
    # "INSERT 0 123"
    return int(status.rpartition(" ")[2])


async def _of_known_attempts(writer: Connection | Pool, lines: Sequence[LogLine], project: Project | None) -> list[LogLine]:
    """Leave out lines of attempts that do not exist in the project."""
    wanted = {line.task_id for line in lines}
    last: dict[TaskId, int] = {}
    with translated("look up attempts"):
        for row in await writer.fetch(_SQL["live_attempts"], list(wanted), project):
            # The row may still tell of the attempt before: a lease that is young is told by its batch alone.
            last[TaskId(row["id"])] = row["attempt"] + 1
        if len(last) < len(wanted):
            # After the live ones, so that a task which ends in between is found at one of the two places.
            for row in await writer.fetch(_SQL["ended_attempts"], list(wanted - last.keys()), project):
                last[TaskId(row["id"])] = row["attempt"]
    return [line for line in lines if 1 <= line.attempt <= last.get(line.task_id, 0)]
