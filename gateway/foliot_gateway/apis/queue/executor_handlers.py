"""What executors ask of the scheduler: jobs to run, and to be heard of those they run."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import task_pb2, worker_pb2
from foliot_gateway.apis.queue import from_contract, shapes, to_contract
from foliot_gateway.apis.queue.job_handlers import read_job
from foliot_gateway.apis.queue.words import JOB, STATUS, Status
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import refuse
from foliot_gateway.http.operation import Call, NoQuery, Reply


async def claim_job(queues: Sequence[str], call: Call[NoQuery, shapes.Claim]) -> Reply:
    """`POST /api/v1/jobs/claim`: from the named queues of the scheduler."""
    request = worker_pb2.ClaimTaskRequest(
        executor_id=call.body.executor_id,
        executor_address=call.body.executor_ip,
        queues=queues,
        kinds=["binary"],
        standalone=True,
    )
    answer = await call.backend.ask(call.backend.workers.ClaimTask, request)
    if not answer.HasField("task"):
        return Reply(status=204)
    return Reply(status=200, body=from_contract.job(answer.task, claim_token=answer.token))


async def renew_job(call: Call[NoQuery, shapes.Heartbeat]) -> Reply:
    """`PUT /api/v1/jobs/{id}/heartbeat`: whatever the reason, a job that the executor does not run is not found."""
    uuid = JOB.uuid(call.path["id"])
    request = worker_pb2.HeartbeatTaskRequest(
        task_id=uuid, executor_id=call.body.executor_id, token=to_contract.claim_token(call.body.token)
    )
    try:
        await call.backend.ask(call.backend.workers.HeartbeatTask, request)
    except FoliotError as error:
        if error.reason not in {ErrorReason.WRONG_STATE, ErrorReason.STALE_LEASE}:
            raise
        detail = "The job is not running on this executor: it has ended, or was given back to others."
        raise refuse(404, "not_running", detail) from None
    return Reply(status=200, body=shapes.JobStatus(id=uuid, status="running"))


async def complete_job(call: Call[NoQuery, shapes.Completion]) -> Reply:
    """`PUT /api/v1/jobs/{id}/complete`."""
    given, uuid = call.body, JOB.uuid(call.path["id"])
    request = worker_pb2.CompleteTaskRequest(
        task_id=uuid,
        executor_id=given.executor_id,
        token=to_contract.claim_token(given.token),
        output=given.stdout.encode(),
        error_output=given.stderr.encode(),
        exit_code=given.exit_code,
    )

    async def ended() -> task_pb2.Task:
        return (await call.backend.ask(call.backend.workers.CompleteTask, request)).task

    return await _end(call.backend, uuid, "completed", ended(), executor_id=given.executor_id)


async def fail_job(call: Call[NoQuery, shapes.Failure]) -> Reply:
    """`PUT /api/v1/jobs/{id}/fail`."""
    given, uuid = call.body, JOB.uuid(call.path["id"])
    request = worker_pb2.FailTaskRequest(
        task_id=uuid,
        executor_id=given.executor_id,
        token=to_contract.claim_token(given.token),
        output=given.stdout.encode(),
        error_output=given.stderr.encode(),
        exit_code=given.exit_code,
        error=given.error_message,
    )

    async def ended() -> task_pb2.Task:
        return (await call.backend.ask(call.backend.workers.FailTask, request)).task

    return await _end(call.backend, uuid, "failed", ended(), executor_id=given.executor_id)


async def _end(backend: Backend, uuid: str, status: Status, ended: Awaitable[task_pb2.Task], *, executor_id: str) -> Reply:
    """Wait for a job to be ended, with that status.

    Where its state does not allow it, the job is looked at, if the caller may do that: 404 for a task that is none, and success
    where the state is what this very executor asked for by a first try of the same call, whose answer was lost on the way to
    this gateway.
    """
    try:
        task = await ended
    except FoliotError as error:
        if error.reason is not ErrorReason.WRONG_STATE:
            raise
        try:
            task = await read_job(backend, uuid)
        except FoliotError as unread:
            raise (error if unread.reason is ErrorReason.PERMISSION_DENIED else unread) from None
        if "repeated" not in error.metadata or task.worker_id != executor_id or STATUS[task.state] != status:
            raise
    return Reply(status=200, body=from_contract.job_status(task))
