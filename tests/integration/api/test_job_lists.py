"""Lists of jobs by what they consist of and whether they have another due time, and changes of state within an update."""

from __future__ import annotations

import uuid

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2
from foliot.v1.job_pb2 import CreateJobRequest, GetJobRequest, Job, JobSpec, JobTask, ListJobsRequest, Schedule, UpdateJobRequest
from foliot.v1.spec_pb2 import CommandWork, HttpWork, TaskSpec
from foliot_scheduler.api import jobs as jobs_api
from foliot_scheduler.core.types import DEFAULT_PROJECT, JobId
from foliot_scheduler.store import reads
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack

COMMAND = TaskSpec(command=CommandWork(line="true", environment={"TOKEN": "secret"}))
HTTP = TaskSpec(http=HttpWork(url="https://example.test/"))
DAILY = Schedule(cron="@daily")


async def create(stack: Stack, name: str, *specs: TaskSpec, schedule: Schedule | None = DAILY, paused: bool = False) -> Job:
    tasks = [JobTask(key=f"k{number}", spec=spec) for number, spec in enumerate(specs)]
    spec = JobSpec(name=name, tasks=tasks, schedule=schedule)
    return (await stack.client.jobs.CreateJob(CreateJobRequest(spec=spec, paused=paused))).job


async def names(stack: Stack, **filters: object) -> list[str]:
    request = ListJobsRequest(**filters)  # type: ignore[arg-type] # by name
    return [job.spec.name for job in (await stack.client.jobs.ListJobs(request)).jobs]


async def test_jobs_are_listed_by_their_shape(stack: Stack) -> None:
    made = [
        await create(stack, "command", COMMAND),
        await create(stack, "http", HTTP),
        await create(stack, "by hand", COMMAND, schedule=None),
        await create(stack, "two", COMMAND, HTTP),
    ]
    command, http, other = job_pb2.JOB_SHAPE_SCHEDULED_COMMAND, job_pb2.JOB_SHAPE_SCHEDULED_HTTP, job_pb2.JOB_SHAPE_OTHER
    assert [job.shape for job in made] == [command, http, other, other]
    listed = (await stack.client.jobs.ListJobs(ListJobsRequest())).jobs
    assert [(job.shape, job.task_count) for job in listed] == [(other, 2), (other, 1), (http, 1), (command, 1)]
    assert await names(stack, shape=command) == ["command"]
    assert await names(stack, shape=http) == ["http"]
    assert await names(stack, shape=other) == ["two", "by hand"]
    page = await stack.client.jobs.ListJobs(ListJobsRequest(shape=other, page_size=1, with_total=True))
    assert (page.total, len(page.jobs)) == (2, 1)
    # It follows the job's changes.
    update = UpdateJobRequest(job_id=made[0].id, spec=JobSpec(), update_fields=["schedule"])
    assert (await stack.client.jobs.UpdateJob(update)).job.shape == other
    assert await names(stack, shape=command) == []


async def test_jobs_are_listed_with_their_tasks_on_request(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await create(stack, "small", COMMAND)
    await create(stack, "large", *[COMMAND] * 20)
    request = ListJobsRequest(with_tasks=True)
    large, small = (await stack.client.jobs.ListJobs(request)).jobs
    assert small == job
    assert dict(small.spec.tasks[0].spec.command.environment) == {"TOKEN": "******"}
    assert (len(large.spec.tasks), large.task_count) == (20, 20)
    # What does not fit the answer is left out, and what does is still there.
    monkeypatch.setattr(jobs_api, "SPECS_BYTES_MAX", 100)
    large, small = (await stack.client.jobs.ListJobs(request)).jobs
    assert [(len(one.spec.tasks), one.task_count) for one in (large, small)] == [(0, 20), (1, 1)]
    with pytest.raises(FoliotError) as refused:
        await stack.client.jobs.ListJobs(ListJobsRequest(with_tasks=True, page_size=101))
    assert [violation.field for violation in refused.value.fields] == ["page_size"]


async def test_jobs_are_listed_by_whether_their_schedule_goes_on(stack: Stack, pool: Pool) -> None:
    pending, exhausted = job_pb2.SCHEDULE_PROGRESS_PENDING, job_pb2.SCHEDULE_PROGRESS_EXHAUSTED
    await create(stack, "by hand", COMMAND, schedule=None)
    await create(stack, "goes on", COMMAND)
    paused = await create(stack, "paused", COMMAND, paused=True)
    assert not paused.HasField("next_due_at")
    assert await names(stack, progress=pending) == ["paused", "goes on", "by hand"]
    assert await names(stack, progress=exhausted) == []
    # As the row is once the calendar has come to its end.
    await pool.execute("UPDATE job SET next_due_at = NULL, fires_at = NULL WHERE name IN ('goes on', 'paused')")
    assert await names(stack, progress=pending) == ["paused", "by hand"]
    assert await names(stack, progress=exhausted) == ["goes on"]


async def test_an_update_pauses_and_resumes(stack: Stack) -> None:
    job = await create(stack, "old", COMMAND)
    change = UpdateJobRequest(
        job_id=job.id, spec=JobSpec(name="new"), update_fields=["name"], state=job_pb2.JOB_STATE_PAUSED, version=1
    )
    paused = (await stack.client.jobs.UpdateJob(change)).job
    assert (paused.spec.name, paused.state, paused.version) == ("new", job_pb2.JOB_STATE_PAUSED, 2)
    assert not paused.HasField("next_due_at")
    with pytest.raises(FoliotError) as stale:
        await stack.client.jobs.UpdateJob(change)
    assert stale.value.reason is ErrorReason.VERSION_CONFLICT
    resumed = (await stack.client.jobs.UpdateJob(UpdateJobRequest(job_id=job.id, state=job_pb2.JOB_STATE_ACTIVE))).job
    assert (resumed.spec.name, resumed.state, resumed.version) == ("new", job_pb2.JOB_STATE_ACTIVE, 3)
    assert resumed.HasField("next_due_at")
    assert (await stack.client.jobs.GetJob(GetJobRequest(job_id=job.id))).job.state == job_pb2.JOB_STATE_ACTIVE
    for request, field in (
        (UpdateJobRequest(job_id=job.id), "update_fields"),
        (UpdateJobRequest(job_id=job.id, state=job_pb2.JOB_STATE_DELETED), "state"),
    ):
        with pytest.raises(FoliotError) as refused:
            await stack.client.jobs.UpdateJob(request)
        assert [violation.field for violation in refused.value.fields] == [field]


async def test_a_mask_that_comes_back_keeps_the_stored_value(stack: Stack, pool: Pool) -> None:
    job = await create(stack, "masked", COMMAND)
    job.spec.tasks[0].spec.command.line = "false"
    job.spec.tasks[0].spec.command.environment["NEW"] = "shown"
    await stack.client.jobs.UpdateJob(UpdateJobRequest(job_id=job.id, spec=job.spec, update_fields=["tasks"]))
    row = await reads.get_job(pool, DEFAULT_PROJECT, JobId(uuid.UUID(job.id).bytes))
    assert row is not None
    stored = JobSpec.FromString(row.spec).tasks[0].spec.command
    assert stored.line == "false"
    assert dict(stored.environment) == {"TOKEN": "secret", "NEW": "shown"}
