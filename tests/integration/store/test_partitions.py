"""Each day has its partitions before it begins; days long past go, unless something live needs them."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import partitions
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.partitions import PartitionReport, RetentionSettings, create_ahead, day_bounds, day_of, run_once
from foliot_scheduler.store.pool import Connection, Pool
from tests.integration.store.history_support import DAY_US, id_of, insert

TODAY = date(2026, 6, 15)
NOW_US = int(datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()) * 1_000_000
DAYS = [TODAY + timedelta(days=ahead) for ahead in range(-1, 4)]
NAMES = [table.name for table in partitions.TABLES]
SETTINGS = RetentionSettings()
LAST_KEPT = TODAY - timedelta(days=30)
OLD = LAST_KEPT - timedelta(days=1)
LONG_AGO_US = NOW_US - 31 * DAY_US


async def names_of(conn: Connection | Pool, table: str) -> set[str]:
    rows = await conn.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass", table)
    return {row[0] for row in rows} - {f"{table}_default"}


async def place_of(conn: Connection | Pool, table: str, key: str, row_id: bytes) -> str:
    place: str = await conn.fetchval(f"SELECT tableoid::regclass::text FROM {table} WHERE {key} = $1", row_id)
    return place


async def run(pool: Pool, *, now_us: int = NOW_US, settings: RetentionSettings = SETTINGS) -> PartitionReport:
    async with pool.acquire() as conn:
        return await run_once(conn, now_us=now_us, settings=settings)


async def ahead(pool: Pool, day: date = TODAY) -> PartitionReport:
    async with pool.acquire() as conn:
        return await create_ahead(conn, now_us=NOW_US + (day - TODAY).days * DAY_US)


async def make_only(pool: Pool, day: date) -> None:
    """Make one day's partitions, of all that `create_ahead` makes, so that a test knows what there is."""
    await ahead(pool, day)
    for table in NAMES:
        for name in await names_of(pool, table):
            if name != f"{table}_{day:%Y%m%d}":
                await pool.execute(f"DROP TABLE {name}")


async def test_every_partitioned_table_of_the_schema_is_kept(pool: Pool) -> None:
    rows = await pool.fetch("SELECT partrelid::regclass::text AS name FROM pg_partitioned_table")
    assert {row["name"] for row in rows} == set(NAMES)


async def test_partitions_are_made_ahead_once(pool: Pool) -> None:
    expected = {f"{table}_{day:%Y%m%d}" for table in NAMES for day in DAYS}
    report = await ahead(pool)
    assert set(report.created) == expected
    assert set().union(*[await names_of(pool, table) for table in NAMES]) == expected
    assert await ahead(pool) == PartitionReport()
    # The next day needs one more each.
    assert set((await ahead(pool, TODAY + timedelta(days=1))).created) == {f"{table}_20260619" for table in NAMES}


async def test_a_partition_is_like_its_parent(pool: Pool) -> None:
    await ahead(pool)
    for table in NAMES:
        counts = await pool.fetchrow(
            """
            SELECT
                (SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass) AS of_parent,
                (SELECT count(*) FROM pg_index WHERE indrelid = $2::text::regclass) AS of_partition,
                (
                    SELECT count(*)
                    FROM pg_index
                    JOIN pg_inherits ON pg_inherits.inhrelid = pg_index.indexrelid
                    WHERE pg_index.indrelid = $2::text::regclass
                ) AS attached
            """,
            table,
            f"{table}_20260615",
        )
        assert counts is not None
        # None is missing, and none was made a second time by attaching.
        assert counts["of_parent"] == counts["of_partition"] == counts["attached"]


async def test_ids_go_to_the_partition_of_their_day(pool: Pool) -> None:
    await ahead(pool)
    lower, upper = day_bounds(TODAY)
    last = (int.from_bytes(upper, "big") - 1).to_bytes(16, "big")
    for row_id, place in [(lower, "task_history_20260615"), (last, "task_history_20260615"), (upper, "task_history_20260616")]:
        await insert(pool, "task_history", id=row_id)
        assert await place_of(pool, "task_history", "id", row_id) == place
    await insert(pool, "task_history", id=id_of(OLD))
    assert await place_of(pool, "task_history", "id", id_of(OLD)) == "task_history_default"


