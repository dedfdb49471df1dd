"""Ids are bytes and instants microseconds; what goes wrong has one name each, and no message holds a password."""

from __future__ import annotations

import asyncpg
import pytest

from foliot_scheduler.store.errors import ConflictError, DatabaseUrlError, StoreError, StoreUnavailable
from foliot_scheduler.store.pool import Pool, describe_url, open_pool, translated


async def test_ids_and_instants_are_those_of_the_core(pool: Pool) -> None:
    row = await pool.fetchrow(
        "SELECT $1::uuid AS id, $2::uuid[] AS ids, $3::timestamptz AS at, '2026-01-02 03:04:05.678901Z'::timestamptz AS then",
        b"\x01" * 16,
        [b"\x02" * 16, None],
        1_234_567,
    )
    assert row is not None
    assert tuple(row) == (b"\x01" * 16, [b"\x02" * 16, None], 1_234_567, 1_767_323_045_678_901)


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("postgresql://u:sesame@127.0.0.1:1/x", StoreUnavailable, "PostgreSQL does not answer"),
        ("postgresql://u:sesame@nowhere.invalid/x", StoreUnavailable, "does not answer"),
        ("postgresql://u:sesame/2@127.0.0.1/x", DatabaseUrlError, "percent-encoded"),
        ("mysql://u:sesame@127.0.0.1/x", DatabaseUrlError, "looks like postgresql://"),
        ("sesame", DatabaseUrlError, "looks like postgresql://"),
        ("", DatabaseUrlError, "looks like postgresql://"),
    ],
)
async def test_a_url_that_cannot_work_is_named_without_its_password(url: str, kind: type[StoreError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        await open_pool(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_missing_database_is_named(database_url: str) -> None:
    with pytest.raises(DatabaseUrlError, match="no such database"):
        await open_pool(database_url.replace("/test_", "/missing_"))


async def time_out(pool: Pool) -> None:
    """Run into a timeout that holds for one transaction only: the pool gives connections back as they are."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 1")
        await connection.fetch("SELECT pg_sleep(10)")


async def test_what_goes_wrong_has_one_name_each(pool: Pool) -> None:
    with pytest.raises(StoreError, match=r"could not try: .*nothing") as caught, translated("try"):
        await pool.fetch("SELECT * FROM nothing")
    assert not isinstance(caught.value, StoreUnavailable)
    with pytest.raises(ConflictError), translated("try"):
        await pool.execute("INSERT INTO schema_version SELECT * FROM schema_version")
    with pytest.raises(StoreUnavailable, match="statement timeout"), translated("try"):
        await time_out(pool)
    with pytest.raises(StoreError, match=r"expected str"), translated("try"):
        await pool.fetch("SELECT $1::text", 1)


async def test_a_connection_that_is_cut_is_unavailable(pool: Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(StoreUnavailable), translated("try"):
            await connection.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(StoreUnavailable), translated("try"):
            await connection.fetch("SELECT 1")


def test_errors_of_ours_pass_through() -> None:
    with pytest.raises(ConflictError, match=r"^mine$"), translated("try"):
        raise ConflictError("mine")
    with pytest.raises(StoreUnavailable, match="does not answer"), translated("try"):
        raise asyncpg.InterfaceError("connection is closed")
    # What asyncpg says of a statement that meets the server's last words (57P01) on their way.
    with pytest.raises(StoreUnavailable, match="does not answer"), translated("try"):
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/d?sslmode=require", "postgresql://u@h:5/d"),
        ("postgresql:///d?host=/run", "postgresql:///d"),
        ("postgresql://u:p@h1:5,h2:6/d", "postgresql://u@h1:5,h2:6/d"),
        ("p@ss", "the database URL"),
    ],
)
def test_urls_are_shown_without_their_password(url: str, shown: str) -> None:
    assert describe_url(url) == shown
