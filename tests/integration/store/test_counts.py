"""Tasks are counted as they change: whatever commits do, and whatever retention takes away, the counts are those of the rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import Micros, Project, TaskId
from foliot_scheduler.store import partitions, reads
from foliot_scheduler.store.counts import count_all, count_live
from foliot_scheduler.store.lists import TaskFilter
from foliot_scheduler.store.migrate import migrate
from foliot_scheduler.store.migration_files import read_migrations
from foliot_scheduler.store.partitions import RetentionSettings
from foliot_scheduler.store.pool import Pool, open_connection
from tests.integration.store.conftest import Commit
from tests.integration.store.core_objects import PROJECT, end, plan, task, tasks_of
from tests.integration.store.counted import check_counts
from tests.integration.store.history_support import DAY_US, id_of, insert

TODAY = date(2026, 6, 15)
NOW = Micros((TODAY - date(1970, 1, 1)).days * DAY_US + DAY_US // 2)


async def test_tasks_are_counted_through_their_whole_life(commit: Commit, pool: Pool) -> None:
    moving, other = task(plan(priority=9)), task(project=Project("other"))
    await commit(tasks_of(moving, other, task(state=TaskState.BLOCKED)))
    assert await count_live(pool, PROJECT) == {TaskState.READY: {9: 1}, TaskState.BLOCKED: {5: 1}}
    moving.state = TaskState.RUNNING
    await commit(tasks_of(moving))
    moving.plan = plan(priority=2)
    await commit(replace(tasks_of(moving), plans_changed={moving.id}))
    assert await count_live(pool, PROJECT) == {TaskState.RUNNING: {2: 1}, TaskState.BLOCKED: {5: 1}}
    await commit(tasks_of(end(moving, TaskState.FAILED)))
    assert await count_all(pool, PROJECT, [TaskState.FAILED, TaskState.READY]) == 1
    moving.plan = plan(name="renamed")
    await commit(replace(tasks_of(moving), plans_changed={moving.id}, relabelled={moving.id}))
    moving.state, moving.ended = TaskState.SCHEDULED, None
    await commit(tasks_of(moving))
    assert await count_live(pool, PROJECT) == {TaskState.SCHEDULED: {5: 1}, TaskState.BLOCKED: {5: 1}}
    await commit(tasks_of(end(moving, TaskState.CANCELLED)))
    await commit(replace(tasks_of(end(moving)), plans_changed={moving.id}))
    assert await count_all(pool, PROJECT, [TaskState.CANCELLED]) == 0
    assert await count_all(pool, PROJECT, []) == 2
    assert await count_all(pool, Project("other"), []) == 1


async def test_totals_of_lists_by_state_are_the_counts(commit: Commit, pool: Pool) -> None:
    await commit(tasks_of(*[task() for _ in range(3)], *[end(task(), state) for state in (TaskState.FAILED, TaskState.SKIPPED)]))
    for wanted, expected in (
        (TaskFilter(), 5),
        (TaskFilter(states=frozenset({TaskState.FAILED, TaskState.READY})), 4),
        (TaskFilter(states=frozenset({TaskState.FAILED}), queue="default"), 1),
    ):
        assert (await reads.list_tasks(pool, PROJECT, wanted, limit=1, with_total=True)).total == expected


async def test_what_retention_takes_away_is_not_counted_any_more(commit: Commit, pool: Pool) -> None:
    old, middle = TODAY - timedelta(days=40), TODAY - timedelta(days=20)
    async with pool.acquire() as connection:
        await partitions.create_ahead(connection, now_us=NOW - 40 * DAY_US)
        await partitions.create_ahead(connection, now_us=NOW)
        await commit(
            tasks_of(
                *[end(task(id=TaskId(id_of(old, number)), created=Micros(NOW - 40 * DAY_US))) for number in range(3)],
                *[end(task(id=TaskId(id_of(middle, number)), created=Micros(NOW - 20 * DAY_US))) for number in range(2)],
                # Of a day that has no partition: they lie in the default one.
                *[end(task(id=TaskId(id_of(old - timedelta(days=9), number))), ended=Micros(1)) for number in range(4)],
            )
        )
        report = await partitions.run_once(connection, now_us=NOW, settings=RetentionSettings())
    assert report.deleted["task_history_default"] == 4
    assert "task_history_20260506" in report.dropped
    assert await count_all(pool, PROJECT, []) == 2
    await check_counts(pool)


async def test_tasks_that_are_there_already_are_counted_by_the_migration(empty_database_url: str) -> None:
    steps = read_migrations()
    (first,) = [step.version for step in steps if step.name == "task_counts"]
    connection = await open_connection(empty_database_url)
    try:
        assert await migrate(connection, migrations=steps[: first - 1]) == first - 1
        for number in range(3):
            await insert(connection, "task", id=id_of(TODAY, number), priority=number + 1)
        await insert(connection, "task_history", id=id_of(TODAY, 3), state="failed")
        await migrate(connection)
        found = {tuple(row) for row in await connection.fetch("SELECT state, priority::integer, day, tasks FROM task_count")}
        assert found == {("ready", 1, 0, 1), ("ready", 2, 0, 1), ("ready", 3, 0, 1), ("failed", 0, NOW // DAY_US, 1)}
    finally:
        await connection.close()
