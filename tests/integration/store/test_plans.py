"""However long the history, a page of a list reads little more than the page, by an index in the list's order."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import Project
from foliot_scheduler.store import partitions, reads
from foliot_scheduler.store.lists import TaskFilter, TaskSort, task_count_by_state, task_page, windows
from foliot_scheduler.store.pool import MANY_READERS, open_connection
from foliot_scheduler.store.sql import Queries
from tests.integration.store.explained import rows_read, tables_in

DAY = 86_400_000_000
ROWS = 20_000
PAGE = 50

_FILL = """
    INSERT INTO task_history (
        id, created_at, updated_at, started_at, ended_at, position, attempt, failed_attempts, lost_attempts, priority, project,
        state, kind, trigger_rule, queue, name, key, error, traceparent, tags, spec, output, error_output
    )
    SELECT
        (lpad(to_hex(made.ms), 12, '0') || '7' || substr(md5(number::text), 1, 19))::uuid,
        made.at, made.at, made.at, made.at, 0, 1,
        0, 0, 1 + number % 10, 'p', CASE WHEN number % 500 = 0 THEN 'failed' ELSE 'succeeded' END, 'command', 'all_success',
        'default', 'name ' || number % 20, '', '', '', CASE WHEN number % 100 = 1 THEN ARRAY['rare'] END, '\\x61', '', ''
    FROM
        generate_series(1, $1) AS number,
        LATERAL (
            SELECT at, (extract(epoch FROM at) * 1000)::bigint AS ms
            FROM (SELECT now() - number * interval '10 s' AS at) AS instant
        ) AS made
"""


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection as readers have it, on a database with some history: the plans of 20,000 rows are those of millions."""
    connection = await open_connection(database_url, settings=MANY_READERS)
    now = await connection.fetchval("SELECT now()")
    for days in range(4):
        await partitions.create_ahead(connection, now_us=now - days * DAY)
    await connection.execute(_FILL, ROWS)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def test_a_page_in_any_order_reads_no_more_than_pages(reader: asyncpg.Connection[asyncpg.Record]) -> None:
    now = await reader.fetchval("SELECT now()")
    for sort, ascending in itertools.product(TaskSort, (False, True)):
        build = partial(task_page, Project("p"), TaskFilter(), sort=sort, ascending=ascending, limit=PAGE, offset=0)
        half = await reads.list_tasks(reader, Project("p"), TaskFilter(), sort=sort, ascending=ascending, limit=ROWS // 2)
        for ending in (b"", half.end):
            if sort is TaskSort.CREATED:
                spans = windows(now=now, end=ending, ascending=ascending)[:2]
                read = sum([await rows_read(reader, *build(window=window)) for window in spans])
            else:
                read = await rows_read(reader, *build(end=ending))
            # One row of each partition is looked at to know which comes first.
            assert read <= 2 * PAGE + 20, (sort, ascending)


async def test_rare_states_and_tags_are_found_without_reading_the_others(reader: asyncpg.Connection[asyncpg.Record]) -> None:
    now = await reader.fetchval("SELECT now()")
    for wanted in (TaskFilter(states=frozenset({TaskState.FAILED})), TaskFilter(tag="rare")):
        for window in windows(now=now, end=b"", ascending=False):
            text, arguments = task_page(
                Project("p"), wanted, sort=TaskSort.CREATED, ascending=False, limit=PAGE, offset=0, window=window
            )
            assert await rows_read(reader, text, arguments) <= 4 * PAGE


async def test_binary_tasks_on_their_own_are_found_and_counted_without_reading_the_others(
    reader: asyncpg.Connection[asyncpg.Record],
) -> None:
    await reader.execute("UPDATE task_history SET kind = 'binary' WHERE position = 0 AND name = 'name 7' AND priority = 8")
    few = await reader.fetchval("SELECT count(*) FROM task_history WHERE kind = 'binary'")
    await reader.execute("ANALYZE")
    now = await reader.fetchval("SELECT now()")
    wanted = TaskFilter(states=frozenset(TaskState), kind="binary", standalone=True)
    for window in windows(now=now, end=b"", ascending=False):
        text, arguments = task_page(
            Project("p"), wanted, sort=TaskSort.CREATED, ascending=False, limit=PAGE, offset=0, window=window
        )
        assert await rows_read(reader, text, arguments) <= 4 * PAGE
    assert 0 < few < ROWS / 10
    assert await rows_read(reader, *task_count_by_state(Project("p"), wanted)) <= few
    assert sum((await reads.count_tasks(reader, Project("p"), wanted)).values()) == few


async def test_single_things_are_found_by_their_index(reader: asyncpg.Connection[asyncpg.Record]) -> None:
    task_id = await reader.fetchval("SELECT id FROM task_history LIMIT 1")
    cases: dict[str, list[object]] = {
        "get": [task_id, "p"],
        "states": [[task_id], "p"],
        "attempts": [task_id],
        "logs": [task_id, None, 10, 0],
        "of_run_in_brief": [task_id],
    }
    for name, arguments in cases.items():
        assert await rows_read(reader, Queries("queries/tasks.sql")[name], arguments) <= 1, name


async def test_partitions_of_other_days_are_not_even_planned(reader: asyncpg.Connection[asyncpg.Record]) -> None:
    now = await reader.fetchval("SELECT now()")
    window = windows(now=now, end=b"", ascending=False)[1]
    text, arguments = task_page(
        Project("p"), TaskFilter(), sort=TaskSort.CREATED, ascending=False, limit=PAGE, offset=0, window=window
    )
    found = await reader.fetchval(f"EXPLAIN (FORMAT JSON) {text}", *arguments)
    assert len(tables_in(found)) == 2, "the live table and yesterday's partition"
