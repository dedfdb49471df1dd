"""Stores what tasks write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from foliot_scheduler.core.types import Micros, TaskId
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


async def insert_logs(writer: Connection | Pool, lines: Sequence[LogLine]) -> int:
    """Store lines of attempts that exist and return how many were new; others are dropped, as is a number that is there already.

    Any replica may do this, at any time. Raises StoreUnavailable.
    """
    if not lines:
        return 0
    task_ids, numbers, ats, attempts, levels, messages = zip(*lines, strict=True)
    with translated("store log lines"):
        status = await writer.execute(
            _SQL["insert_logs"], task_ids, numbers, ats, attempts, levels, [clean(message) for message in messages]
        )
    # "INSERT 0 123"
    return int(status.rpartition(" ")[2])
