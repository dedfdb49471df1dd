"""What each operation of `schedules` asks of the scheduler."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2, run_pb2, task_pb2
from foliot_gateway.apis.schedules import from_contract, shapes, to_contract
from foliot_gateway.apis.schedules.fields import RULE_STATUS
from foliot_gateway.apis.schedules.identifiers import RUN, SCHEDULE, Reference, read
from foliot_gateway.http import jobs
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import Fault, FaultError, refuse
from foliot_gateway.http.identifiers import IdKind
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply

Found = TypeVar("Found")
Query = TypeVar("Query")
Body = TypeVar("Body")


async def create_schedule(call: Call[NoQuery, shapes.NewSchedule]) -> Reply:
    """`POST /v1/schedules`."""
    backend = call.backend.in_project(call.body.project_id or "")
    request = job_pb2.CreateJobRequest(
        spec=to_contract.job_spec(call.body), paused=not call.body.enabled, idempotency_key=call.idempotency_key
    )
    answer = await backend.ask(backend.jobs.CreateJob, request)
    created = from_contract.schedule_state(answer.job)
    return Reply(status=201, body=created, headers={"location": f"schedules/{created.schedule_id}"})


async def list_schedules(call: Call[shapes.ListQuery, NoBody]) -> Reply:
    """`GET /v1/schedules`."""
    query = call.query
    request = job_pb2.ListJobsRequest(shape=job_pb2.JOB_SHAPE_SCHEDULED_HTTP, with_tasks=True, page_token=query.cursor or "")
    found = await jobs.list_jobs(_in_project(call), request, limit=query.limit)
    page = shapes.SchedulePage(
        items=[from_contract.schedule(job) for job in found.jobs], next_cursor=found.next_page_token or None
    )
    return Reply(status=200, body=page)


async def get_schedule(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /v1/schedules/{schedule_id}`."""
    _, job = await _schedule(call)
    return Reply(status=200, body=from_contract.schedule(job))


async def change_schedule(call: Call[NoQuery, shapes.ScheduleChange]) -> Reply:
    """`PATCH /v1/schedules/{schedule_id}`."""
    change = call.body
    backend, stored = await _schedule(call)
    _refuse_deleted(stored)
    request = job_pb2.UpdateJobRequest(job_id=stored.id, version=change.version)
    to_contract.write_change(request, change, stored.spec)
    if not request.update_fields and not request.state:
        raise refuse(RULE_STATUS, "invalid_field", "The change names no field that can change.")
    answer = await backend.ask(backend.jobs.UpdateJob, request)
    return Reply(status=200, body=from_contract.schedule(answer.job))


