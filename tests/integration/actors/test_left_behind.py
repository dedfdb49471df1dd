"""A replica that waits for its turn does not lead on a schema that has left its code behind meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foliot.kit.clock import SystemClock
from foliot_scheduler.actors.elector import SHARD
from foliot_scheduler.actors.establish import Establisher
from foliot_scheduler.actors.leader import Term
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.store import election
from foliot_scheduler.store.errors import SchemaError
from foliot_scheduler.store.migration_files import SCHEMA_VERSION
from foliot_scheduler.store.pool import ONE_WRITER, Pool, open_connection

if TYPE_CHECKING:
    from asyncpg import Connection, Record


async def test_a_contraction_that_came_while_it_waited_is_seen_before_it_leads(database_url: str, pool: Pool) -> None:
    async def connect() -> Connection[Record]:
        return await open_connection(database_url, settings=ONE_WRITER)

    clock = SystemClock()
    establish = Establisher(connect=connect, sessions=Sessions(), clock=clock, settings=CoreSettings(), shard=SHARD)
    conn = await connect()
    try:
        await election.ensure_row(conn, SHARD)
        await establish.warm_up(conn)
        await pool.execute("INSERT INTO schema_version VALUES ($1, $1, 'contraction', now())", SCHEMA_VERSION + 1)

        epoch, elected_at = await election.take_epoch(conn, SHARD)
        with pytest.raises(SchemaError, match="use the newer release"):
            await establish(conn, Term(epoch, elected_at, "old", "old:1"))
    finally:
        conn.terminate()
