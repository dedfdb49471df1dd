"""The schema comes from the migrations alone, and code and database say clearly when they do not fit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from foliot.kit.clock import SystemClock
from foliot_scheduler.store.commit import Committer
from foliot_scheduler.store.errors import Fenced, SchemaError, StoreError
from foliot_scheduler.store.migrate import check_schema, migrate
from foliot_scheduler.store.migration_files import SCHEMA_VERSION, Manner, Migration, Phase, read_migrations
from foliot_scheduler.store.pool import Pool, open_connection
from tests.integration.store.history_support import insert

WITHIN_S = 30.0


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
    [
        ("0002_gap.sql", "-- expand, compatible_from: 1\n"),
        ("1_short.sql", "-- expand, compatible_from: 1\n"),
        ("0001_bare.sql", "SELECT 1\n"),
    ],
)
def test_misnamed_migrations_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        read_migrations(tmp_path)


# ------------------------------------------------------------------------------------------- in a database that is in use


class Pacer(SystemClock):
    """A clock whose pauses last until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.pausing = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pausing.set()
        await self.go_on.wait()


def step(text: str, *, manner: str = "", phase: str = "expand", compatible_from: int = 1) -> list[Migration]:
    """The schema's migrations, and one more."""
    more = Migration(SCHEMA_VERSION + 1, "more", Phase(phase), Manner(manner), compatible_from, text)
    return [*read_migrations(), more]


async def test_a_change_lets_go_of_the_queue_for_a_lock_and_comes_back(pool: Pool) -> None:
    clock = Pacer()
    async with pool.acquire() as connection, pool.acquire() as reader:
        reading = reader.transaction()
        await reading.start()
        await reader.execute("SELECT FROM job")
        change = asyncio.create_task(migrate(connection, clock=clock, migrations=step("ALTER TABLE job ADD COLUMN more int")))
        async with asyncio.timeout(WITHIN_S):
            await clock.pausing.wait()
            # As a commit of the leader: it would wait behind a change that waited on.
            await pool.execute("UPDATE job SET name = name")
            await reading.rollback()
            clock.go_on.set()
            assert await change == 1
    assert await pool.fetchval("SELECT more IS NULL FROM job UNION ALL SELECT true LIMIT 1")


async def test_a_change_that_never_gets_its_lock_says_so_and_leaves_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foliot_scheduler.store.migrate.TRIES_MAX", 2)
    async with pool.acquire() as connection, pool.acquire() as reader, reader.transaction():
        await reader.execute("SELECT FROM job")
        with pytest.raises(SchemaError, match=r"\(more\) was tried 2 times.*pg_stat_activity"):
            await migrate(connection, migrations=step("CREATE TABLE more (); ALTER TABLE job ADD COLUMN more int"))
        await check_schema(connection)
        assert await connection.fetchval("SELECT to_regclass('more') IS NULL")
        assert await pool.fetchval("SELECT pg_try_advisory_lock(1179602765, 0)"), "others are kept out"


async def test_an_index_that_was_left_half_built_is_built_again(pool: Pool) -> None:
    migrations = step("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_name ON job (name)", manner="concurrently")
    for number in range(2):
        await insert(pool, "job", id=bytes([number]) * 16, name="twice")
    async with pool.acquire() as connection:
        with pytest.raises(StoreError, match="duplicate"):
            await migrate(connection, migrations=migrations)
        await pool.execute("UPDATE job SET name = id::text")
        assert await migrate(connection, migrations=migrations) == 1
        assert await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_name'::regclass")
        assert await migrate(connection, migrations=migrations) == 0


async def test_many_rows_are_changed_in_batches_of_their_own(pool: Pool) -> None:
    for number in range(5):
        await insert(pool, "job", id=bytes([number]) * 16, name="old")
    batch = "UPDATE job SET name = 'new' WHERE id IN (SELECT id FROM job WHERE name = 'old' LIMIT 2)"
    async with pool.acquire() as connection:
        assert await migrate(connection, migrations=step(batch, manner="in batches")) == 1
    changed = await pool.fetch("SELECT count(*) AS rows FROM job WHERE name = 'new' GROUP BY xmin ORDER BY 1")
    assert [row["rows"] for row in changed] == [1, 2, 2]


@pytest.mark.parametrize("phase", ["expand", "contract"])
async def test_only_a_contraction_ends_the_term_of_the_leader(pool: Pool, committer: Committer, phase: str) -> None:
    compatible_from = 1 if phase == "expand" else SCHEMA_VERSION + 1
    migrations = step("CREATE TABLE more ()", phase=phase, compatible_from=compatible_from)
    async with pool.acquire() as connection:
        assert await migrate(connection, migrations=migrations) == 1
    if phase == "expand":
        await committer.pulse()
        await check_schema(pool)
    else:
        with pytest.raises(Fenced):
            await committer.pulse()
        with pytest.raises(SchemaError, match="use the newer release"):
            await check_schema(pool)
