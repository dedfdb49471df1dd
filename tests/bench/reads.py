"""How long lists, counts and metrics take, through a gateway: what a long history must not make slow."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

from tests.bench.connection import Connection
from tests.bench.measurements import Bench, Figures, function, percentile, submit_bulk

PATHS: Final = {
    "newest": "/api/tasks?limit=100",
    "ended": "/api/tasks?status=completed&limit=100",
    "by_name": "/api/tasks?sort=name&order=asc&limit=100",
    "by_priority": "/api/tasks?sort=priority&limit=100",
    "late_page": "/api/tasks?page=50&limit=20",
    "by_tag": "/api/tasks?tag=nobody&limit=20",
    "one_by_one": "/api/tasks/{id}",
    "status": "/api/system/status",
    "metrics_of_an_hour": "/api/system/metrics?period=hour",
    "metrics_of_a_month": "/api/system/metrics?period=month",
    "queue": "/api/v1/jobs?limit=100",
    "statistics": "/api/v1/admin/stats",
    "prometheus": "/api/v1/metrics",
}
"""What is asked for, by the name of its figure."""

_HISTORY: Final = 1_000


async def reads(bench: Bench, size: int) -> Figures:
    """Ask for each of them so many times, one after another; answers the medians, and the slowest of all."""
    await submit_bulk(bench, function("bench.noop"), _HISTORY)
    await bench.ledger.check(_HISTORY)
    url = await bench.stack.start_gateway()
    found: Figures = {}
    slowest = 0.0
    async with Connection(url) as connection:
        task_id = (await connection.ask("GET", PATHS["newest"], b"", 200))["data"][0]["id"]
        for name, path in PATHS.items():
            times_ms = []
            for _ in range(size):
                began_ns = time.monotonic_ns()
                status, content = await connection.send("GET", path.format(id=task_id), b"")
                times_ms.append((time.monotonic_ns() - began_ns) / 1e6)
                assert status == HTTPStatus.OK, (path, status, content[:500])
            found[f"{name}_p50_ms"] = percentile(times_ms, 50)
            slowest = max(slowest, *times_ms)
    return {**found, "slowest_ms": slowest}
