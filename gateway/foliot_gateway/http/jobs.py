"""Reading and changing jobs, as every API that shows jobs does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2, spec_pb2
from foliot_gateway.http.backend import Backend

CHANGE_ATTEMPTS_MAX = 32
"""How often a change that must be read and written back is tried while others change the same job. Of those that compete one wins
each time, so as many callers at once are all served; the request's own time is the other bound."""

JOBS_AT_ONCE_MAX = 100
"""The contract's limit for a page of jobs with their tasks."""


def effective_retry(spec: job_pb2.JobSpec) -> spec_pb2.RetryPolicy:
    """Return a copy of the policy of a job's only task: its own, or the job's."""
    found = spec_pb2.RetryPolicy()
    found.CopyFrom(spec.tasks[0].spec.retry if spec.tasks[0].spec.HasField("retry") else spec.retry)
    return found


async def read_job(backend: Backend, uuid: str) -> job_pb2.Job:
    """Return a job, a deleted one too; raises FoliotError."""
    return (await backend.ask(backend.jobs.GetJob, job_pb2.GetJobRequest(job_id=uuid))).job


async def change_job(
    backend: Backend, read: Callable[[], Awaitable[job_pb2.Job]], build: Callable[[job_pb2.Job], job_pb2.UpdateJobRequest]
) -> job_pb2.Job:
    """Change a job by what `build` makes of it, and return it as it stands after; raises FoliotError.

    The change is written only over what was read: where others changed the job meanwhile, it is made again. A request
    that comes with a version is sent as it is, once.
    """
    for attempt in range(1, CHANGE_ATTEMPTS_MAX + 1):
        stored = await read()
        request = build(stored)
        pinned = request.version != 0
        request.version = request.version or stored.version
        try:
            return (await backend.ask(backend.jobs.UpdateJob, request)).job
        except FoliotError as error:
            if error.reason is not ErrorReason.VERSION_CONFLICT or pinned or attempt == CHANGE_ATTEMPTS_MAX:
                raise
    raise AssertionError("the last attempt returns or raises")


async def list_jobs(backend: Backend, request: job_pb2.ListJobsRequest, *, limit: int) -> job_pb2.ListJobsResponse:
    """Return a page of jobs, with their tasks if the request asks for them, that may be longer than one answer holds."""
    at_once = JOBS_AT_ONCE_MAX if request.with_tasks else limit
    found = job_pb2.ListJobsResponse()
    asked = job_pb2.ListJobsRequest()
    asked.CopyFrom(request)
    while True:
        asked.page_size = min(at_once, limit - len(found.jobs))
        answer = await backend.ask(backend.jobs.ListJobs, asked)
        found.jobs.extend([await _whole(backend, job) if asked.with_tasks else job for job in answer.jobs])
        found.next_page_token = answer.next_page_token
        if asked.with_total:
            found.total = answer.total
        if not answer.next_page_token or len(found.jobs) >= limit:
            return found
        asked.with_total = False
        if asked.offset:
            asked.offset += len(answer.jobs)  # a token goes with the offset it came from, and may not be used beside one
        else:
            asked.page_token = answer.next_page_token


async def _whole(backend: Backend, job: job_pb2.Job) -> job_pb2.Job:
    """Return a job of a list with its tasks, which large ones come without."""
    return await read_job(backend, job.id) if job.task_count and not job.spec.tasks else job
