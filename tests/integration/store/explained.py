"""What a statement really reads, as PostgreSQL tells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def tables_in(plan: str) -> set[str]:
    """The tables that a plan in JSON names."""
    return {node["Relation Name"] for node in _nodes(json.loads(plan)[0]["Plan"]) if "Relation Name" in node}


async def rows_read(connection: asyncpg.Connection[asyncpg.Record], text: str, arguments: Sequence[object]) -> int:
    """Run a statement and count the rows that it took out of tables, those that it threw away included."""
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *arguments)
    read = 0
    for node in _nodes(json.loads(found)[0]["Plan"]):
        if "Relation Name" in node:
            read += int(node["Actual Rows"] * node["Actual Loops"]) + node.get("Rows Removed by Filter", 0)
    return read
