"""Brings the schema to what this code needs, or says clearly why code and database do not fit.

Migrations are the files `migrations/NNNN_name.sql`, numbered from 1 without gaps, never changed once released. The first line
of each, `-- compatible_from: N`, names the oldest code (by its own schema version) that may go on using the database after it:
that is what lets replicas of the last release run on while the first of the new one starts. A change that old code could not
bear is therefore split over two releases: first add (compatible), then, when no old code is left, take away.

All pending files are applied in one transaction under an advisory lock, so any number of replicas may start at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import asyncpg

from foliot_scheduler.store.errors import SchemaError
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.sql import Queries

_FOLDER = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_COMPATIBLE_FROM = re.compile(r"-- compatible_from: (?P<version>\d+)\n")

_QUERIES = Queries("migrate.sql")

_LOCK_CLASS = 0x464F4C4D
"""First half of the advisory lock's key: "FOLM" in ASCII."""

POSTGRES_MAJOR_MIN = 16
"""The oldest PostgreSQL that the statements were tried on."""


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    compatible_from: int
    text: str


def read_migrations(folder: Path = _FOLDER) -> list[Migration]:
    """Read all migrations in order; raises ValueError for a file that breaks the form, a gap or a double number."""
    migrations = []
    for expected, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        name = _FILE_NAME.fullmatch(path.name)
        text = path.read_text(encoding="utf-8")
        header = _COMPATIBLE_FROM.match(text)
        if name is None or header is None or int(name["number"]) != expected:
            raise ValueError(f"{path.name}: migrations are named NNNN_name.sql without gaps and begin with -- compatible_from: N")
        migrations.append(Migration(expected, name["name"], int(header["version"]), text))
    return migrations


SCHEMA_VERSION = len(read_migrations())
"""The schema that this code needs: the last migration's number."""


async def migrate(connection: Connection) -> int:
    """Apply what is missing and return how many migrations that were.

    Raises SchemaError when the database is too new for this code, or holds tables of somebody else; StoreUnavailable when it
    does not answer.
    """
    with translated("migrate the schema"):
        _check_server(connection)
        try:
            async with connection.transaction():
                # Building an index on a large table may take longer than any query is allowed to.
                await connection.execute("SET LOCAL statement_timeout = 0")
                await connection.execute(_QUERIES["lock_schema"], _LOCK_CLASS)
                await connection.execute(_QUERIES["create_versions"])
                found, compatible_from = await _current(connection)
                _check_not_newer(found, compatible_from)
                pending = read_migrations()[found:]
                for migration in pending:
                    await connection.execute(migration.text)
                    await connection.execute(
                        _QUERIES["add_version"], migration.version, migration.compatible_from, migration.name
                    )
                return len(pending)
        except asyncpg.DuplicateTableError as error:
            raise SchemaError(
                f"the database holds tables that Foliot did not make ({error}): give Foliot a database of its own"
            ) from error
        except asyncpg.InsufficientPrivilegeError as error:
            raise SchemaError(
                f"the database user may not create tables ({error}): grant it, or make it the database's owner"
            ) from error


async def check_schema(connection: Connection) -> None:
    """Make sure that this code may use the database as it is; raises SchemaError, saying what to do, when not."""
    with translated("check the schema"):
        _check_server(connection)
        if not await connection.fetchval(_QUERIES["has_versions"]):
            raise SchemaError("the database has no Foliot schema: start a scheduler on it once, which creates it")
        found, compatible_from = await _current(connection)
    _check_not_newer(found, compatible_from)
    if found < SCHEMA_VERSION:
        raise SchemaError(
            f"the database has schema version {found}, and this Foliot needs {SCHEMA_VERSION}: "
            "start a scheduler of this release on it once, which upgrades it"
        )


async def _current(connection: Connection) -> tuple[int, int]:
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
