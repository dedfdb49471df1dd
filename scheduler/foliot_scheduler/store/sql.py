"""Reads named queries from .sql files.

A file holds one table's or aggregate's queries. Each begins, after an empty line or at the top of the file, with

    -- its_name: what it is for, in one line

and ends where the next begins. Further comments belong to the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent
_HEADER = re.compile(r"^-- (?P<name>[a-z][a-z0-9_]*): (?P<purpose>.+)\n", re.MULTILINE)


class Query(NamedTuple):
    """One query."""

    name: str
    purpose: str
    text: str


class Queries(Mapping[str, str]):
    """The queries of one file, by name."""

    def __init__(self, file: str) -> None:
        """Read a file, named relative to this package; raises ValueError for one that breaks the form."""
        self.file = file
        self._queries = {query.name: query for query in parse((_FOLDER / file).read_text(encoding="utf-8"), file)}

    def __getitem__(self, name: str) -> str:
        """Return a query's text."""
        return self._queries[name].text

    def __iter__(self) -> Iterator[str]:
        """List the names, in the file's order."""
        return iter(self._queries)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self._queries)

    def purpose(self, name: str) -> str:
        """Say what a query is for."""
        return self._queries[name].purpose


def parse(text: str, file: str) -> list[Query]:
    """Split a file's text into queries; raises ValueError for text before the first, a double name, or an empty query."""
    headers = [match for match in _HEADER.finditer(text) if _starts_block(text, match)]
    if not headers or text[: headers[0].start()].strip():
        raise ValueError(f"{file}: text before the first named query")
    queries: dict[str, Query] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        body = text[header.end() : following.start() if following is not None else len(text)].strip().rstrip(";")
        if name in queries:
            raise ValueError(f"{file}: two queries named {name}")
        if not body:
            raise ValueError(f"{file}: query {name} is empty")
        queries[name] = Query(name, header["purpose"], body)
    return list(queries.values())


def _starts_block(text: str, match: re.Match[str]) -> bool:
    """Say whether a header stands after an empty line, so that a comment inside a query is not taken for one."""
    return match.start() == 0 or text.endswith("\n\n", 0, match.start())
