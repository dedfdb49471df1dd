"""Brings the schema to what this code needs while older replicas serve, or says why code and database do not fit.

Theory of operation. Every replica calls `migrate` before it serves. A session's advisory lock lets one at a time change the
schema; the others look for it again and again, because a statement that waits holds a snapshot, and an index that is built
concurrently waits for every snapshot. A new database is made in one transaction. In one that is in use each migration is carried
out by itself, and waits for its locks a fraction of a second at a time: whoever waits for an exclusive lock on a table holds up
everybody behind it, the leader's commits among them.

What is compatible with what is told by two numbers. Each migration names the oldest code that may go on after it; the code knows
the schema it needs. Code that is too old neither starts nor goes on. A migration that leaves code behind ends the leader's term
in its own transaction, by the epoch: a leader that is too old commits nothing more, not even what it sent before it could notice,
and one that is not is elected again at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import asyncpg

from foliot.kit.backoff import Backoff
from foliot.kit.clock import SystemClock
from foliot.kit.logs import get_logger
from foliot_scheduler.store.errors import SchemaError
from foliot_scheduler.store.migration_files import SCHEMA_VERSION, Manner, Migration, read_migrations
from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot.kit.clock import Clock

_QUERIES: Final = Queries("migrate.sql")

_LOCK_CLASS: Final = 0x464F4C4D
"""First half of the advisory lock's key: "FOLM" in ASCII."""

POSTGRES_MAJOR_MIN: Final = 16
"""The oldest PostgreSQL that the statements were tried on."""

LOCK_WAIT_MS: Final = 300
"""How long one try waits for its locks, and so holds up the leader's commits at most; a leader is silent for 5 s before others
replace it."""

TRIES_MAX: Final = 100
"""Tries of one migration: with the pauses between them about two minutes and a half, in which what is in the way should end."""

_PAUSE: Final = Backoff(0.2, 2.0)
"""Between two tries, so that what was held up gets through."""

_LOOK_EVERY_S: Final = 0.1
"""How often a replica that finds another at it looks whether that is done."""

_IN_THE_WAY: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)

_INDEX: Final = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<name>\w+)")

log = get_logger(__name__)


async def migrate(connection: Connection, *, clock: Clock | None = None, migrations: Sequence[Migration] | None = None) -> int:
    """Apply what is missing and return how many migrations that were.

    The connection must not be in a transaction. Raises SchemaError when the database is too new for this code, holds tables of
    somebody else, or is used in a way that leaves no room for a change; StoreUnavailable when it does not answer.
    """
    clock = clock or SystemClock()
    with translated("migrate the schema"):
        _check_server(connection)
        while not await connection.fetchval(_QUERIES["try_lock"], _LOCK_CLASS):
            await clock.sleep(_LOOK_EVERY_S)
        try:
            return await _migrate(connection, read_migrations() if migrations is None else list(migrations), clock)
        except asyncpg.DuplicateTableError as error:
            raise SchemaError(
                f"the database holds tables that Foliot did not make ({error}): give Foliot a database of its own"
            ) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise SchemaError(
                f"the database user may not create tables ({error}): grant it, or make it the database's owner"
            ) from error
        finally:
            if not connection.is_closed():
                await connection.execute(_QUERIES["unlock"], _LOCK_CLASS)


async def check_schema(connection: Connection | Pool) -> None:
    """Make sure that this code may use the database as it is; raises SchemaError, saying what to do, when not."""
    with translated("check the schema"):
        if not await connection.fetchval(_QUERIES["has_versions"]):
            raise SchemaError("the database has no Foliot schema: start a scheduler on it once, which creates it")
        found, compatible_from = await _current(connection)
    _check_not_newer(found, compatible_from)
    if found < SCHEMA_VERSION:
        raise SchemaError(
            f"the database has schema version {found}, and this Foliot needs {SCHEMA_VERSION}: "
            "start a scheduler of this release on it once, which upgrades it"
        )


