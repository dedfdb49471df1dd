"""Whoever waits to lead runs the statements of recovery for no shard, again and again: that reads nothing, whatever lives."""

from __future__ import annotations

import pytest

from foliot_scheduler.store.pool import KEEPALIVE, open_connection
from foliot_scheduler.store.recovery import load_live
from foliot_scheduler.store.sql import Queries
from tests.integration.store.explained import rows_read

LIVE = 1_000
NO_SHARD = -1

_FILL = """
    INSERT INTO task (
        id, created_at, updated_at, position, attempt, failed_attempts, lost_attempts, priority, project, state, kind,
        trigger_rule, queue, name, key, error, traceparent, spec
    )
    SELECT
        lpad(to_hex(number), 32, '0')::uuid, now(), now(), 0, 1, 0, 0, 5, 'p', 'ready', 'command', 'all_success', 'default', '',
        '', '', '', '\\x61'
    FROM generate_series(1, $1) AS number
"""

_STATEMENTS = Queries("queries/recovery.sql")
_OF_A_SHARD = [name for name in _STATEMENTS if name != "dependency_states"]


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_to_load_no_shard_reads_no_row(database_url: str, plans: str) -> None:
    connection = await open_connection(database_url, settings={**KEEPALIVE, "plan_cache_mode": plans})
    try:
        await connection.execute(_FILL, LIVE)
        await connection.execute("ANALYZE task")
        assert await rows_read(connection, _STATEMENTS["live_tasks"], [0]) == LIVE
        assert {name: await rows_read(connection, _STATEMENTS[name], [NO_SHARD]) for name in _OF_A_SHARD} == dict.fromkeys(
            _OF_A_SHARD, 0
        )
        assert len((await load_live(connection, 0)).tasks) == LIVE
        assert not (await load_live(connection, NO_SHARD)).tasks
    finally:
        await connection.close()
