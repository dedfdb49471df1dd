"""The declaration of `queue`: its operations, from which both its routes and its part of the OpenAPI document are made."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from foliot_gateway.apis.queue import admin_handlers, examples, executor_handlers, job_handlers, shapes
from foliot_gateway.apis.queue.errors import RULE_STATUS, ContextShape, translate_error
from foliot_gateway.apis.queue.words import QUEUE_OF_ALL, QUEUE_OF_EXECUTORS
from foliot_gateway.http.operation import Api, Neighbour, NoBody, NoQuery, Operation, PathParameter, ReplyDoc
from foliot_gateway.http.system import HEALTH

_JOBS: Final = "Queue: jobs"
_EXECUTORS: Final = "Queue: executors"
_ADMIN: Final = "Queue: administration"
_UNKNOWN: Final = {404: "No job has this id."}
_NOT_ITS_CLAIM: Final = (
    "The job is not running, or the claim counts no more: another executor has claimed the job, or this one has again."
)
_NEIGHBOUR: Final = Neighbour(
    fields=frozenset({"name", "schedule", "command"}),
    detail="This is the queue of binary jobs. A Chadburn job is posted to /chadburn/api/v1/jobs, or to /api/v1/jobs at the "
    "gateway's other listener (--chadburn-http, by default port 8081).",
)


def queue_api(*, push: bool) -> Api:
    """Return the API. With `push` the project's own workers take the jobs submitted here too; without it executors alone do."""
    return Api(
        name="queue",
        title="Job queue",
        description="Binary jobs that executors claim, keep alive by heartbeats, complete or fail; bulk calls; administration.",
        claims=("/api/v1",),
        operations=(
            *_job_operations(QUEUE_OF_ALL if push else QUEUE_OF_EXECUTORS),
            *_EXECUTOR_OPERATIONS,
            *_ADMIN_OPERATIONS,
        ),
        parameters={"id": PathParameter(description="The job's id.", example=examples.JOB_ID)},
        errors=ContextShape(),
        translate=translate_error,
        rule_status=RULE_STATUS,
    )


def _job_operations(queue: str) -> tuple[Operation[Any, Any], ...]:
    return (
        Operation(
            method="POST",
            path="/api/v1/jobs",
            name="submitJob",
            tag=_JOBS,
            summary="Submit a job",
            description="It waits to be claimed by an executor; unless the gateway is run with `--no-queue-push`, the project's "
            "own workers take it too. A job that fails is not tried again; one whose executor falls silent is.",
            handler=partial(job_handlers.submit_job, queue),
            query=NoQuery,
            body=shapes.NewJob,
            body_example=examples.NEW_JOB,
            replies=(
                ReplyDoc(
                    status=201,
                    description="The job was submitted.",
                    body=shapes.Submitted,
                    example=examples.SUBMITTED,
                    headers={"Location": "Where the job is."},
                ),
            ),
            refusals={400: "The body breaks a rule, or is a Chadburn job: `context` names the fields."},
            idempotent=True,
            neighbour=_NEIGHBOUR,
        ),
        Operation(
            method="POST",
            path="/api/v1/jobs/bulk",
            name="submitJobs",
            tag=_JOBS,
            summary="Submit many jobs",
            description=f"All of them or none: at most {shapes.BULK_MAX:,}.",
            handler=partial(job_handlers.submit_jobs, queue),
            query=NoQuery,
            body=shapes.NewJobs,
            body_example=examples.NEW_JOBS,
            replies=(
                ReplyDoc(
                    status=201,
                    description="The jobs were submitted; they are in the order of the request.",
                    body=list[shapes.JobStatus],
                    example=examples.SUBMITTED_JOBS,
                ),
            ),
            refusals={400: "A job breaks a rule, so none was submitted: `context.field` names it, as in `[3].binary_url`."},
            idempotent=True,
        ),
        *_JOB_OPERATIONS,
    )


