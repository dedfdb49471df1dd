"""What became of due times, and by which schedule they came.

Due times that were skipped together have one row, a span; here they are told apart again by the schedule as it was then, as many
of the latest ones as a page asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.model import JobState
from foliot_scheduler.core.types import Micros, RunId
from foliot_scheduler.store.lists import BadPageEndError, Statement, fill
from foliot_scheduler.store.pool import Row, translated
from foliot_scheduler.store.rows import Page
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core.types import JobId, Project
    from foliot_scheduler.store.reads import Reader

_FIRES: Final = Queries("queries/fires.sql")

_END_BYTES: Final = 8
_INSTANT_MAX: Final = 1 << 58
"""Of a page's end: past the year 9900, and within what a timestamp of PostgreSQL can hold."""


class FireRow(NamedTuple):
    """What became of one due time."""

    due_at: Micros
    run_id: RunId | None
    skip_reason: str
    decided_at: Micros


class ScheduleRow(NamedTuple):
    """The schedule of a job, if it has one."""

    state: JobState
    cron: str | None
    timezone: str | None
    created_at: Micros


async def list_fires(
    reader: Reader, job_id: JobId, *, skipped_only: bool = False, limit: int = 100, end: bytes = b""
) -> Page[FireRow]:
    """Read a page of what became of a job's due times, newest first. Raises BadPageEndError."""
    statement = Statement()
    conditions = [statement.condition(_FIRES["of_job"], job_id)]
    if skipped_only:
        conditions.append(_FIRES["skipped"])
    before = _INSTANT_MAX
    if end:
        before = int.from_bytes(end, "big", signed=True)
        if len(end) != _END_BYTES or not 0 <= before < _INSTANT_MAX:
            raise BadPageEndError("a page's end is no due time")
        conditions.append(statement.condition(_FIRES["before"], before))
    text = fill(_FIRES["page"], conditions=" AND ".join(conditions), limit=statement.bind(limit + 1))
    with translated("list due times"):
        found = [FireRow(*row) for row in await reader.fetch(text, *statement.arguments)]
        # Second, as what is decided in between is newer than both.
        spans = await reader.fetch(_FIRES["spans"], job_id, before, limit + 1)
    found = sorted([*found, *_told_apart(spans, before, limit + 1)], reverse=True, key=lambda fire: fire.due_at)
    page = found[:limit]
    ending = page[-1].due_at.to_bytes(_END_BYTES, "big", signed=True) if len(found) > limit else b""
    return Page(page, ending, None)


def _told_apart(spans: Iterable[Row], before: Micros | int, limit: int) -> list[FireRow]:
    """Tell the due times of spans, newest first, earlier than an instant, the first `limit` at most."""
    found: list[FireRow] = []
    for span in spans:
        if len(found) == limit:
            break
        until = Micros(min(span["until"], before - 1))
        dues = parse_schedule(span["cron"], span["timezone"]).latest_between(
            Micros(span["since"] - 1), until, limit - len(found), anchor_us=span["anchor"]
        )
        found += [FireRow(due, None, span["skip_reason"], span["decided_at"]) for due in reversed(dues)]
    return found


async def schedule_of(reader: Reader, project: Project, job_id: JobId) -> ScheduleRow | None:
    """Read the schedule of a job, a deleted one too; None if there is no such job."""
    with translated("read a schedule"):
        row = await reader.fetchrow(_FIRES["schedule_of"], job_id, project)
    return ScheduleRow(JobState(row["state"]), row["cron"], row["timezone"], row["created_at"]) if row is not None else None
