"""However many jobs there are, and however large, a page of those of one form reads little more than the page."""

from __future__ import annotations

from typing import Any, cast

from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.types import Project
from foliot_scheduler.store import reads
from foliot_scheduler.store.pool import Connection, Pool

PROJECT = Project("p")
JOBS = 2_000
SPEC_BYTES = 10_000
"""Of each job: stored beside its row, in eight pages of TOAST."""


class Watched:
    """A connection that remembers the last statement."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.last: tuple[Any, ...] = ()

    async def fetch(self, *statement: object) -> object:
        self.last = statement
        return await self._conn.fetch(*cast("tuple[str]", statement))


async def test_a_page_of_jobs_of_one_form_reads_its_index_and_no_dag(pool: Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        await conn.execute(
            """
            INSERT INTO job (id, version, created_at, updated_at, project, state, name, surface, shape)
            SELECT
                lpad(to_hex(n), 32, '0')::uuid, 1, now(), now(), 'p', 'active', 'j', '',
                CASE WHEN n % 50 = 0 THEN 'scheduled_http' ELSE 'other' END
            FROM generate_series(1, $1::integer) AS n
            """,
            JOBS,
        )
        await conn.execute("ALTER TABLE job_version ALTER COLUMN spec SET STORAGE EXTERNAL")
        await conn.execute(
            "INSERT INTO job_version (job_id, version, created_at, task_count, head, spec) "
            "SELECT id, 1, created_at, 100, 'head', decode(repeat('61', $1), 'hex') FROM job",
            SPEC_BYTES,
        )
        await conn.execute("ANALYZE job, job_version")
        watched = Watched(conn)
        page = await reads.list_jobs(cast("Connection", watched), PROJECT, shape=JobShape.SCHEDULED_HTTP, limit=20)
        assert [int.from_bytes(row.id, "big") for row in page.rows] == [JOBS - 50 * number for number in range(20)]
        assert {(row.spec, row.task_count, row.shape) for row in page.rows} == {(b"head", 100, JobShape.SCHEDULED_HTTP)}
        text, *arguments = watched.last
        plan = "\n".join(
            row[0] for row in await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS off, TIMING off, COSTS off) {text}", *arguments)
        )
        assert "using job_by_shape" in plan, plan
        assert "Rows Removed" not in plan, plan
