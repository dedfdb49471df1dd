"""The counts of tasks, held to the rows."""

from __future__ import annotations

from foliot_scheduler.store.pool import Pool

_COUNTED = "SELECT project, state, priority::integer, day, tasks FROM task_count WHERE tasks <> 0"
_ROWS = """
    SELECT project, state, priority::integer, 0 AS day, count(*) AS tasks FROM task GROUP BY 1, 2, 3
    UNION ALL
    SELECT project, state, 0, day_of(id), count(*) FROM task_history GROUP BY 1, 2, 4
"""


async def check_counts(pool: Pool) -> None:
    """Count all rows: as many of each kind as the counts say."""
    counted = {tuple(row) for row in await pool.fetch(_COUNTED)}
    assert counted == {tuple(row) for row in await pool.fetch(_ROWS)}