@pytest.mark.parametrize("offset", [-1, 0, DAY_US - 1, DAY_US])
def test_a_day_is_utc(offset: int) -> None:
    midnight = NOW_US - DAY_US // 2
    assert day_of(Micros(midnight + offset)) == TODAY + timedelta(days=offset // DAY_US)


async def test_rows_that_came_first_move_into_their_partition(pool: Pool) -> None:
    first, second, old = id_of(TODAY, 1), id_of(TODAY, 2), id_of(OLD)
    for row_id in (first, second, old):
        await insert(pool, "task_history", id=row_id, tags=["a"])
        await insert(pool, "task_log", task_id=row_id, message="said")
    report = await ahead(pool)
    assert (report.moved, report.left_in_default, report.deferred) == (4, (), ())
    assert len(report.created) == 25
    for row_id, place in [(first, "20260615"), (second, "20260615"), (old, "default")]:
        assert await place_of(pool, "task_history", "id", row_id) == f"task_history_{place}"
        assert await place_of(pool, "task_log", "task_id", row_id) == f"task_log_{place}"
    assert await pool.fetchval("SELECT count(*) FROM task_log WHERE message = 'said'") == 3


async def test_too_many_rows_stay_where_they_are_and_it_is_said(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "BATCH_ROWS", 2)
    for number in range(3):
        await insert(pool, "attempt", task_id=id_of(TODAY, number))
    report = await ahead(pool)
    assert report.left_in_default == ("attempt_20260615",)
    assert len(report.created) == 24
    assert report.moved == 0
    await insert(pool, "attempt", task_id=id_of(TODAY, 4))
    assert await pool.fetchval("SELECT count(*) FROM attempt_default") == 4


async def test_replicas_make_them_at_once_without_harm(pool: Pool) -> None:
    reports = list(await asyncio.gather(ahead(pool), ahead(pool), ahead(pool)))
    # Who had to wait for too long has put off what the other made.
    reports.append(await ahead(pool))
    created = [name for report in reports for name in report.created]
    assert len(created) == len(set(created)) == 25
    assert [len(await names_of(pool, table)) for table in NAMES] == [5] * 5


async def test_a_table_in_use_is_tried_again_later(pool: Pool) -> None:
    async with pool.acquire() as writer:
        async with writer.transaction():
            await insert(writer, "run_history", id=id_of(TODAY))
            report = await ahead(pool)
            assert set(report.deferred) == {f"run_history_{day:%Y%m%d}" for day in DAYS}
            assert len(report.created) == 20
        report = await ahead(pool)
    assert set(report.created) == {f"run_history_{day:%Y%m%d}" for day in DAYS}
    assert report.moved == 1
    assert not report.deferred


async def test_days_go_when_the_retention_is_over(pool: Pool) -> None:
    await ahead(pool, OLD)
    for day in (OLD, LAST_KEPT):
        await insert(pool, "task_history", id=id_of(day))
    report = await run(pool)
    gone = (OLD - timedelta(days=1), OLD)
    assert report.dropped == tuple(f"{table}_{day:%Y%m%d}" for day in gone for table in NAMES)
    assert (report.kept, report.deferred) == ((), ())
    assert [row["id"] for row in await pool.fetch("SELECT id FROM task_history")] == [id_of(LAST_KEPT)]
    assert await run(pool) == PartitionReport()


async def test_how_long_is_a_setting(pool: Pool) -> None:
    await make_only(pool, TODAY - timedelta(days=2))
    assert not (await run(pool, settings=RetentionSettings(timedelta(days=2)))).dropped
    assert len((await run(pool, settings=RetentionSettings(timedelta(days=1)))).dropped) == 5
    with pytest.raises(ValueError, match="a day at least"):
        RetentionSettings(timedelta(hours=23))


@pytest.mark.parametrize("refers", ["task", "run", "history_of_older_run", "dependent"])
async def test_a_day_that_something_live_refers_to_is_kept(pool: Pool, refers: str) -> None:
    await make_only(pool, OLD)
    wanted, run_id = id_of(OLD, 5), id_of(OLD - timedelta(days=3))
    match refers:
        case "task":
            await insert(pool, "task", id=wanted)
        case "run":
            await insert(pool, "run", id=wanted)
        case "history_of_older_run":
            await insert(pool, "run", id=run_id)
            await insert(pool, "task_history", id=wanted, run_id=run_id)
        case _:
            depends_on = id_of(TODAY, 7) + wanted
            await insert(pool, "task", id=id_of(TODAY), state="blocked", depends_on=depends_on)
    report = await run(pool)
    assert not report.dropped
    assert report.kept == tuple(f"{table}_{OLD:%Y%m%d}" for table in NAMES)
    await pool.execute("DELETE FROM task")
    await pool.execute("DELETE FROM run")
    assert len((await run(pool)).dropped) == 5


async def test_others_that_are_live_keep_no_day(pool: Pool) -> None:
    await make_only(pool, OLD)
    await insert(pool, "task", id=id_of(LAST_KEPT))
    await insert(pool, "task", id=id_of(TODAY), state="blocked", depends_on=id_of(LAST_KEPT))
    await insert(pool, "run", id=id_of(OLD - timedelta(days=3)))
    await insert(pool, "task_history", id=id_of(OLD), run_id=id_of(OLD))
    assert len((await run(pool)).dropped) == 5


async def test_a_day_in_use_is_dropped_later(pool: Pool) -> None:
    await make_only(pool, OLD)
    async with pool.acquire() as reader:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM task_log")
            report = await run(pool)
        assert f"task_log_{OLD:%Y%m%d}" in report.deferred
        assert f"task_log_{OLD:%Y%m%d}" not in report.dropped
        assert len(report.dropped) == 4
    assert (await run(pool)).dropped == (f"task_log_{OLD:%Y%m%d}",)


async def test_partitions_of_others_are_left_alone(pool: Pool) -> None:
    lower, upper = (f"{row_id.hex()}" for row_id in (id_of(OLD), id_of(OLD, 1)))
    bounds = f"FOR VALUES FROM ('{lower}') TO ('{upper}')"
    await pool.execute(f"CREATE TABLE attempt_{OLD:%Y%m%d} PARTITION OF attempt {bounds}")
    await pool.execute(f"CREATE TABLE attempt_of_mine PARTITION OF task_log {bounds}")
    assert not (await run(pool)).dropped


async def test_a_table_in_the_way_is_an_error(pool: Pool) -> None:
    await pool.execute("CREATE TABLE attempt_20260615 ()")
    with pytest.raises(StoreError, match="already exists"):
        await ahead(pool)


async def test_a_clock_that_runs_ahead_drops_nothing_young(pool: Pool) -> None:
    now_us: int = await pool.fetchval("SELECT now()")
    today = day_of(Micros(now_us))
    await make_only(pool, today)
    report = await run(pool, now_us=now_us + 400 * DAY_US)
    assert not report.dropped
    assert set(report.created) >= {f"{table}_{today + timedelta(days=400):%Y%m%d}" for table in NAMES}


async def test_rows_outside_of_the_partitions_are_deleted_after_the_retention(pool: Pool) -> None:
    live = id_of(OLD, 9)
    await insert(pool, "task", id=live)
    # Old and ended long ago; old but ended lately; of a live task; young.
    for row_id, at in [(id_of(OLD, 1), LONG_AGO_US), (id_of(OLD, 2), NOW_US), (live, LONG_AGO_US), (id_of(TODAY), NOW_US)]:
        await insert(pool, "run_history", id=row_id, ended_at=at)
        await insert(pool, "attempt", task_id=row_id, ended_at=at)
        await insert(pool, "task_log", task_id=row_id, at=at)
        await insert(pool, "checkpoint", task_id=row_id, saved_at=at)
    report = await run(pool)
    assert report.deleted == {"run_history_default": 2, "attempt_default": 1, "task_log_default": 1, "checkpoint_default": 1}
    for table in ("attempt", "task_log", "checkpoint"):
        left = await pool.fetch(f"SELECT task_id FROM {table} ORDER BY task_id")
        assert [row["task_id"] for row in left] == [id_of(OLD, 2), live, id_of(TODAY)]


async def test_ended_tasks_outside_of_the_partitions_stay_while_something_live_needs_them(pool: Pool) -> None:
    of_run, waited_for, lately, old = (id_of(OLD, number) for number in range(4))
    await insert(pool, "run", id=id_of(OLD, 9))
    await insert(pool, "task", id=id_of(TODAY), state="blocked", depends_on=waited_for)
    await insert(pool, "task_history", id=of_run, run_id=id_of(OLD, 9), ended_at=LONG_AGO_US)
    await insert(pool, "task_history", id=waited_for, ended_at=LONG_AGO_US)
    await insert(pool, "task_history", id=lately, ended_at=NOW_US)
    await insert(pool, "task_history", id=old, ended_at=LONG_AGO_US)
    assert (await run(pool)).deleted == {"task_history_default": 1}
    left = await pool.fetch("SELECT id FROM task_history ORDER BY id")
    assert [row["id"] for row in left] == [of_run, waited_for, lately]


async def test_decisions_answers_workers_and_keys_have_their_time(pool: Pool) -> None:
    for number, at in enumerate((LONG_AGO_US, NOW_US)):
        await insert(pool, "fire", job_id=bytes(16), due_at=number, decided_at=at)
        await insert(pool, "fire_span", job_id=bytes(16), since=number, until=number, decided_at=at)
        await insert(pool, "audit_record", id=bytes([number]) * 16, at=at)
        await insert(pool, "worker", id=f"w{number}", last_heartbeat_at=at)
    await insert(pool, "worker", id="silent", last_heartbeat_at=LONG_AGO_US, offline=False)
    for number, times in enumerate([(None, None), (NOW_US, LONG_AGO_US), (LONG_AGO_US, None), (NOW_US, None)]):
        revoked_at, expires_at = times
        await insert(
            pool, "api_key", id=bytes([number]) * 16, digest=bytes([number]) * 32, revoked_at=revoked_at, expires_at=expires_at
        )
    for key, age_us in [("old", DAY_US + 1), ("young", DAY_US)]:
        await insert(pool, "idempotency", key=key, created_at=NOW_US - age_us)
    report = await run(pool)
    assert report.deleted == {"fire": 1, "fire_span": 1, "worker": 1, "api_key": 2, "audit_record": 1, "idempotency": 1}
    assert [row["id"][0] for row in await pool.fetch("SELECT id FROM api_key ORDER BY id")] == [0, 3]
    assert await pool.fetchval("SELECT string_agg(key, ',') FROM idempotency") == "young"
    assert await pool.fetchval("SELECT string_agg(id, ',' ORDER BY id) FROM worker") == "silent,w1"


async def test_deliveries_are_kept_for_a_week_after_their_end(pool: Pool) -> None:
    for number, age_us in enumerate((7 * DAY_US + 1, 7 * DAY_US)):
        await insert(pool, "webhook_delivery_history", id=bytes([number]) * 16, ended_at=NOW_US - age_us)
    assert (await run(pool)).deleted == {"webhook_delivery_history": 1}
    assert await pool.fetchval("SELECT count(*) FROM webhook_delivery_history") == 1


async def test_deleted_jobs_go_with_their_versions(pool: Pool) -> None:
    gone, lately, running = (bytes([number]) * 16 for number in range(3))
    for job_id, state, at in [(gone, "deleted", LONG_AGO_US), (lately, "deleted", NOW_US), (running, "deleted", LONG_AGO_US)]:
        await insert(pool, "job", id=job_id, state=state, updated_at=at, version=2)
        for version in (1, 2):
            await insert(pool, "job_version", job_id=job_id, version=version)
    await insert(pool, "run", id=id_of(TODAY), job_id=running)
    assert (await run(pool)).deleted == {"job_version": 2, "job": 1}
    left = await pool.fetch("SELECT id FROM job ORDER BY id")
    assert [row["id"] for row in left] == [lately, running]
    assert await pool.fetchval("SELECT count(*) FROM job_version") == 4


async def test_versions_go_that_were_replaced_long_ago(pool: Pool) -> None:
    job_id = bytes(16)
    await insert(pool, "job", id=job_id, version=5)
    for version, at in [(1, 0), (2, 0), (3, 0), (4, LONG_AGO_US), (5, NOW_US)]:
        await insert(pool, "job_version", job_id=job_id, version=version, created_at=at)
    await insert(pool, "run", id=id_of(TODAY), job_id=job_id, job_version=2)
    assert (await run(pool)).deleted == {"job_version": 2}
    # 2: a live run is pinned to it. 4: runs of the days that are kept may be. 5: it is the job's.
    left = await pool.fetch("SELECT version FROM job_version ORDER BY version")
    assert [row["version"] for row in left] == [2, 4, 5]
    await pool.execute("DELETE FROM run")
    assert (await run(pool)).deleted == {"job_version": 1}


async def test_deleting_goes_batch_by_batch_and_knows_an_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "BATCH_ROWS", 2)
    monkeypatch.setattr(partitions, "BATCHES_MAX", 3)
    for due_at in range(9):
        await insert(pool, "fire", job_id=bytes(16), due_at=due_at, decided_at=LONG_AGO_US)
    report = await run(pool)
    assert (report.deleted, report.deferred) == ({"fire": 6}, ("fire",))
    report = await run(pool)
    assert (report.deleted, report.deferred) == ({"fire": 3}, ())