async def delete_schedule(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /v1/schedules/{schedule_id}`: softly, and once more changes nothing."""
    backend, job = await _schedule(call)
    if job.state != job_pb2.JOB_STATE_DELETED:
        await backend.ask(backend.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=job.id))
        job = await jobs.read_job(backend, job.id)
    return Reply(status=200, body=from_contract.schedule_state(job))


async def run_now(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /v1/schedules/{schedule_id}:runNow`."""
    backend, job = await _schedule(call)
    _refuse_deleted(job)
    request = job_pb2.TriggerJobRequest(job_id=job.id, idempotency_key=call.idempotency_key, obeys_concurrency_policy=True)
    answer = await backend.ask(backend.jobs.TriggerJob, request)
    return Reply(status=202, body=shapes.Queued(run_id=from_contract.run_id(answer.run), status="queued"))


async def list_runs(call: Call[shapes.RunListQuery, NoBody]) -> Reply:
    """`GET /v1/schedules/{schedule_id}/runs`."""
    query = call.query
    backend, job = await _schedule(call)
    cursor = query.cursor or ""
    if query.status == "skipped":
        fires = job_pb2.ListFiresRequest(job_id=job.id, skipped_only=True, page_size=query.limit, page_token=cursor)
        decided = await backend.ask(backend.jobs.ListFires, fires)
        items, token = [from_contract.skipped(fire, job) for fire in decided.fires], decided.next_page_token
    else:
        states = [state for state, status in from_contract.RUN_STATUS.items() if status == query.status]
        runs = run_pb2.ListRunsRequest(job_id=job.id, states=states, page_size=query.limit, page_token=cursor, with_tasks=True)
        found = await backend.ask(backend.runs.ListRuns, runs)
        items, token = [from_contract.run(run) for run in found.runs], found.next_page_token
    return Reply(status=200, body=shapes.RunPage(items=items, next_cursor=token or None))


async def get_run(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /v1/runs/{run_id}`."""
    backend, run = await _run(call)
    answer = await backend.ask(backend.tasks.GetTask, task_pb2.GetTaskRequest(task_id=run.tasks[0].id))
    return Reply(status=200, body=from_contract.run_details(run, answer.task))


async def list_dead_letters(call: Call[shapes.ListQuery, NoBody]) -> Reply:
    """`GET /v1/dlq`."""
    query = call.query
    request = run_pb2.ListDeadLettersRequest(
        http_only=True, page_size=query.limit, page_token=query.cursor or "", with_tasks=True
    )
    backend = _in_project(call)
    found = await backend.ask(backend.runs.ListDeadLetters, request)
    items = [from_contract.run(run) for run in found.runs]
    return Reply(status=200, body=shapes.RunPage(items=items, next_cursor=found.next_page_token or None))


async def redrive_run(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /v1/dlq/{run_id}:redrive`."""
    backend, run = await _run(call)
    request = run_pb2.RedriveRunRequest(run_id=run.id, idempotency_key=call.idempotency_key)
    answer = await backend.ask(backend.runs.RedriveRun, request)
    return Reply(status=202, body=shapes.Queued(run_id=from_contract.run_id(answer.run), status="queued"))


def _in_project(call: Call[shapes.ListQuery, NoBody]) -> Backend:
    return call.backend.in_project(call.query.project_id or "")


async def _schedule(call: Call[Query, Body]) -> tuple[Backend, job_pb2.Job]:
    """Return the schedule in the path, a deleted one too, and the scheduler in its project; raises FaultError 404."""
    reference = read(SCHEDULE, call.path["schedule_id"])
    backend = call.backend.in_project(reference.project)
    job = await _own(jobs.read_job(backend, reference.uuid), reference, SCHEDULE)
    if not from_contract.is_shown(job):
        raise FaultError(SCHEDULE.not_found())
    return backend, job


async def _run(call: Call[Query, Body]) -> tuple[Backend, run_pb2.Run]:
    """Return the run in the path with its one task, and the scheduler in its project.

    Raises FaultError 404, which is what runs of other jobs than schedules are here.
    """
    reference = read(RUN, call.path["run_id"])
    backend = call.backend.in_project(reference.project)
    answer = await _own(backend.ask(backend.runs.GetRun, run_pb2.GetRunRequest(run_id=reference.uuid)), reference, RUN)
    run = answer.run
    if len(run.tasks) != 1 or not from_contract.is_shown(await jobs.read_job(backend, run.job_id)):
        raise FaultError(RUN.not_found())
    return backend, run


async def _own(reading: Awaitable[Found], reference: Reference, kind: IdKind) -> Found:
    """Return what an id names; raises FaultError 404 where it is not there, or in a project that is not the caller's."""
    try:
        return await reading
    except FoliotError as error:
        foreign = error.reason is ErrorReason.PERMISSION_DENIED and "project" in error.metadata
        if (foreign and reference.project) or error.reason is ErrorReason.NOT_FOUND:
            raise FaultError(kind.not_found()) from None
        raise


def _refuse_deleted(job: job_pb2.Job) -> None:
    if job.state == job_pb2.JOB_STATE_DELETED:
        detail = "The schedule was deleted."
        raise FaultError(Fault(status=409, code="wrong_state", detail=detail, facts={"state": "deleted"}))
