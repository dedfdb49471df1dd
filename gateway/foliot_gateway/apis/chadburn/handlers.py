"""What each operation of `chadburn` asks of the scheduler."""

from __future__ import annotations

import asyncio

from msgspec import UNSET

from foliot.v1 import job_pb2, run_pb2
from foliot_gateway.apis.chadburn import from_contract, shapes, to_contract
from foliot_gateway.apis.chadburn.fields import RULE_STATUS
from foliot_gateway.apis.chadburn.identifiers import EXECUTION, JOB
from foliot_gateway.http import jobs
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import FaultError, refuse
from foliot_gateway.http.json_text import broken
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply


async def create_job(call: Call[NoQuery, shapes.NewJob]) -> Reply:
    """`POST /api/v1/jobs`."""
    request = job_pb2.CreateJobRequest(spec=to_contract.job_spec(call.body), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.jobs.CreateJob, request)
    created = from_contract.job_settings(answer.job)
    return Reply(status=201, body=shapes.JobSettingsAnswer(data=created), headers={"location": f"jobs/{created.id}"})


async def list_jobs(call: Call[shapes.JobListQuery, NoBody]) -> Reply:
    """`GET /api/v1/jobs`."""
    query = call.query
    request = job_pb2.ListJobsRequest(
        shape=job_pb2.JOB_SHAPE_SCHEDULED_COMMAND, with_tasks=True, with_total=True, offset=query.offset
    )
    match query.status:
        case "active":
            request.state, request.progress = job_pb2.JOB_STATE_ACTIVE, job_pb2.SCHEDULE_PROGRESS_PENDING
        case "paused":
            request.state = job_pb2.JOB_STATE_PAUSED
        case "completed":
            request.progress = job_pb2.SCHEDULE_PROGRESS_EXHAUSTED
        case _:
            pass
    if query.tag is not UNSET:
        request.tag = query.tag
    found = await jobs.list_jobs(call.backend, request, limit=query.limit)
    page = shapes.JobPage(
        data=[from_contract.job_summary(job) for job in found.jobs],
        pagination=shapes.Pagination(total=found.total, limit=query.limit, offset=query.offset),
    )
    return Reply(status=200, body=page)


async def get_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/jobs/{id}`."""
    uuid = JOB.uuid(call.path["id"])
    request = run_pb2.ListRunsRequest(job_id=uuid, page_size=1, with_tasks=True)
    job, page = await asyncio.gather(_stored(call.backend, uuid), call.backend.ask(call.backend.runs.ListRuns, request))
    latest = page.runs[0] if page.runs else None
    return Reply(status=200, body=shapes.JobAnswer(data=from_contract.job(job, latest)))


async def update_job(call: Call[NoQuery, shapes.JobChange]) -> Reply:
    """`PUT /api/v1/jobs/{id}`."""
    uuid, change = JOB.uuid(call.path["id"]), call.body
    if change.id is not UNSET and change.id != call.path["id"]:
        broken("id", "must be the one in the path", rule_status=RULE_STATUS)

    def build(stored: job_pb2.Job) -> job_pb2.UpdateJobRequest:
        request = job_pb2.UpdateJobRequest(job_id=uuid)
        to_contract.write_change(request, change, stored.spec)
        match change.status:
            case "active":
                request.state = job_pb2.JOB_STATE_ACTIVE
            case "paused":
                request.state = job_pb2.JOB_STATE_PAUSED
            case "completed" if from_contract.job_status(stored) != "completed":
                broken("status", "must be active or paused: a schedule completes by itself", rule_status=RULE_STATUS)
        if not request.update_fields and not request.state:
            raise refuse(RULE_STATUS, "invalid_field", "The change names no field that can change.")
        return request

    changed = await jobs.change_job(call.backend, lambda: _stored(call.backend, uuid), build)
    return Reply(status=200, body=shapes.JobSettingsAnswer(data=from_contract.job_settings(changed)))


async def delete_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /api/v1/jobs/{id}`."""
    job = await _stored(call.backend, JOB.uuid(call.path["id"]))
    await call.backend.ask(call.backend.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=job.id))
    return Reply(status=200, body=shapes.DoneAnswer(data=shapes.Done(message="Job deleted successfully")))


async def run_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/v1/jobs/{id}/run`."""
    job = await _stored(call.backend, JOB.uuid(call.path["id"]))
    request = job_pb2.TriggerJobRequest(job_id=job.id, idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.jobs.TriggerJob, request)
    started = shapes.Triggered(message="Job triggered successfully", execution_id=EXECUTION.shown(answer.run.id))
    return Reply(status=202, body=shapes.TriggeredAnswer(data=started))


async def pause_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/v1/jobs/{id}/pause`."""
    job = await _stored(call.backend, JOB.uuid(call.path["id"]))
    answer = await call.backend.ask(call.backend.jobs.PauseJob, job_pb2.PauseJobRequest(job_id=job.id))
    paused = shapes.Paused(
        message="Job paused successfully", id=JOB.shown(answer.job.id), status=from_contract.job_status(answer.job)
    )
    return Reply(status=200, body=shapes.PausedAnswer(data=paused))


async def resume_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/v1/jobs/{id}/resume`."""
    job = await _stored(call.backend, JOB.uuid(call.path["id"]))
    answer = await call.backend.ask(call.backend.jobs.ResumeJob, job_pb2.ResumeJobRequest(job_id=job.id))
    resumed = shapes.Resumed(
        message="Job resumed successfully",
        id=JOB.shown(answer.job.id),
        status=from_contract.job_status(answer.job),
        next_run=from_contract.next_run(answer.job),
    )
    return Reply(status=200, body=shapes.ResumedAnswer(data=resumed))


async def list_executions(call: Call[shapes.ExecutionListQuery, NoBody]) -> Reply:
    """`GET /api/v1/jobs/{id}/executions`.

    The job is asked for beside its runs: an empty page may be of a job that never ran or of none.
    """
    uuid, query = JOB.uuid(call.path["id"]), call.query
    states = [state for state, status in from_contract.EXECUTION_STATUS.items() if status == query.status]
    request = run_pb2.ListRunsRequest(
        job_id=uuid, states=states, page_size=query.limit, offset=query.offset, with_total=True, with_tasks=True
    )
    _, found = await asyncio.gather(_stored(call.backend, uuid), call.backend.ask(call.backend.runs.ListRuns, request))
    page = shapes.ExecutionPage(
        data=[from_contract.execution(run) for run in found.runs],
        pagination=shapes.Pagination(total=found.total, limit=query.limit, offset=query.offset),
    )
    return Reply(status=200, body=page)


async def _stored(backend: Backend, uuid: str) -> job_pb2.Job:
    """Return a job that this API shows; raises FaultError 404 for a deleted one and for one of another form."""
    found = await jobs.read_job(backend, uuid)
    if found.state == job_pb2.JOB_STATE_DELETED or not from_contract.is_shown(found):
        raise FaultError(JOB.not_found())
    return found
