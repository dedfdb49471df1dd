"""Due times: what a schedule's next ones are, and what became of those that have passed."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.job_pb2 import (
    CreateJobRequest,
    DeleteJobRequest,
    Fire,
    Job,
    JobSpec,
    ListFiresRequest,
    PreviewScheduleRequest,
    Schedule,
)
from foliot_scheduler.core.types import JobId
from foliot_scheduler.store.fires import list_fires
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack
from tests.integration.store.history_support import insert

GHOST = str(uuid.UUID(int=7))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(instant: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp


async def create(stack: Stack, cron: str = "", **fields: object) -> Job:
    schedule = Schedule(cron=cron) if cron else None
    request = CreateJobRequest(spec=JobSpec(name="j", schedule=schedule), **fields)  # type: ignore[arg-type] # by name
    return (await stack.client.jobs.CreateJob(request)).job


async def preview(stack: Stack, **fields: object) -> list[datetime]:
    request = PreviewScheduleRequest(**fields)  # type: ignore[arg-type] # by name
    return [due.ToDatetime(UTC) for due in (await stack.client.jobs.PreviewSchedule(request)).due_at]


async def error_of(call: Awaitable[object]) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await call
    return caught.value


async def test_a_schedule_is_looked_at_before_it_is_stored(stack: Stack) -> None:
    berlin = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = datetime(2027, 3, 27, 12, tzinfo=UTC)
    # The 28th has no half past two: it fires at the first instant after the gap.
    assert await preview(stack, schedule=berlin, after=at(spring), count=2) == [
        datetime(2027, 3, 28, 1, tzinfo=UTC),
        datetime(2027, 3, 29, 0, 30, tzinfo=UTC),
    ]
    assert await preview(stack, schedule=Schedule(cron="@every 90s"), after=at(NOON), count=2) == [
        NOON + timedelta(seconds=90),
        NOON + timedelta(seconds=180),
    ]
    assert len(await preview(stack, schedule=Schedule(cron="@daily"))) == 10
    leap_days = await preview(stack, schedule=Schedule(cron="0 0 29 2 *"), after=at(NOON), count=1_000)
    assert (len(leap_days), leap_days[0]) == (1_000, datetime(2028, 2, 29, tzinfo=UTC))


async def test_a_preview_ends_with_the_calendar(stack: Stack) -> None:
    late = at(datetime(9899, 6, 1, tzinfo=UTC))
    assert await preview(stack, schedule=Schedule(cron="@yearly"), after=late, count=1_000) == [datetime(9900, 1, 1, tzinfo=UTC)]
    assert await preview(stack, schedule=Schedule(cron="@yearly"), after=at(datetime(9999, 1, 1, tzinfo=UTC))) == []


async def test_the_schedule_of_a_job_is_previewed(stack: Stack) -> None:
    every = await create(stack, "@every 1h", paused=True)
    created = every.created_at.ToDatetime(UTC)
    assert await preview(stack, job_id=every.id, count=2) == [created + timedelta(hours=1), created + timedelta(hours=2)]
    assert await preview(stack, job_id=(await create(stack)).id) == []
    await stack.client.jobs.DeleteJob(DeleteJobRequest(job_id=every.id))
    assert await preview(stack, job_id=every.id) == []
    foreign = stack.acting_in("other").jobs.PreviewSchedule(PreviewScheduleRequest(job_id=every.id))
    assert (await error_of(foreign)).reason is ErrorReason.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (PreviewScheduleRequest(), "schedule"),
        (PreviewScheduleRequest(schedule=Schedule(cron="nonsense")), "schedule.cron"),
        (PreviewScheduleRequest(schedule=Schedule(cron="@daily", timezone="Mars/Base")), "schedule.timezone"),
        (PreviewScheduleRequest(schedule=Schedule(cron="@daily"), count=1_001), "count"),
        (PreviewScheduleRequest(schedule=Schedule(cron="@daily"), count=-1), "count"),
        (PreviewScheduleRequest(schedule=Schedule(cron="@daily"), after=Timestamp(nanos=-1)), "after"),
        (PreviewScheduleRequest(schedule=Schedule(cron="@daily"), job_id=GHOST), "schedule"),
        (PreviewScheduleRequest(job_id="x"), "job_id"),
    ],
)
async def test_a_bad_preview_names_its_field(stack: Stack, request_: PreviewScheduleRequest, field: str) -> None:
    error = await error_of(stack.client.jobs.PreviewSchedule(request_))
    assert [violation.field for violation in error.fields] == [field]


async def test_what_became_of_due_times_is_listed_in_pages(stack: Stack, pool: Pool) -> None:
    job = await create(stack, "@daily")
    job_id, run_id = uuid.UUID(job.id).bytes, uuid.UUID(int=9).bytes
    for minute in range(5):
        decision = {"run_id": run_id, "skip_reason": ""} if minute % 2 else {}
        await insert(pool, "fire", job_id=job_id, due_at=minute * 60_000_000, decided_at=minute * 60_000_000 + 5, **decision)
    request = ListFiresRequest(job_id=job.id, page_size=2)
    pages = [(await stack.client.jobs.ListFires(request))]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(await stack.client.jobs.ListFires(request))
    fires = [fire for page in pages for fire in page.fires]
    assert [(fire.due_at.seconds // 60, fire.run_id, fire.skip_reason) for fire in fires] == [
        (minute, str(uuid.UUID(int=9)) if minute % 2 else "", "" if minute % 2 else "misfire") for minute in (4, 3, 2, 1, 0)
    ]
    assert fires[0].decided_at.ToMicroseconds() == 240_000_005
    skipped = (await stack.client.jobs.ListFires(ListFiresRequest(job_id=job.id, skipped_only=True))).fires
    assert [fire.due_at.seconds // 60 for fire in skipped] == [4, 2, 0]
    request.skipped_only = True
    assert [violation.field for violation in (await error_of(stack.client.jobs.ListFires(request))).fields] == ["page_token"]
    foreign = stack.acting_in("other").jobs.ListFires(ListFiresRequest(job_id=job.id))
    assert (await error_of(foreign)).reason is ErrorReason.NOT_FOUND


async def test_due_times_that_were_skipped_together_are_told_one_by_one(stack: Stack, pool: Pool) -> None:
    """Two long pauses, and single due times before, between and after them."""
    job = await create(stack, "@daily")
    job_id, minute = uuid.UUID(job.id).bytes, 60_000_000
    for due in (5, 40, 80):
        await insert(pool, "fire", job_id=job_id, due_at=due * minute, decided_at=0)
    for since, until, reason in ((6, 39, "paused"), (50, 70, "the schedule was changed")):
        span = {"since": since * minute, "until": until * minute + 7, "cron": "*/2 * * * *", "skip_reason": reason}
        await insert(pool, "fire_span", job_id=job_id, decided_at=until * minute + 8, **span)
    expected = [80, *range(70, 49, -2), 40, *range(38, 5, -2), 5]
    fires: list[Fire] = []
    for skipped_only in (False, True):
        for page_size in (1, 4, 100):
            request = ListFiresRequest(job_id=job.id, page_size=page_size, skipped_only=skipped_only)
            fires.clear()
            while True:
                page = await stack.client.jobs.ListFires(request)
                fires += page.fires
                assert len(page.fires) == page_size or not page.next_page_token
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
            assert [fire.due_at.seconds // 60 for fire in fires] == expected
    reasons = {fire.due_at.seconds // 60: (fire.skip_reason, fire.decided_at.ToMicroseconds()) for fire in fires}
    assert reasons[38] == ("paused", 39 * minute + 8)
    assert reasons[70] == ("the schedule was changed", 70 * minute + 8)


async def test_a_year_of_paused_seconds_is_answered_for(stack: Stack, pool: Pool) -> None:
    job = await create(stack, "@daily")
    year = 365 * 86_400
    await insert(pool, "fire_span", job_id=uuid.UUID(job.id).bytes, since=1_000_000, until=year * 1_000_000)
    page = await stack.client.jobs.ListFires(ListFiresRequest(job_id=job.id, page_size=1_000))
    assert [fire.due_at.seconds for fire in page.fires] == list(range(year, year - 1_000, -1))
    assert page.next_page_token


async def test_skipped_due_times_are_found_by_their_index(pool: Pool) -> None:
    """A job that ran ten thousand times and skipped ten costs ten rows."""
    job_id = JobId(bytes(16))
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            """
            INSERT INTO fire (job_id, due_at, run_id, decided_at, skip_reason)
            SELECT
                $1::uuid, timestamptz 'epoch' + n * interval '1 minute', CASE WHEN n % 1000 > 0 THEN $1::uuid END, now(),
                CASE WHEN n % 1000 > 0 THEN '' ELSE 'misfire' END
            FROM generate_series(1, 10000) AS n
            """,
            job_id,
        )
        await conn.execute("ANALYZE fire")
        plan = "\n".join(
            row[0]
            for row in await conn.fetch(
                "EXPLAIN (ANALYZE, TIMING off, BUFFERS off) "
                "SELECT * FROM fire WHERE job_id = $1 AND run_id IS NULL ORDER BY due_at DESC LIMIT 101",
                job_id,
            )
        )
        assert "fire_skipped" in plan, plan
        assert "Rows Removed" not in plan, plan
        page = await list_fires(conn, job_id, skipped_only=True, limit=9)
        assert [row.due_at // 60_000_000 for row in page.rows] == list(range(10_000, 1_000, -1_000))
        rest = await list_fires(conn, job_id, skipped_only=True, limit=9, end=page.end)
        assert ([row.due_at // 60_000_000 for row in rest.rows], rest.end) == ([1_000], b"")
