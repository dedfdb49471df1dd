"""Reads from PostgreSQL what it has at the end of a run."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.chaos.history import History, RecordedAttempt, RecordedFire, RecordedRun, RecordedTask

if TYPE_CHECKING:
    from asyncpg import Record

_TASK: Final = """
    SELECT id::text, name, state, attempt, kind, coalesce(outcome, '') AS outcome, coalesce(run_id::text, '') AS run, key,
        coalesce(worker_id, '') AS worker, {output} AS output
    FROM {table} ORDER BY id
"""
_ATTEMPTS: Final = """
    SELECT task_id::text AS task, number, outcome, extract(epoch FROM ended_at)::float8 AS ended_at
    FROM attempt ORDER BY task_id, number
"""
_RUNS: Final = """
    SELECT id::text, job_id::text AS job, state, extract(epoch FROM due_at)::float8 AS due_at FROM {table} ORDER BY id
"""
_FIRES: Final = """
    SELECT job_id::text AS job, extract(epoch FROM due_at)::float8 AS due_at, coalesce(run_id::text, '') AS run, skip_reason
    FROM fire ORDER BY job_id, due_at
"""
_SPANS: Final = """
    SELECT job_id::text AS job, skip_reason,
        extract(epoch FROM since)::float8 AS since, extract(epoch FROM until)::float8 AS until
    FROM fire_span ORDER BY job_id, since
"""


async def collect(database_url: str, history: History) -> None:
    """Put what PostgreSQL has into a history."""
    connection = await asyncpg.connect(database_url)
    try:
        history.live = [_task(row) for row in await connection.fetch(_TASK.format(table="task", output="''::bytea"))]
        history.ended = [_task(row) for row in await connection.fetch(_TASK.format(table="task_history", output="output"))]
        history.attempts = [RecordedAttempt(**row) for row in await connection.fetch(_ATTEMPTS)]
        for table in ("run", "run_history"):
            history.runs += [RecordedRun(**row) for row in await connection.fetch(_RUNS.format(table=table))]
        history.fires = [RecordedFire(**row) for row in await connection.fetch(_FIRES)]
        for row in await connection.fetch(_SPANS):
            # What was skipped together: every whole second of it, as the jobs of these runs have it.
            dues = range(ceil(row["since"]), floor(row["until"]) + 1)
            history.fires += [RecordedFire(row["job"], due, "", row["skip_reason"]) for due in dues]
    finally:
        await connection.close()


async def unended(database_url: str) -> int:
    """Count the tasks that have not ended."""
    connection = await asyncpg.connect(database_url, timeout=5)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM task"))
    finally:
        await connection.close()


def _task(row: Record) -> RecordedTask:
    return RecordedTask(**{**row, "output": row["output"].decode(errors="replace")})