async def test_a_row_that_a_commit_holds_is_passed_over(pool: Pool) -> None:
    for key in ("held", "free"):
        await insert(pool, "idempotency", key=key, created_at=NOW_US - 2 * DAY_US)
    async with pool.acquire() as journal, journal.transaction():
        await journal.execute("UPDATE idempotency SET created_at = $1 WHERE key = 'held'", NOW_US)
        assert (await run(pool)).deleted == {"idempotency": 1}
    assert not (await run(pool)).deleted
    assert await pool.fetchval("SELECT key FROM idempotency") == "held"


async def test_asking_whether_a_day_is_alive_reads_little(pool: Pool) -> None:
    """It is asked while everybody else is kept out of the history."""
    await ahead(pool)
    async with pool.acquire() as conn:
        await conn.execute(
            """
            INSERT INTO run (id, job_id, job_version, created_at, cancelled, project, state, trigger)
            SELECT gen_random_uuid(), gen_random_uuid(), 1, now(), false, 'p', 'running', 'manual' FROM generate_series(1, 2000)
            """
        )
        await conn.execute(
            """
            INSERT INTO task_history (
                id, run_id, created_at, updated_at, ended_at, position, attempt, failed_attempts, lost_attempts, priority,
                project, state, kind, trigger_rule, queue, name, key, error, traceparent, spec, output, error_output
            )
            SELECT
                ('019ec8dc-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, gen_random_uuid(), now(), now(), now(),
                0, 1, 0, 0, 5, 'p', 'succeeded', 'command', 'all_success', 'q', 'n', '', '', '', '', '', ''
            FROM generate_series(1, 5000) AS n
            """
        )
        await conn.execute("ANALYZE run, task_history")
        # The parameters are put in, as EXPLAIN does not take any for a prepared statement of the driver.
        lower, upper = (f"'{row_id.hex()}'::uuid" for row_id in day_bounds(TODAY))
        statement = partitions._SQL["is_alive"].replace("$1", lower).replace("$2", upper)
        plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {statement}"))
    assert "Seq Scan on task_history" not in plan, plan
    assert "run_id_position_idx" in plan, plan
