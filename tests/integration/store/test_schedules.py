"""What is due soon is read in the order it fires, by an index, page by page."""

from __future__ import annotations

import contextlib
import re

import pytest

from foliot_scheduler.actors.schedule_loader import PooledSchedules
from foliot_scheduler.core.types import JobId, Micros
from foliot_scheduler.store import schedules
from foliot_scheduler.store.errors import StoreUnavailable
from foliot_scheduler.store.pool import Pool, Row
from foliot_scheduler.store.rows import job_row
from tests.integration.store.history_support import insert

SOON = Micros(1_000_000)
LATER = Micros(2_000_000)


def job_id(number: int) -> JobId:
    return JobId(number.to_bytes(16, "big"))


async def pages_of(pool: Pool, *, since: int = SOON, until: int = LATER, shard: int = 0) -> list[list[JobId]]:
    async with pool.acquire() as conn:
        return [page async for page in schedules.due_jobs(conn, shard, since=Micros(since), until=Micros(until))]


async def test_jobs_of_a_span_come_in_the_order_they_fire(pool: Pool) -> None:
    for number, fires_at in enumerate([LATER - 1, SOON, LATER, SOON - 1, None, SOON + 5]):
        await insert(pool, "job", id=job_id(number), fires_at=fires_at)
    await insert(pool, "job", id=job_id(9), fires_at=SOON, shard=1)
    assert await pages_of(pool) == [[job_id(1), job_id(5), job_id(0)]]
    assert await pages_of(pool, since=0, until=SOON) == [[job_id(3)]]
    assert await pages_of(pool, shard=1) == [[job_id(9)]]
    assert await pages_of(pool, shard=2) == []


async def test_jobs_of_one_instant_are_split_into_pages_without_loss(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "PAGE_ROWS", 2)
    for number in range(5):
        await insert(pool, "job", id=job_id(number), fires_at=SOON)
    pages = await pages_of(pool)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {found for page in pages for found in page} == {job_id(number) for number in range(5)}


async def test_rows_are_read_while_pages_are(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "PAGE_ROWS", 1)
    for number in range(3):
        await insert(pool, "job", id=job_id(number), fires_at=SOON + number, version=2, waiting_runs=[7, 8])
        for version in (1, 2):
            await insert(pool, "job_version", job_id=job_id(number), version=version, spec=bytes([number, version]))
    found: list[Row] = []
    async with PooledSchedules(pool, 0).reading() as reader:
        async with contextlib.aclosing(reader.due_jobs(since=Micros(0), until=LATER)) as pages:
            async for page in pages:
                found += await reader.read_jobs(page)
        assert await reader.read_jobs([job_id(0), job_id(99)]) == found[:1]
    assert [(row["id"], row["spec"]) for row in found] == [(job_id(number), bytes([number, 2])) for number in range(3)]
    # As the scheduler takes them further.
    job = job_row(found[0])
    assert (job.version, job.waiting_runs, job.fires_at, job.next_due_at) == (2, (7, 8), SOON, None)


async def test_a_reader_who_stops_early_leaves_no_transaction(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "PAGE_ROWS", 1)
    for number in range(3):
        await insert(pool, "job", id=job_id(number), fires_at=SOON)
    async with pool.acquire() as conn:
        async with contextlib.aclosing(schedules.due_jobs(conn, 0, since=SOON, until=LATER)) as pages:
            await anext(pages)
            assert conn.is_in_transaction()
        assert not conn.is_in_transaction()


async def test_what_the_reader_raises_is_its_own(pool: Pool) -> None:
    await insert(pool, "job", id=job_id(1), fires_at=SOON)

    async def fail() -> None:
        async with (
            PooledSchedules(pool, 0).reading() as reader,
            contextlib.aclosing(reader.due_jobs(since=SOON, until=LATER)) as pages,
        ):
            await anext(pages)
            raise ValueError("mine")

    # Not taken for something that the database has said.
    with pytest.raises(ValueError, match=r"^mine$"):
        await fail()


async def test_a_cut_connection_is_unavailable(pool: Pool) -> None:
    await insert(pool, "job", id=job_id(1), fires_at=SOON)
    async with pool.acquire() as conn, pool.acquire() as other:
        pages = schedules.due_jobs(conn, 0, since=SOON, until=LATER)
        await anext(pages)
        await other.execute("SELECT pg_terminate_backend($1, 10000)", conn.get_server_pid())
        with pytest.raises(StoreUnavailable):
            await anext(pages)


async def test_reading_ahead_uses_its_index(pool: Pool) -> None:
    """It is read twice a minute among all jobs, of which few fire soon: nothing else may be touched, and nothing sorted."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            """
            INSERT INTO job (id, version, fires_at, created_at, updated_at, project, state, name, surface)
            SELECT
                lpad(to_hex(n), 32, '0')::uuid, 1,
                CASE WHEN n % 2 = 0 THEN timestamptz 'epoch' + n * interval '1 second' END,
                now(), now(), 'p', 'active', 'j', ''
            FROM generate_series(1, 100000) AS n
            """
        )
        await conn.execute(
            "INSERT INTO job_version (job_id, version, created_at, spec) SELECT id, 1, created_at, '' FROM job",
        )
        await conn.execute("ANALYZE job, job_version")
        # What the server plans for parameters it is told with each execution, and for those it is not.
        for mode in ("force_custom_plan", "force_generic_plan"):
            await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
            await conn.execute(f"PREPARE ahead_{mode} (integer, timestamptz, timestamptz) AS {schedules._SQL['due_jobs']}")
            await conn.execute(f"PREPARE rows_{mode} (uuid[]) AS {schedules._SQL['jobs_by_id']}")
            plan = "\n".join(
                row[0]
                for row in await conn.fetch(
                    f"EXPLAIN (ANALYZE, TIMING off, BUFFERS off) EXECUTE ahead_{mode} (0, 'epoch', 'epoch'::timestamptz + '90s')"
                )
            )
            assert "Index Scan using job_by_fire on job" in plan, plan
            assert "Sort" not in plan, plan
            assert re.search(r"rows=44(\.00)? ", plan), plan
            ids = ", ".join(f"'{job_id(number).hex()}'" for number in range(1, 11))
            plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN EXECUTE rows_{mode} (ARRAY[{ids}]::uuid[])"))
            assert "Index Scan using job_pkey" in plan, plan
            assert "Index Scan using job_version_pkey" in plan, plan
