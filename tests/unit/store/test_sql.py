"""Named queries are found by name, and a file that breaks the form is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from foliot_scheduler.store import sql
from foliot_scheduler.store.sql import Queries, parse

_STORE = Path(sql.__file__).parent


def test_queries_are_split_at_headers_after_empty_lines() -> None:
    text = "-- first: does one thing\nSELECT 1\n-- note: not a header\nFROM x;\n\n\n-- second: another\nSELECT 2\n"
    found = parse(text, "x.sql")
    assert [(query.name, query.purpose) for query in found] == [("first", "does one thing"), ("second", "another")]
    assert found[0].text == "SELECT 1\n-- note: not a header\nFROM x"
    assert found[1].text == "SELECT 2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1", "before the first"),
        ("SELECT 1\n\n-- a: b\nSELECT 2", "before the first"),
        ("-- a: b\nSELECT 1\n\n-- a: c\nSELECT 2", "two queries named a"),
        ("-- a: b\n\n-- c: d\nSELECT 2", "query a is empty"),
        ("", "before the first"),
    ],
)
def test_malformed_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"x.sql: .*{message}"):
        parse(text, "x.sql")


@pytest.mark.parametrize("path", sorted(_STORE.glob("*.sql")) + sorted(_STORE.glob("queries/*.sql")), ids=lambda path: path.name)
def test_every_file_of_queries_reads(path: Path) -> None:
    queries = Queries(str(path.relative_to(_STORE)))
    assert len(queries) == len(list(queries))
    assert all(queries.purpose(name) for name in queries)