_JOB_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="GET",
        path="/api/v1/jobs",
        name="listJobs",
        tag=_JOBS,
        summary="List jobs",
        description="Newest first. Binary tasks that other APIs made on their own are listed too; of their ten priorities 8 to "
        "10 are shown as `foreground`, 4 to 7 as `background`, and 1 to 3 as `best_effort`.",
        handler=job_handlers.list_jobs,
        query=shapes.JobListQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="A page of jobs.", body=list[shapes.JobSummary], example=examples.JOBS),),
    ),
    Operation(
        method="GET",
        path="/api/v1/jobs/{id}",
        name="getJob",
        tag=_JOBS,
        summary="Get details of a job",
        description=f"Values of `env_variables` are shown as `{shapes.MASK}`: only who claims the job is told them.",
        handler=job_handlers.get_job,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The job.", body=shapes.Job, example=examples.JOB),),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="DELETE",
        path="/api/v1/jobs/{id}",
        name="cancelJob",
        tag=_JOBS,
        summary="Cancel a pending job",
        handler=job_handlers.cancel_job,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(
                status=200,
                description="The job was cancelled.",
                body=shapes.JobStatus,
                example={"id": examples.JOB_ID, "status": "cancelled"},
            ),
        ),
        refusals={400: "The job is not pending.", **_UNKNOWN},
    ),
    Operation(
        method="POST",
        path="/api/v1/jobs/bulk/cancel",
        name="cancelJobs",
        tag=_JOBS,
        summary="Cancel many pending jobs",
        description="Each on its own: one that is not pending does not stop the others.",
        handler=job_handlers.cancel_jobs,
        query=NoQuery,
        body=shapes.CancelJobs,
        body_example=examples.CANCEL_JOBS,
        replies=(
            ReplyDoc(
                status=200,
                description="What became of each.",
                body=shapes.CancelledJobs,
                example=examples.CANCELLED_JOBS,
            ),
        ),
    ),
)
_EXECUTOR_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="POST",
        path="/api/v1/jobs/claim",
        name="claimJob",
        tag=_EXECUTORS,
        summary="Claim the next job",
        description="`foreground` before `background` before `best_effort`, the oldest first in each. A job is claimed by one "
        "executor only. It has to be heard of again, by a heartbeat, within the lease (60 s by default: the scheduler's "
        "`--executor-lease`): else it is pending again and the attempt is `lost`. This is the one answer that shows the values "
        "of `env_variables`: the executor needs them. Its `token` names this claim: heartbeats and "
        "the end of the job may quote it.",
        handler=partial(executor_handlers.claim_job, (QUEUE_OF_ALL, QUEUE_OF_EXECUTORS)),
        query=NoQuery,
        body=shapes.Claim,
        body_example=examples.CLAIM,
        replies=(
            ReplyDoc(status=200, description="The job, now running on the executor.", body=shapes.Job, example=examples.CLAIMED),
            ReplyDoc(status=204, description="No job is pending."),
        ),
    ),
    Operation(
        method="PUT",
        path="/api/v1/jobs/{id}/heartbeat",
        name="renewJob",
        tag=_EXECUTORS,
        summary="Say that a job is still running",
        handler=executor_handlers.renew_job,
        query=NoQuery,
        body=shapes.Heartbeat,
        body_example=examples.HEARTBEAT,
        replies=(
            ReplyDoc(
                status=200,
                description="The lease begins anew.",
                body=shapes.JobStatus,
                example={"id": examples.JOB_ID, "status": "running"},
            ),
        ),
        refusals={404: "No job has this id, or it is not running on this executor (any more): the executor is to stop it."},
    ),
    Operation(
        method="PUT",
        path="/api/v1/jobs/{id}/complete",
        name="completeJob",
        tag=_EXECUTORS,
        summary="Complete a job",
        description="The job is `completed` whatever its `exit_code` says: it is for the executor to say that a job failed.",
        handler=executor_handlers.complete_job,
        query=NoQuery,
        body=shapes.Completion,
        body_example=examples.COMPLETE,
        replies=(
            ReplyDoc(
                status=200,
                description="The job is completed.",
                body=shapes.JobStatus,
                example={"id": examples.JOB_ID, "status": "completed"},
            ),
        ),
        refusals={
            400: _NOT_ITS_CLAIM,
            **_UNKNOWN,
        },
        takes_nul=True,
    ),
    Operation(
        method="PUT",
        path="/api/v1/jobs/{id}/fail",
        name="failJob",
        tag=_EXECUTORS,
        summary="Fail a job",
        description="A job submitted here is `failed` then, and not tried again. A task that another API made with a retry "
        "policy may be `pending` again.",
        handler=executor_handlers.fail_job,
        query=NoQuery,
        body=shapes.Failure,
        body_example=examples.FAIL,
        replies=(
            ReplyDoc(
                status=200,
                description="The job has failed.",
                body=shapes.JobStatus,
                example={"id": examples.JOB_ID, "status": "failed"},
            ),
        ),
        refusals={
            400: _NOT_ITS_CLAIM,
            **_UNKNOWN,
        },
        takes_nul=True,
    ),
)
_ADMIN_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    replace(HEALTH, tag=_ADMIN),
    Operation(
        method="GET",
        path="/api/v1/metrics",
        name="getMetrics",
        tag=_ADMIN,
        summary="Get metrics for Prometheus",
        description="Of this gateway and of the scheduler replica that it asks; the label `component` says which. While no "
        "scheduler answers, its metrics are missing and `foliot_gateway_scheduler_up` is 0.",
        handler=admin_handlers.get_metrics,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(
                status=200,
                description="The Prometheus text format 0.0.4.",
                body=str,
                example=examples.METRICS,
                media_type="text/plain",
            ),
        ),
    ),
    Operation(
        method="GET",
        path="/api/v1/admin/stats",
        name="getStats",
        tag=_ADMIN,
        summary="Get statistics",
        description="All jobs that the history still holds (30 days by default).",
        handler=admin_handlers.get_stats,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The counts.", body=shapes.Stats, example=examples.STATS),),
    ),
    Operation(
        method="GET",
        path="/api/v1/admin/executors",
        name="listExecutors",
        tag=_ADMIN,
        summary="List active executors",
        description="Those that were heard within the lease, by a claim (in vain too), a heartbeat, or the end of a job; in the "
        "order of their ids.",
        handler=admin_handlers.list_executors,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The executors.", body=list[shapes.Executor], example=examples.EXECUTORS),),
    ),
)

QUEUE: Final = queue_api(push=True)
"""The API of the default configuration."""
