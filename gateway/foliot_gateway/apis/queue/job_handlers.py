"""What callers who submit, look at and cancel jobs ask of the scheduler."""

from __future__ import annotations

from collections.abc import Sequence

from foliot.v1 import task_pb2
from foliot_gateway.apis.queue import from_contract, shapes, to_contract
from foliot_gateway.apis.queue.errors import RULE_STATUS
from foliot_gateway.apis.queue.words import JOB
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.json_text import broken
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply

_REFUSALS = {"WRONG_STATE": "The job is not pending.", "NOT_FOUND": "No job has this id."}


async def submit_job(queue: str, call: Call[NoQuery, shapes.NewJob]) -> Reply:
    """`POST /api/v1/jobs`: into the named queue of the scheduler."""
    request = task_pb2.SubmitTaskRequest(task=to_contract.new_task(call.body, queue), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.tasks.SubmitTask, request)
    created = from_contract.submitted(answer.task)
    return Reply(status=201, body=created, headers={"location": f"jobs/{created.id}"})


async def submit_jobs(queue: str, call: Call[NoQuery, list[shapes.NewJob]]) -> Reply:
    """`POST /api/v1/jobs/bulk`: all of them or none."""
    tasks = [to_contract.new_task(job, queue) for job in call.body]
    request = task_pb2.SubmitTasksRequest(tasks=tasks, idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.tasks.SubmitTasks, request)
    return Reply(status=201, body=[shapes.JobStatus(id=task_id, status="pending") for task_id in answer.task_ids])


async def list_jobs(call: Call[shapes.JobListQuery, NoBody]) -> Reply:
    """`GET /api/v1/jobs`."""
    query = call.query
    request = task_pb2.ListTasksRequest(filter=to_contract.wanted_jobs(query), page_size=query.limit, offset=query.offset)
    answer = await call.backend.ask(call.backend.tasks.ListTasks, request)
    return Reply(status=200, body=[from_contract.summary(task) for task in answer.tasks])


async def get_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/jobs/{id}`."""
    return Reply(status=200, body=from_contract.job(await read_job(call.backend, JOB.uuid(call.path["id"]))))


async def cancel_job(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /api/v1/jobs/{id}`."""
    found = await read_job(call.backend, JOB.uuid(call.path["id"]))
    request = task_pb2.CancelTaskRequest(task_id=found.id, only_waiting=True)
    answer = await call.backend.ask(call.backend.tasks.CancelTask, request)
    return Reply(status=200, body=from_contract.job_status(answer.task))


async def cancel_jobs(call: Call[NoQuery, shapes.CancelJobs]) -> Reply:
    """`POST /api/v1/jobs/bulk/cancel`: each on its own."""
    given = call.body.job_ids
    seen: set[str] = set()
    for index, shown in enumerate(given):
        if shown in seen:
            broken(f"job_ids[{index}]", "is named twice", rule_status=RULE_STATUS)
        seen.add(shown)
    jobs = await _known_jobs(call.backend, [shown for shown in given if JOB.find_uuid(shown) is not None])
    errors = {shown: _REFUSALS["NOT_FOUND"] for shown in given if shown not in jobs}
    if jobs:
        request = task_pb2.CancelTasksRequest(task_ids=sorted(jobs), only_waiting=True)
        answer = await call.backend.ask(call.backend.tasks.CancelTasks, request)
        errors |= {refusal.task_id: _REFUSALS.get(refusal.reason, refusal.message) for refusal in answer.refusals}
    body = shapes.CancelledJobs(
        cancelled=len(given) - len(errors),
        failed=len(errors),
        errors=[shapes.CancelError(job_id=shown, error=errors[shown]) for shown in given if shown in errors],
    )
    return Reply(status=200, body=body)


async def read_job(backend: Backend, uuid: str) -> task_pb2.Task:
    """Return a job; raises FaultError 404 for a task that is none, FoliotError for the rest."""
    answer = await backend.ask(backend.tasks.GetTask, task_pb2.GetTaskRequest(task_id=uuid))
    if not from_contract.is_job(answer.task):
        raise FaultError(JOB.not_found())
    return answer.task


async def _known_jobs(backend: Backend, uuids: Sequence[str]) -> set[str]:
    """Return those of the ids that are jobs'."""
    if not uuids:
        return set()
    wanted = to_contract.any_job()
    wanted.task_ids.extend(uuids)
    request = task_pb2.ListTasksRequest(filter=wanted, page_size=shapes.BULK_MAX)
    return {task.id for task in (await backend.ask(backend.tasks.ListTasks, request)).tasks}
