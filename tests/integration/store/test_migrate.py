"""The schema comes from the migrations alone, and code and database say clearly when they do not fit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from foliot_scheduler.store.errors import SchemaError
from foliot_scheduler.store.migrate import SCHEMA_VERSION, check_schema, migrate, read_migrations
from foliot_scheduler.store.pool import Pool, open_connection


async def test_a_new_database_is_brought_to_the_current_schema_once(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    with pytest.raises(SchemaError, match="no Foliot schema"):
        await check_schema(connection)
    assert await migrate(connection) == SCHEMA_VERSION
    assert await migrate(connection) == 0
    await check_schema(connection)
    rows = await connection.fetch("SELECT version, name FROM schema_version ORDER BY version")
    assert [tuple(row) for row in rows] == [(step.version, step.name) for step in read_migrations()]
    await connection.close()


async def test_replicas_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    connections = [await open_connection(empty_database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection) for connection in connections))
    assert sorted(applied) == [0, 0, 0, SCHEMA_VERSION]
    for connection in connections:
        await connection.close()


async def test_a_newer_schema_is_used_as_long_as_it_says_so(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO schema_version VALUES ($1, $2, 'later', now())", SCHEMA_VERSION + 1, SCHEMA_VERSION)
        await check_schema(connection)
        assert await migrate(connection) == 0
        await connection.execute(
            "INSERT INTO schema_version VALUES ($1, $2, 'too_late', now())", SCHEMA_VERSION + 2, SCHEMA_VERSION + 1
        )
        for refused in (check_schema, migrate):
            with pytest.raises(SchemaError, match=f"version {SCHEMA_VERSION + 1} or newer.*knows {SCHEMA_VERSION}"):
                await refused(connection)


async def test_an_older_schema_is_not_used_as_it_is(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("UPDATE schema_version SET version = version - 1")
        with pytest.raises(SchemaError, match=f"version {SCHEMA_VERSION - 1}, and this Foliot needs {SCHEMA_VERSION}"):
            await check_schema(connection)


async def test_a_database_of_somebody_else_is_left_alone(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await connection.execute("CREATE TABLE task (name text)")
    with pytest.raises(SchemaError, match="database of its own"):
        await migrate(connection)
    assert await connection.fetchval("SELECT to_regclass('schema_version') IS NULL AND to_regclass('run') IS NULL")
    await connection.close()


async def test_a_user_who_may_not_create_tables_is_told(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    await connection.execute("CREATE ROLE poor_user")
    try:
        await connection.execute("SET ROLE poor_user")
        with pytest.raises(SchemaError, match="may not create tables"):
            await migrate(connection)
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute("DROP ROLE poor_user")
        await connection.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [("0002_gap.sql", "-- compatible_from: 1\n"), ("1_short.sql", "-- compatible_from: 1\n"), ("0001_bare.sql", "SELECT 1\n")],
)
def test_misnamed_migrations_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        read_migrations(tmp_path)
