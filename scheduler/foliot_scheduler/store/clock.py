"""PostgreSQL's time, by which rows are written: the same for all replicas, whatever the clocks of their hosts say."""

from __future__ import annotations

from foliot_scheduler.core.types import Micros
from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

_SQL = Queries("queries/system.sql")


async def read_clock(reader: Connection | Pool) -> Micros:
    """Read PostgreSQL's time. Raises StoreUnavailable."""
    with translated("read the time"):
        now: Micros = await reader.fetchval(_SQL["clock"])
    return now
