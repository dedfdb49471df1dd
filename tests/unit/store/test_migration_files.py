"""The rules of migrations that a file shows by itself; that older code works with them is shown by running it."""

from __future__ import annotations

import re

import pytest

from foliot_scheduler.store.migration_files import Manner, Migration, Phase, read_migrations

MIGRATIONS = read_migrations()
RULED = [migration for migration in MIGRATIONS if migration.version > 13]
"""Those that came before had no older replicas to get on with."""

TAKES_AWAY = re.compile(
    r"\bDROP\s+(?:TABLE|COLUMN|INDEX|FUNCTION|VIEW|TYPE)\b|\bRENAME\b|\bSET\s+NOT\s+NULL\b|\bTRUNCATE\b"
    r"|\bALTER\s+COLUMN\s+\w+\s+(?:SET\s+DATA\s+)?TYPE\b|\bADD\s+COLUMN\b(?!.*\bDEFAULT\b).*\bNOT\s+NULL\b"
)
"""What code that does not know of the change may trip over."""

CREATES = re.compile(r"\bCREATE\s+TABLE\s+(\w+)")
INDEXES = re.compile(r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+((?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?)\w+\s+ON\s+(\w+)")
REWRITES = re.compile(r"^\s*(?:UPDATE|DELETE|WITH)\b", re.MULTILINE)


def statements(migration: Migration) -> str:
    """A migration's text without its comments."""
    return re.sub(r"--[^\n]*", "", migration.text)


def faults(migration: Migration, before: int) -> list[str]:
    """Name what breaks the rules, given the oldest code that could use the database until then."""
    found = []
    text = statements(migration)
    if migration.phase is Phase.EXPAND:
        if migration.compatible_from > before:
            found.append("an expansion leaves no code behind")
        found += [f"an expansion does not take away: {match[0]}" for match in TAKES_AWAY.finditer(text)]
    elif not before < migration.compatible_from < migration.version:
        found.append("a contraction is for code that has been out already: compatible_from is an earlier migration's number")
    made = set(CREATES.findall(text))
    for manner, table in INDEXES.findall(text):
        if table not in made and manner.split() != ["CONCURRENTLY", "IF", "NOT", "EXISTS"]:
            found.append(f"an index on {table}, which is in use, is built concurrently if it does not exist")
    if (migration.manner is Manner.CONCURRENTLY) != ("CONCURRENTLY" in text):
        found.append("what is built concurrently says so in the first line, and is alone in its file")
    if migration.manner is not Manner.AT_ONCE and text.strip().rstrip(";").count(";"):
        found.append("only what is done at once has several statements")
    if migration.manner is Manner.IN_BATCHES and "LIMIT" not in text:
        found.append("a batch has a LIMIT")
    if migration.manner is Manner.AT_ONCE and REWRITES.search(text):
        found.append("rows are changed in batches")
    return found


def read(phase: str, version: int, compatible_from: int, text: str, manner: str = "") -> Migration:
    return Migration(version, "m", Phase(phase), Manner(manner), compatible_from, text)


@pytest.mark.parametrize("migration", RULED, ids=lambda migration: migration.name)
def test_a_migration_keeps_the_rules(migration: Migration) -> None:
    before = max(earlier.compatible_from for earlier in MIGRATIONS[: migration.version - 1])
    assert not faults(migration, before)


@pytest.mark.parametrize(
    ("migration", "words"),
    [
        (read("expand", 20, 19, "CREATE TABLE a (x int);"), "leaves no code behind"),
        (read("expand", 20, 10, "ALTER TABLE a DROP COLUMN x;"), "take away"),
        (read("expand", 20, 10, "ALTER TABLE a ADD COLUMN x int NOT NULL;"), "take away"),
        (read("expand", 20, 10, "ALTER TABLE a RENAME TO b;"), "take away"),
        (read("contract", 20, 20, "ALTER TABLE a DROP COLUMN x;"), "out already"),
        (read("contract", 20, 10, "ALTER TABLE a DROP COLUMN x;"), "out already"),
        (read("expand", 20, 10, "CREATE INDEX a_x ON a (x);"), "concurrently"),
        (read("expand", 20, 10, "CREATE INDEX CONCURRENTLY a_x ON a (x);", "concurrently"), "if it does not exist"),
        (read("expand", 20, 10, "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_x ON a (x);"), "says so"),
        (read("expand", 20, 10, "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_x ON a (x); SELECT 1;", "concurrently"), "several"),
        (read("expand", 20, 10, "UPDATE a SET x = 1;"), "in batches"),
        (read("expand", 20, 10, "UPDATE a SET x = 1;", "in batches"), "LIMIT"),
    ],
)
def test_what_breaks_the_rules_is_found(migration: Migration, words: str) -> None:
    assert any(words in fault for fault in faults(migration, 10)), faults(migration, 10)


@pytest.mark.parametrize(
    "migration",
    [
        read("expand", 20, 10, "CREATE TABLE a (x int NOT NULL);\nCREATE INDEX a_x ON a (x);"),
        read("expand", 20, 10, "ALTER TABLE a ADD COLUMN x int, ADD COLUMN y int NOT NULL DEFAULT 0;"),
        read("expand", 20, 10, "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_x ON a (x);", "concurrently"),
        read("expand", 20, 10, "UPDATE a SET x = 1 WHERE id IN (SELECT id FROM a WHERE x IS NULL LIMIT 9)", "in batches"),
        read("contract", 20, 19, "ALTER TABLE a DROP COLUMN x, ALTER COLUMN y SET NOT NULL;"),
    ],
)
def test_what_keeps_the_rules_is_left_alone(migration: Migration) -> None:
    assert not faults(migration, 10)
