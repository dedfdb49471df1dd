"""Which jobs fire soon: what the leader reads ahead of their due times."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.types import JobId
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.pool import Connection, Row, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from foliot_scheduler.core.types import Micros

PAGE_ROWS: Final = 1_000
"""Jobs that are read at a time: some megabytes of specs, and a step of the engine that delays others by some milliseconds."""

_SQL: Final = Queries("queries/schedules.sql")


async def due_jobs(conn: Connection, shard: int, *, since: Micros, until: Micros) -> AsyncGenerator[list[JobId], None]:
    """Read the ids of the jobs that fire from `since` (included) to `until` (not included), earliest first, in pages.

    The connection is in a transaction meanwhile, and may be used for other reads. Close the iterator (contextlib.aclosing).
    Raises StoreError and its kin.
    """
    # What is raised at `yield` is its user's and must not be translated.
    with translated("read which jobs are due"):
        transaction = conn.transaction(readonly=True)
        await transaction.start()
    try:
        with translated("read which jobs are due"):
            cursor = await conn.cursor(_SQL["due_jobs"], shard, since, until)
        while True:
            with translated("read which jobs are due"):
                rows = await cursor.fetch(PAGE_ROWS)
            if not rows:
                return
            yield [JobId(row["id"]) for row in rows]
    finally:
        # A connection that broke is beyond this, and what broke it says so better. There is nothing to lose by it.
        with contextlib.suppress(StoreError), translated("read which jobs are due"):
            await transaction.rollback()


async def read_jobs(conn: Connection, ids: Sequence[JobId]) -> Sequence[Row]:
    """Read jobs by id, each with the `spec` of its version; in no order. Raises StoreError and its kin."""
    with translated("read jobs"):
        return await conn.fetch(_SQL["jobs_by_id"], ids)