async def _migrate(connection: Connection, migrations: list[Migration], clock: Clock) -> int:
    if not await connection.fetchval(_QUERIES["has_versions"]):
        await _install(connection, migrations)
        return len(migrations)
    found, compatible_from = await _current(connection)
    _check_not_newer(found, compatible_from)
    pending = migrations[found:]
    for migration in pending:
        await _apply(connection, migration, compatible_from, clock)
        compatible_from = max(compatible_from, migration.compatible_from)
        log.info("migrate.applied", version=migration.version, migration=migration.name, phase=migration.phase.value)
    return len(pending)


async def _install(connection: Connection, migrations: list[Migration]) -> None:
    """Make the schema in a database without one: all or nothing, and nobody is there to be held up."""
    async with connection.transaction():
        await connection.execute(_QUERIES["create_versions"])
        for migration in migrations:
            await connection.execute(migration.text.replace(" CONCURRENTLY ", " "))
            await _note(connection, migration)


async def _apply(connection: Connection, migration: Migration, compatible_from: int, clock: Clock) -> None:
    """Carry out one migration in a database that is in use."""
    for failures in range(1, TRIES_MAX + 1):
        try:
            match migration.manner:
                case Manner.AT_ONCE:
                    await _apply_at_once(connection, migration, fences=migration.compatible_from > compatible_from)
                case Manner.CONCURRENTLY:
                    await _apply_concurrently(connection, migration)
                case Manner.IN_BATCHES:
                    await _apply_in_batches(connection, migration)
        except _IN_THE_WAY as error:
            if failures == 1:
                log.warning("migrate.in_the_way", version=migration.version, migration=migration.name, reason=str(error))
            await clock.sleep(_PAUSE.delay(failures, clock))
        else:
            return
    raise SchemaError(
        f"migration {migration.version} ({migration.name}) was tried {TRIES_MAX} times and found its tables locked by another "
        "session: end what runs for so long (pg_stat_activity tells), then start again"
    )


async def _apply_at_once(connection: Connection, migration: Migration, *, fences: bool) -> None:
    async with connection.transaction():
        await _limit_waiting(connection)
        await connection.execute(migration.text)
        await _note(connection, migration)
        if fences:
            # Last: a commit that holds the leader's row has its tables already, so the two never wait for each other.
            await connection.execute(_QUERIES["end_terms"])


async def _apply_concurrently(connection: Connection, migration: Migration) -> None:
    """Build an index beside the writers; one that an earlier try left half built is dropped first."""
    await connection.execute("SET statement_timeout = 0")
    try:
        index = _INDEX.search(migration.text)
        if index is not None and await connection.fetchval(_QUERIES["is_half_built"], index["name"]):
            await connection.execute(f"DROP INDEX CONCURRENTLY {index['name']}")
        await connection.execute(migration.text)
    finally:
        if not connection.is_closed():
            await connection.execute("RESET statement_timeout")
    await _note(connection, migration)


async def _apply_in_batches(connection: Connection, migration: Migration) -> None:
    """Repeat a statement until it changes nothing; a batch that is done stays done."""
    while True:
        async with connection.transaction():
            await _limit_waiting(connection)
            # The driver answers as PostgreSQL does: "UPDATE 1000".
            changed = int((await connection.execute(migration.text)).rpartition(" ")[2])
        if not changed:
            await _note(connection, migration)
            return


async def _limit_waiting(connection: Connection) -> None:
    await connection.execute("SET LOCAL statement_timeout = 0")
    await connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")


async def _note(connection: Connection, migration: Migration) -> None:
    await connection.execute(_QUERIES["add_version"], migration.version, migration.compatible_from, migration.name)


async def _current(connection: Connection | Pool) -> tuple[int, int]:
    row = await connection.fetchrow(_QUERIES["current_version"])
    return (row["version"], row["compatible_from"]) if row is not None else (0, 0)


def _check_not_newer(found: int, compatible_from: int) -> None:
    if compatible_from > SCHEMA_VERSION:
        raise SchemaError(
            f"the database has schema version {found}, which only Foliot of schema version {compatible_from} or newer may use; "
            f"this one knows {SCHEMA_VERSION}: use the newer release"
        )


def _check_server(connection: Connection) -> None:
    major = connection.get_server_version().major
    if major < POSTGRES_MAJOR_MIN:
        raise SchemaError(f"the database is PostgreSQL {major}, and Foliot needs {POSTGRES_MAJOR_MIN} or newer")
