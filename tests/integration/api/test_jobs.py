"""JobService and RunService on a whole replica."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2, run_pb2, spec_pb2, task_pb2
from foliot.v1.job_pb2 import (
    AddJobTaskRequest,
    CreateJobRequest,
    DeleteJobRequest,
    DeleteJobTaskRequest,
    GetJobRequest,
    Job,
    JobSpec,
    JobTask,
    ListJobsRequest,
    PauseJobRequest,
    ResumeJobRequest,
    Schedule,
    TriggerJobRequest,
    UpdateJobRequest,
    UpdateJobTaskRequest,
)
from foliot.v1.run_pb2 import CancelRunRequest, GetRunRequest, ListRunsRequest, WatchRunRequest
from tests.integration.api.api_stack import Stack, binary_work

GHOST = str(uuid.UUID(int=7))


def node(key: str, *dependencies: str) -> JobTask:
    return JobTask(key=key, dependencies=dependencies, spec=spec_pb2.TaskSpec(binary=binary_work()))


async def create(stack: Stack, *tasks: JobTask, **fields: object) -> Job:
    spec = JobSpec(**{"name": "j", "tasks": tasks, **fields})  # type: ignore[arg-type] # by name
    return (await stack.client.jobs.CreateJob(CreateJobRequest(spec=spec))).job


async def get(stack: Stack, job_id: str) -> Job:
    return (await stack.client.jobs.GetJob(GetJobRequest(job_id=job_id))).job


async def trigger(stack: Stack, job: Job) -> run_pb2.Run:
    return (await stack.client.jobs.TriggerJob(TriggerJobRequest(job_id=job.id))).run


async def error_of(call: Awaitable[object]) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await call
    return caught.value


async def test_a_job_is_created_and_shown(stack: Stack) -> None:
    job = await create(stack, node("a"), node("b", "a"), node("c", "a"), schedule=Schedule(cron="@daily"), tags=["t"])
    assert (job.state, job.version, job.project) == (job_pb2.JOB_STATE_ACTIVE, 1, "default")
    assert job.HasField("next_due_at")
    assert job.spec.schedule.cron == "@daily"
    assert dict(job.spec.tasks[0].spec.binary.environment) == {"TOKEN": "******"}
    shown = await get(stack, job.id)
    assert [list(level.keys) for level in shown.levels] == [["a"], ["b", "c"]]
    del shown.levels[:]
    assert shown == job
    assert (await error_of(stack.acting_in("other").jobs.GetJob(GetJobRequest(job_id=job.id)))).reason is ErrorReason.NOT_FOUND


async def test_a_bad_dag_changes_nothing(stack: Stack) -> None:
    for tasks, reason, metadata in (
        ([node("a", "b"), node("b", "a")], ErrorReason.DEPENDENCY_CYCLE, "path"),
        ([node("a", "ghost")], ErrorReason.UNKNOWN_DEPENDENCY, "ids"),
        ([node("a"), node("a")], ErrorReason.DUPLICATE_KEY, "ids"),
    ):
        error = await error_of(create(stack, *tasks))
        assert error.reason is reason
        assert metadata in error.metadata
    assert not (await stack.client.jobs.ListJobs(ListJobsRequest())).jobs


async def test_a_dag_over_the_limit_is_refused(stack: Stack) -> None:
    spec = JobSpec(name="big")
    spec.tasks.extend([JobTask(key="k")] * 200_000)
    error = await error_of(stack.client.jobs.CreateJob(CreateJobRequest(spec=spec)))
    assert [(violation.field, violation.rule) for violation in error.fields] == [("spec.tasks", "too_many")]


async def test_a_repeated_creation_has_one_effect(stack: Stack) -> None:
    request = CreateJobRequest(spec=JobSpec(name="j"), idempotency_key="k")
    jobs = [(await stack.client.jobs.CreateJob(request)).job for _ in range(2)]
    assert jobs[0] == jobs[1]
    request.spec.name = "other"
    assert (await error_of(stack.client.jobs.CreateJob(request))).reason is ErrorReason.IDEMPOTENCY_MISMATCH


async def test_named_fields_are_updated(stack: Stack) -> None:
    job = await create(stack, node("a"), tags=["t"])
    update = JobSpec(name="new", description="d")
    answer = await stack.client.jobs.UpdateJob(
        UpdateJobRequest(job_id=job.id, spec=update, update_fields=["name", "description"])
    )
    assert (answer.job.spec.name, answer.job.spec.description, list(answer.job.spec.tags)) == ("new", "d", ["t"])
    assert answer.job.version == 2
    error = await error_of(stack.client.jobs.UpdateJob(UpdateJobRequest(job_id=job.id, update_fields=["surface"])))
    assert [violation.field for violation in error.fields] == ["update_fields[0]"]


async def test_a_version_that_is_not_the_current_one_is_refused(stack: Stack) -> None:
    job = await create(stack)
    request = UpdateJobRequest(job_id=job.id, spec=JobSpec(name="new"), update_fields=["name"], version=1)
    await stack.client.jobs.UpdateJob(request)
    error = await error_of(stack.client.jobs.UpdateJob(request))
    assert (error.reason, error.metadata) == (ErrorReason.VERSION_CONFLICT, {"version": "2"})


async def test_updates_at_the_same_time_all_count(stack: Stack) -> None:
    job = await create(stack)
    await asyncio.gather(
        *[stack.client.jobs.AddJobTask(AddJobTaskRequest(job_id=job.id, task=node(f"t{number}"))) for number in range(4)]
    )
    shown = await get(stack, job.id)
    assert sorted(task.key for task in shown.spec.tasks) == ["t0", "t1", "t2", "t3"]
    assert shown.version == 5


async def test_single_tasks_of_a_job(stack: Stack) -> None:
    jobs, job = stack.client.jobs, await create(stack, node("a"), node("b", "a"))
    error = await error_of(jobs.DeleteJobTask(DeleteJobTaskRequest(job_id=job.id, key="a")))
    assert (error.reason, error.metadata) == (ErrorReason.HAS_DEPENDENTS, {"ids": "b"})
    error = await error_of(jobs.UpdateJobTask(UpdateJobTaskRequest(job_id=job.id, task=node("a", "b"))))
    assert error.reason is ErrorReason.DEPENDENCY_CYCLE
    masked = (await get(stack, job.id)).spec.tasks[0]
    masked.spec.priority = 9
    changed = (await jobs.UpdateJobTask(UpdateJobTaskRequest(job_id=job.id, task=masked))).job
    assert changed.spec.tasks[0].spec.priority == 9
    await jobs.DeleteJobTask(DeleteJobTaskRequest(job_id=job.id, key="b"))
    run = await trigger(stack, job)
    claimed = await stack.claim()
    assert (claimed.task.run_id, claimed.task.key, claimed.task.spec.priority) == (run.id, "a", 9)
    assert dict(claimed.task.spec.binary.environment) == {"TOKEN": "secret"}


async def test_pause_resume_delete(stack: Stack) -> None:
    jobs, job = stack.client.jobs, await create(stack, schedule=Schedule(cron="@daily"))
    for _ in range(2):
        paused = (await jobs.PauseJob(PauseJobRequest(job_id=job.id))).job
        assert (paused.state, paused.version, paused.HasField("next_due_at")) == (job_pb2.JOB_STATE_PAUSED, 2, False)
    resumed = (await jobs.ResumeJob(ResumeJobRequest(job_id=job.id))).job
    assert (resumed.state, resumed.HasField("next_due_at")) == (job_pb2.JOB_STATE_ACTIVE, True)
    await jobs.DeleteJob(DeleteJobRequest(job_id=job.id))
    assert (await get(stack, job.id)).state == job_pb2.JOB_STATE_DELETED
    assert not (await jobs.ListJobs(ListJobsRequest())).jobs
    for call in (
        jobs.DeleteJob(DeleteJobRequest(job_id=job.id)),
        jobs.UpdateJob(UpdateJobRequest(job_id=job.id, update_fields=["name"], spec=JobSpec(name="x"))),
        jobs.TriggerJob(TriggerJobRequest(job_id=job.id)),
        jobs.PauseJob(PauseJobRequest(job_id=GHOST)),
    ):
        assert (await error_of(call)).reason is ErrorReason.NOT_FOUND


async def test_jobs_are_listed_without_their_tasks(stack: Stack) -> None:
    made = [await create(stack, node("a"), name=f"j{number}", surface="s" if number else "") for number in range(3)]
    page = await stack.client.jobs.ListJobs(ListJobsRequest(page_size=2, with_total=True))
    assert ([job.spec.name for job in page.jobs], page.total) == (["j2", "j1"], 3)
    assert [(len(job.spec.tasks), job.task_count) for job in page.jobs] == [(0, 1), (0, 1)]
    rest = await stack.client.jobs.ListJobs(ListJobsRequest(page_size=2, page_token=page.next_page_token, with_total=True))
    assert ([job.id for job in rest.jobs], rest.next_page_token) == ([made[0].id], "")
    for request in (ListJobsRequest(name="j1"), ListJobsRequest(surface="s", offset=1)):
        assert [job.spec.name for job in (await stack.client.jobs.ListJobs(request)).jobs] == ["j1"]


async def test_a_run_from_its_trigger_to_its_end(stack: Stack) -> None:
    job = await create(stack, node("a"), node("b", "a"))
    request = TriggerJobRequest(job_id=job.id, idempotency_key="once")
    runs = [(await stack.client.jobs.TriggerJob(request)).run for _ in range(2)]
    assert runs[0] == runs[1]
    run = runs[0]
    assert (run.state, run.trigger, run.job_version) == (run_pb2.RUN_STATE_PENDING, run_pb2.RUN_TRIGGER_MANUAL, 1)
    assert [(count.state, count.count) for count in run.counts] == [
        (spec_pb2.TASK_STATE_BLOCKED, 1),
        (spec_pb2.TASK_STATE_READY, 1),
    ]
    watched = []
    async for answer in stack.client.runs.WatchRun(WatchRunRequest(run_id=run.id)):
        watched.append(answer.run.state)
        if not answer.run.HasField("ended_at"):
            await stack.run_one()
    assert watched[0] == run_pb2.RUN_STATE_PENDING
    assert watched[-1] == run_pb2.RUN_STATE_SUCCEEDED
    ended = (await stack.client.runs.GetRun(GetRunRequest(run_id=run.id))).run
    assert [(task.key, task.state, task.attempt, task.worker_id) for task in ended.tasks] == [
        ("a", spec_pb2.TASK_STATE_SUCCEEDED, 1, "x1"),
        ("b", spec_pb2.TASK_STATE_SUCCEEDED, 1, "x1"),
    ]
    assert [(count.state, count.count) for count in ended.counts] == [(spec_pb2.TASK_STATE_SUCCEEDED, 2)]
    task = (await stack.client.tasks.GetTask(task_pb2.GetTaskRequest(task_id=ended.tasks[1].id))).task
    assert (task.run_id, task.job_id, task.key) == (run.id, job.id, "b")
    assert list(task.dependencies) == [ended.tasks[0].id]


async def test_a_run_is_cancelled_once(stack: Stack) -> None:
    run = await trigger(stack, await create(stack, node("a"), node("b", "a")))
    cancelled = (await stack.client.runs.CancelRun(CancelRunRequest(run_id=run.id))).run
    assert cancelled.state == run_pb2.RUN_STATE_CANCELLED
    error = await error_of(stack.client.runs.CancelRun(CancelRunRequest(run_id=run.id)))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"state": "cancelled"})
    assert (await error_of(stack.client.runs.CancelRun(CancelRunRequest(run_id=GHOST)))).reason is ErrorReason.NOT_FOUND
    other = stack.acting_in("other").runs
    assert (await error_of(other.GetRun(GetRunRequest(run_id=run.id)))).reason is ErrorReason.NOT_FOUND


async def test_runs_are_listed(stack: Stack) -> None:
    job, other = await create(stack, node("a")), await create(stack)
    runs = [await trigger(stack, job) for _ in range(3)]
    await trigger(stack, other)
    await stack.client.runs.CancelRun(CancelRunRequest(run_id=runs[0].id))
    page = await stack.client.runs.ListRuns(ListRunsRequest(job_id=job.id, page_size=2, with_total=True))
    assert ([run.id for run in page.runs], page.total) == ([runs[2].id, runs[1].id], 3)
    rest = await stack.client.runs.ListRuns(
        ListRunsRequest(job_id=job.id, page_size=2, with_total=True, page_token=page.next_page_token)
    )
    assert [run.id for run in rest.runs] == [runs[0].id]
    done = await stack.client.runs.ListRuns(ListRunsRequest(states=[run_pb2.RUN_STATE_CANCELLED, run_pb2.RUN_STATE_SUCCEEDED]))
    assert len(done.runs) == 2


async def test_a_task_of_a_run_keeps_to_its_job(stack: Stack) -> None:
    run = await trigger(stack, await create(stack, node("a")))
    task_id = (await stack.client.runs.GetRun(GetRunRequest(run_id=run.id))).run.tasks[0].id
    request = task_pb2.UpdateTaskRequest(task_id=task_id, update_fields=["dependencies"])
    assert [violation.field for violation in (await error_of(stack.client.tasks.UpdateTask(request))).fields] == [
        "task.dependencies"
    ]
    error = await error_of(stack.client.tasks.DeleteTask(task_pb2.DeleteTaskRequest(task_id=task_id)))
    assert error.reason is ErrorReason.WRONG_STATE
