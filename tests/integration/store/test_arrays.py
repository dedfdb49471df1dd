"""The fast way of sending arrays is taken, and PostgreSQL understands it."""

from __future__ import annotations

import asyncpg

from foliot_scheduler.store import arrays
from foliot_scheduler.store.pool import open_connection


async def test_the_installed_driver_can_be_taught(writer: asyncpg.Connection[asyncpg.Record]) -> None:
    assert arrays.register(writer)
    arguments = (
        [b"\x01" * 16, None],
        [2**62, -1, None],
        [7, 7],
        ["é", "", None, "a\nb"],
        [b"\0", b"", None],
    )
    row = await writer.fetchrow("SELECT $1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::bytea[]", *arguments)
    assert row is not None
    assert tuple(row) == arguments
    assert await writer.fetchval("SELECT array_length($1::text[], 1)", ("x",) * 3) == 3
    # Nothing else on the connection changes.
    assert await writer.fetchval("SELECT ARRAY[true, NULL]") == [True, None]


async def test_a_driver_without_the_way_in_is_left_as_it_is(database_url: str) -> None:
    class Sealed:
        _protocol = None

    assert not arrays.register(Sealed())  # type: ignore[arg-type]
    connection = await open_connection(database_url)
    assert await connection.fetchval("SELECT $1::text[]", ["a"]) == ["a"]
    await connection.close()
