"""What each operation of `dag_jobs` asks of the scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

from msgspec import UNSET

from foliot.kit.errors import FoliotError
from foliot.v1 import job_pb2, run_pb2
from foliot_gateway.apis.dag_jobs import from_contract, shapes, to_contract
from foliot_gateway.apis.dag_jobs.identifiers import EXECUTION, JOB
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import FaultError, refuse
from foliot_gateway.http.jobs import change_job
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply

_STATES = {"ACTIVE": job_pb2.JOB_STATE_ACTIVE, "PAUSED": job_pb2.JOB_STATE_PAUSED}
_TASK_OF_JOB = re.compile(r"^spec\.tasks\[\d+\]\.")
_NEEDS_STORED = ("schedule", "timezone", "tasks", "status")


async def create_job(call: Call[NoQuery, shapes.NewJob]) -> Reply:
    """`POST /jobs`."""
    request = job_pb2.CreateJobRequest(spec=to_contract.job_spec(call.body), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.jobs.CreateJob, request)
    created = shapes.Created(id=JOB.shown(answer.job.id), message="Job created.")
    return Reply(status=201, body=created, headers={"location": f"jobs/{created.id}"})


async def list_jobs(call: Call[shapes.JobListQuery, NoBody]) -> Reply:
    """`GET /jobs`."""
    query = call.query
    request = job_pb2.ListJobsRequest(page_size=query.limit, offset=query.offset, with_total=True)
    if query.name is not UNSET:
        request.name = query.name
    if query.status is not UNSET:
        request.state = _STATES[query.status]
    answer = await call.backend.ask(call.backend.jobs.ListJobs, request)
    summaries = [from_contract.job_summary(job) for job in answer.jobs]
    return Reply(status=200, body=summaries, headers={"x-total-count": str(answer.total)})


async def get_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /jobs/{id}`."""
    return Reply(status=200, body=from_contract.job(await _stored(call.backend, JOB.uuid(call.path["id"]))))


async def update_job(call: Call[NoQuery, shapes.JobChange]) -> Reply:
    """`PUT /jobs/{id}`: reads the job first where the change does not stand alone, and writes only over what it read."""
    uuid, change = JOB.uuid(call.path["id"]), call.body
    if change.id is not UNSET and change.id != call.path["id"]:
        to_contract.broken("id", "must be the one in the path")
    reads = any(getattr(change, name) is not UNSET for name in _NEEDS_STORED)

    async def read() -> job_pb2.Job:
        return await _stored(call.backend, uuid) if reads else job_pb2.Job()

    def build(stored: job_pb2.Job) -> job_pb2.UpdateJobRequest:
        if change.status is not UNSET and change.status != from_contract.job_status(stored):
            to_contract.broken("status", "must be the current one: pause and resume change it")
        request = job_pb2.UpdateJobRequest(job_id=uuid, version=0 if change.version is UNSET else change.version)
        _write_change(request, change, stored)
        if not request.update_fields:
            refusal = "The change names no field that can change."
            raise refuse(422, "invalid_field", refusal)
        return request

    await change_job(call.backend, read, build)
    return Reply(status=200, body=shapes.Done(message="Job updated."))


def _write_change(request: job_pb2.UpdateJobRequest, change: shapes.JobChange, stored: job_pb2.Job) -> None:
    spec = request.spec
    if change.name is not UNSET:
        spec.name = change.name
        request.update_fields.append("name")
    if change.description is not UNSET:
        spec.description = change.description or ""
        request.update_fields.append("description")
    if change.schedule is not UNSET or change.timezone is not UNSET:
        _write_schedule(spec, change, stored)
        request.update_fields.append("schedule")
    if change.retry_policy is not UNSET:
        if change.retry_policy is not None:
            spec.retry.CopyFrom(to_contract.retry_policy(change.retry_policy, "retryPolicy"))
        request.update_fields.append("retry")
    if change.tasks is not UNSET:
        before = {task.key: task for task in stored.spec.tasks}
        spec.tasks.extend(to_contract.job_tasks(change.tasks, stored=before))
        request.update_fields.append("tasks")
    if change.metadata is not UNSET:
        spec.metadata_json = to_contract.json_object(change.metadata, "metadata")
        request.update_fields.append("metadata_json")


def _write_schedule(spec: job_pb2.JobSpec, change: shapes.JobChange, stored: job_pb2.Job) -> None:
    """Write cron and zone over what is stored, so that policies this API has no field for stay."""
    if stored.spec.HasField("schedule"):
        spec.schedule.CopyFrom(stored.spec.schedule)
    if change.schedule is None:
        spec.ClearField("schedule")
    elif change.schedule is not UNSET:
        spec.schedule.cron = change.schedule
    if change.timezone is UNSET:
        return
    if spec.HasField("schedule"):
        spec.schedule.timezone = change.timezone or ""
    elif change.timezone is not None:
        to_contract.broken("timezone", "needs a schedule")


