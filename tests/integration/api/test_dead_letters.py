"""Dead letters: runs that failed for good, listed until they are redriven."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import run_pb2
from foliot.v1.job_pb2 import CreateJobRequest, DeleteJobRequest, Job, JobSpec, JobTask, Schedule, TriggerJobRequest
from foliot.v1.run_pb2 import GetRunRequest, ListDeadLettersRequest, RedriveRunRequest, Run
from foliot.v1.spec_pb2 import HttpWork, TaskSpec
from foliot.v1.task_pb2 import CancelTaskRequest
from foliot_scheduler.core.model import Trigger
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.types import DEFAULT_PROJECT
from foliot_scheduler.store import lists, reads
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, binary_work, replica

BINARY = TaskSpec(binary=binary_work())
GHOST = str(uuid.UUID(int=7))


async def create(stack: Stack, spec: TaskSpec = BINARY, *, schedule: Schedule | None = None) -> Job:
    job = JobSpec(name="j", tasks=[JobTask(key="a", spec=spec)], schedule=schedule)
    return (await stack.client.jobs.CreateJob(CreateJobRequest(spec=job))).job


async def fail(stack: Stack, job: Job) -> Run:
    """A run that has failed for good."""
    run = (await stack.client.jobs.TriggerJob(TriggerJobRequest(job_id=job.id))).run
    await stack.run_one(fails=True)
    return run


async def redrive(stack: Stack, run_id: str, key: str = "") -> Run:
    return (await stack.client.runs.RedriveRun(RedriveRunRequest(run_id=run_id, idempotency_key=key))).run


async def get(stack: Stack, run_id: str) -> Run:
    return (await stack.client.runs.GetRun(GetRunRequest(run_id=run_id))).run


async def dead(stack: Stack, **filters: object) -> list[str]:
    request = ListDeadLettersRequest(**filters)  # type: ignore[arg-type] # by name
    return [run.id for run in (await stack.client.runs.ListDeadLetters(request)).runs]


async def error_of(call: Awaitable[object]) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await call
    return caught.value


async def test_a_failed_run_is_a_dead_letter_until_it_is_redriven(stack: Stack) -> None:
    job, other = await create(stack), await create(stack)
    first, second, elsewhere = [await fail(stack, each) for each in (job, job, other)]
    assert await dead(stack) == [elsewhere.id, second.id, first.id]
    assert await dead(stack, job_id=job.id) == [second.id, first.id]
    request = ListDeadLettersRequest(page_size=2, with_tasks=True)
    page = await stack.client.runs.ListDeadLetters(request)
    assert [(run.tasks[0].error, run.tasks[0].exit_code) for run in page.runs] == [("boom", 7)] * 2
    request.page_token = page.next_page_token
    rest = await stack.client.runs.ListDeadLetters(request)
    assert ([run.id for run in rest.runs], rest.next_page_token) == ([first.id], "")
    run = await redrive(stack, second.id)
    assert (run.trigger, run.redrive_of, run.job_id) == (run_pb2.RUN_TRIGGER_REDRIVE, second.id, job.id)
    assert (await get(stack, second.id)).redriven_by == run.id
    assert (await get(stack, run.id)).redrive_of == second.id
    assert await dead(stack) == [elsewhere.id, first.id]
    await stack.run_one(fails=True)
    assert await dead(stack) == [run.id, elsewhere.id, first.id]
    assert (await get(stack, run.id)).redrive_of == second.id
    foreign = stack.acting_in("other").runs
    assert not (await foreign.ListDeadLetters(ListDeadLettersRequest())).runs
    assert (await error_of(foreign.RedriveRun(RedriveRunRequest(run_id=first.id)))).reason is ErrorReason.NOT_FOUND


async def test_a_run_is_redriven_once_even_when_two_ask_at_once(stack: Stack) -> None:
    run = await fail(stack, await create(stack))
    asked = await asyncio.gather(*(redrive(stack, run.id) for _ in range(8)), return_exceptions=True)
    (started,) = [reply for reply in asked if isinstance(reply, Run)]
    refusals = [reply for reply in asked if isinstance(reply, FoliotError)]
    assert [(error.reason, error.metadata) for error in refusals] == [(ErrorReason.WRONG_STATE, {"redriven_by": started.id})] * 7
    assert (await error_of(redrive(stack, run.id))).metadata == {"redriven_by": started.id}


async def test_a_redrive_is_remembered_by_the_next_leader(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool) as stack:
        run = await fail(stack, await create(stack))
        started = await redrive(stack, run.id, "once")
    async with replica(database_url, pool) as stack:
        assert (await get(stack, started.id)).redrive_of == run.id
        assert (await redrive(stack, run.id, "once")).id == started.id
        error = await error_of(redrive(stack, run.id))
        assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"redriven_by": started.id})


async def test_only_a_dead_letter_of_a_job_that_is_there_can_be_redriven(stack: Stack) -> None:
    job = await create(stack)
    failed = await fail(stack, job)
    live = (await stack.client.jobs.TriggerJob(TriggerJobRequest(job_id=job.id))).run
    error = await error_of(redrive(stack, live.id))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"state": "pending"})
    await stack.run_one()
    error = await error_of(redrive(stack, live.id))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"state": "succeeded"})
    await stack.client.jobs.DeleteJob(DeleteJobRequest(job_id=job.id))
    error = await error_of(redrive(stack, failed.id))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"state": "deleted"})
    assert await dead(stack) == [failed.id]
    assert (await error_of(redrive(stack, GHOST))).reason is ErrorReason.NOT_FOUND
    assert [violation.field for violation in (await error_of(redrive(stack, "x"))).fields] == ["run_id"]


async def test_dead_letters_of_http_schedules_are_told_apart(stack: Stack) -> None:
    await fail(stack, await create(stack))
    http = TaskSpec(http=HttpWork(url="https://example.test/"), queue="nobody")
    job = await create(stack, http, schedule=Schedule(cron="@yearly"))
    run = (await stack.client.jobs.TriggerJob(TriggerJobRequest(job_id=job.id))).run
    (task,) = (await get(stack, run.id)).tasks
    await stack.client.tasks.CancelTask(CancelTaskRequest(task_id=task.id))
    assert await dead(stack, http_only=True) == [run.id]
    assert await dead(stack, http_only=True, job_id=job.id) == [run.id]
    assert len(await dead(stack)) == 2


async def test_the_list_of_dead_letters_reads_its_index(pool: Pool) -> None:
    """A page among many failed runs, nearly all of which were redriven, touches no more of them than it shows."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            """
            INSERT INTO run_history (
                id, job_id, job_version, created_at, ended_at, cancelled, project, state, trigger, counts, shape, redriven_by
            )
            SELECT
                lpad(to_hex(n), 32, '0')::uuid, gen_random_uuid(), 1, now(), now(), false, 'default', 'failed', $1, '{}',
                CASE n % 2 WHEN 0 THEN 'other' ELSE 'scheduled_http' END,
                CASE WHEN n % 100 > 1 THEN gen_random_uuid() END
            FROM generate_series(1, 20000) AS n
            """,
            Trigger.MANUAL,
        )
        await conn.execute("ANALYZE run_history")
        for shape in (None, JobShape.SCHEDULED_HTTP):
            text, arguments = lists.dead_letter_page(DEFAULT_PROJECT, None, shape, limit=11, offset=0, window=lists.EVERYTHING)
            plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN (ANALYZE, TIMING off, BUFFERS off) {text}", *arguments))
            assert "run_history_default_project_shape_id_idx" in plan, plan
            assert "Seq Scan on run_history" not in plan, plan
            assert "Rows Removed by Filter" not in plan, plan
        page = await reads.list_dead_letters(conn, DEFAULT_PROJECT, limit=5)
        assert [int.from_bytes(row.id, "big") for row in page.rows] == [20_000, 19_901, 19_900, 19_801, 19_800]
