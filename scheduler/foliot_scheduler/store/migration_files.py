"""The files that make the schema: their form, and what each says of the code that may use the database after it.

Migrations are the files `migrations/NNNN_name.sql`, numbered from 1 without gaps, never changed once released. The number of the
last one is the schema version of this code. The first line of each says what it is:

    -- expand, compatible_from: 10
    -- contract, compatible_from: 14
    -- expand, concurrently, compatible_from: 10
    -- expand, in batches, compatible_from: 10

`expand` adds, and code that does not know of it goes on as before. `contract` takes away, and older code cannot go on.
`compatible_from` is the oldest code, by its own schema version, that may use the database from here on. What `concurrently` and
`in batches` mean stands at `Manner`. How to write a migration is told in the scheduler's README.md.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "migrations"

_FILE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_HEADER: Final = re.compile(
    r"-- (?P<phase>expand|contract)(?:, (?P<manner>concurrently|in batches))?, compatible_from: (?P<version>\d+)\n"
)


class Phase(StrEnum):
    """What a migration does to the code that runs while it comes."""

    EXPAND = "expand"
    """Adds: the code of every version since `compatible_from` goes on, whoever leads."""
    CONTRACT = "contract"
    """Takes away what code before `compatible_from` needs: such a replica steps down when it comes."""


class Manner(StrEnum):
    """How a migration is carried out in a database that is in use."""

    AT_ONCE = ""
    """As one transaction, which must be short."""
    CONCURRENTLY = "concurrently"
    """One statement outside of a transaction: an index that is built beside the writers."""
    IN_BATCHES = "in batches"
    """One statement that changes some rows at a time, repeated until it finds none; each time a short transaction."""


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    phase: Phase
    manner: Manner
    compatible_from: int
    text: str


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Read all migrations in order; raises ValueError for a file that breaks the form, a gap or a double number."""
    migrations = []
    for expected, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        name = _FILE_NAME.fullmatch(path.name)
        text = path.read_text(encoding="utf-8")
        header = _HEADER.match(text)
        if name is None or header is None or int(name["number"]) != expected:
            raise ValueError(
                f"{path.name}: migrations are named NNNN_name.sql without gaps and begin with "
                "-- expand, compatible_from: N (or contract; and concurrently or in batches, where they are)"
            )
        migrations.append(
            Migration(
                expected, name["name"], Phase(header["phase"]), Manner(header["manner"] or ""), int(header["version"]), text
            )
        )
    return migrations


SCHEMA_VERSION: Final = len(read_migrations())
"""The schema that this code needs: the last migration's number."""