async def delete_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /jobs/{id}`."""
    await call.backend.ask(call.backend.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=JOB.uuid(call.path["id"])))
    return Reply(status=200, body=shapes.Done(message="Job deleted."))


async def add_task(call: Call[NoQuery, shapes.NewTask]) -> Reply:
    """`POST /jobs/{id}/tasks`."""
    task = to_contract.hidden_parts(call.body.id, None)
    to_contract.apply_task(task, call.body, at="")
    request = job_pb2.AddJobTaskRequest(job_id=JOB.uuid(call.path["id"]), task=task, idempotency_key=call.idempotency_key)
    with _naming_the_task():
        await call.backend.ask(call.backend.jobs.AddJobTask, request)
    return Reply(status=201, body=shapes.Created(id=call.body.id, message="Task added."))


async def list_tasks(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /jobs/{id}/tasks`."""
    job = await _stored(call.backend, JOB.uuid(call.path["id"]))
    return Reply(status=200, body=from_contract.linked_tasks(job.spec.tasks))


async def update_task(call: Call[NoQuery, shapes.TaskChange]) -> Reply:
    """`PUT /jobs/{id}/tasks/{taskId}`."""
    uuid, key, change = JOB.uuid(call.path["id"]), call.path["taskId"], call.body
    if change.id is not UNSET and change.id != key:
        to_contract.broken("id", "must be the one in the path: a task keeps its id")
    job = await _stored(call.backend, uuid)
    before = next((task for task in job.spec.tasks if task.key == key), None)
    if before is None:
        raise refuse(404, "not_found", "The job has no task with this id.")
    request = job_pb2.UpdateJobTaskRequest(job_id=uuid, task=to_contract.changed_task(change, before))
    with _naming_the_task():
        await call.backend.ask(call.backend.jobs.UpdateJobTask, request)
    return Reply(status=200, body=shapes.Done(message="Task updated."))


async def delete_task(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /jobs/{id}/tasks/{taskId}`."""
    request = job_pb2.DeleteJobTaskRequest(job_id=JOB.uuid(call.path["id"]), key=call.path["taskId"])
    await call.backend.ask(call.backend.jobs.DeleteJobTask, request)
    return Reply(status=200, body=shapes.Done(message="Task deleted."))


async def trigger_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /jobs/{id}/trigger`."""
    request = job_pb2.TriggerJobRequest(job_id=JOB.uuid(call.path["id"]), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.jobs.TriggerJob, request)
    started = shapes.Triggered(execution_id=EXECUTION.shown(answer.run.id), message="Job triggered.")
    return Reply(status=202, body=started)


async def get_status(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /jobs/{id}/status`."""
    page = await _runs(call.backend, JOB.uuid(call.path["id"]), limit=1, offset=0)
    if not page.runs:
        raise refuse(404, "never_ran", "The job has not run yet.")
    answer = await call.backend.ask(call.backend.runs.GetRun, run_pb2.GetRunRequest(run_id=page.runs[0].id))
    return Reply(status=200, body=from_contract.execution(answer.run))


async def get_history(call: Call[shapes.HistoryQuery, NoBody]) -> Reply:
    """`GET /jobs/{id}/history`."""
    query = call.query
    page = await _runs(call.backend, JOB.uuid(call.path["id"]), limit=query.limit, offset=query.offset)
    records = [from_contract.execution_record(run) for run in page.runs]
    return Reply(status=200, body=records, headers={"x-total-count": str(page.total)})


async def pause_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /jobs/{id}/pause`."""
    answer = await call.backend.ask(call.backend.jobs.PauseJob, job_pb2.PauseJobRequest(job_id=JOB.uuid(call.path["id"])))
    changed = shapes.StatusChanged(id=call.path["id"], status=from_contract.job_status(answer.job), message="Job paused.")
    return Reply(status=200, body=changed)


async def resume_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /jobs/{id}/resume`."""
    answer = await call.backend.ask(call.backend.jobs.ResumeJob, job_pb2.ResumeJobRequest(job_id=JOB.uuid(call.path["id"])))
    changed = shapes.StatusChanged(id=call.path["id"], status=from_contract.job_status(answer.job), message="Job resumed.")
    return Reply(status=200, body=changed)


@contextlib.contextmanager
def _naming_the_task() -> Iterator[None]:
    """Name the fields of the one task that was sent by their place in the body, not by the one the scheduler sees in the job."""
    try:
        yield
    except FoliotError as error:
        error.fields = [replace(found, field=_TASK_OF_JOB.sub("", found.field)) for found in error.fields]
        raise


async def _stored(backend: Backend, uuid: str) -> job_pb2.Job:
    """Return a job; raises FaultError 404 for a deleted one, which the contract still answers."""
    answer = await backend.ask(backend.jobs.GetJob, job_pb2.GetJobRequest(job_id=uuid))
    if answer.job.state == job_pb2.JOB_STATE_DELETED:
        raise FaultError(JOB.not_found())
    return answer.job


async def _runs(backend: Backend, uuid: str, *, limit: int, offset: int) -> run_pb2.ListRunsResponse:
    """Return a page of a job's runs; raises FaultError 404 where there is no such job.

    The job is asked for beside its runs: an empty page may be of a job that never ran or of none, and the runs of a
    deleted job are still there.
    """
    request = run_pb2.ListRunsRequest(job_id=uuid, page_size=limit, offset=offset, with_total=True)
    _, page = await asyncio.gather(_stored(backend, uuid), backend.ask(backend.runs.ListRuns, request))
    return page
