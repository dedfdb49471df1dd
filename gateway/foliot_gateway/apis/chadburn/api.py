"""The declaration of `chadburn`: its operations, from which both its routes and its part of the OpenAPI document are made."""

from __future__ import annotations

from foliot_gateway.apis.chadburn import examples, handlers, shapes
from foliot_gateway.apis.chadburn.fields import RULE_STATUS, translate_error
from foliot_gateway.http.envelope import EnvelopeShape
from foliot_gateway.http.operation import Api, Neighbour, NoBody, NoQuery, Operation, PathParameter, ReplyDoc

_UNKNOWN_JOB = {404: "No job has this id, or it is not a schedule with exactly one command."}
_BROKEN_RULE = {422: "The body breaks a rule: `details.fields` names the fields."}
_JOBS, _EXECUTIONS = "Cron jobs", "Executions of cron jobs"
_PAGINATION: dict[str, object] = {"total": 1, "limit": 100, "offset": 0}

_LIST_JOBS = Operation(
    method="GET",
    path="/api/v1/jobs",
    name="listJobs",
    tag=_JOBS,
    summary="List all jobs",
    description="Newest first. What was made through other APIs is listed too, if it is a schedule with exactly one command.",
    handler=handlers.list_jobs,
    query=shapes.JobListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of jobs.",
            body=shapes.JobPage,
            example={"data": [examples.SUMMARY], "pagination": _PAGINATION},
        ),
    ),
)
_CREATE_JOB = Operation(
    method="POST",
    path="/api/v1/jobs",
    name="createJob",
    tag=_JOBS,
    summary="Create a new job",
    description="A body of the queue API, which documents the same path, is refused with 400 and the place of that API.",
    handler=handlers.create_job,
    query=NoQuery,
    body=shapes.NewJob,
    body_example=examples.NEW_JOB,
    replies=(
        ReplyDoc(
            status=201,
            description="The job was created.",
            body=shapes.JobSettingsAnswer,
            example={"data": examples.SETTINGS},
            headers={"Location": "Where the job is."},
        ),
    ),
    refusals=_BROKEN_RULE,
    idempotent=True,
    neighbour=Neighbour(
        fields=frozenset({"type", "binary_url", "binary_sha256", "env_variables"}),
        detail="This is the Chadburn API, which takes cron jobs that run a command. Jobs of the binary queue go to the queue "
        "API: POST /api/v1/jobs on the gateway's main listener (port 8080 by default).",
    ),
)
_GET_JOB = Operation(
    method="GET",
    path="/api/v1/jobs/{id}",
    name="getJob",
    tag=_JOBS,
    summary="Get a specific job",
    handler=handlers.get_job,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The job.", body=shapes.JobAnswer, example={"data": examples.JOB}),),
    refusals=_UNKNOWN_JOB,
)
_UPDATE_JOB = Operation(
    method="PUT",
    path="/api/v1/jobs/{id}",
    name="updateJob",
    tag=_JOBS,
    summary="Update a job",
    description="Only what is given changes, all of it or nothing. Executions that go on keep the job as it was.",
    handler=handlers.update_job,
    query=NoQuery,
    body=shapes.JobChange,
    body_example=examples.CHANGE,
    replies=(
        ReplyDoc(
            status=200, description="The job was changed.", body=shapes.JobSettingsAnswer, example={"data": examples.CHANGED}
        ),
    ),
    refusals={**_UNKNOWN_JOB, **_BROKEN_RULE, 409: "Others changed the job again and again at the same time."},
)
_DELETE_JOB = Operation(
    method="DELETE",
    path="/api/v1/jobs/{id}",
    name="deleteJob",
    tag=_JOBS,
    summary="Delete a job",
    description="It fires no more and is found no more. Executions that go on come to their end.",
    handler=handlers.delete_job,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="The job was deleted.",
            body=shapes.DoneAnswer,
            example={"data": {"message": "Job deleted successfully"}},
        ),
    ),
    refusals=_UNKNOWN_JOB,
)
_RUN_JOB = Operation(
    method="POST",
    path="/api/v1/jobs/{id}/run",
    name="runJob",
    tag=_JOBS,
    summary="Run a job immediately",
    description="Regardless of its schedule; a paused job runs too.",
    handler=handlers.run_job,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=202,
            description="The execution was accepted.",
            body=shapes.TriggeredAnswer,
            example={"data": {"message": "Job triggered successfully", "execution_id": examples.EXECUTION_ID}},
        ),
    ),
    refusals={**_UNKNOWN_JOB, 409: "The job's state does not allow it."},
    idempotent=True,
)
_PAUSE_JOB = Operation(
    method="POST",
    path="/api/v1/jobs/{id}/pause",
    name="pauseJob",
    tag=_JOBS,
    summary="Pause a job",
    description="A running execution goes on; nothing new starts by schedule. A paused job stays paused.",
    handler=handlers.pause_job,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="The job is paused.",
            body=shapes.PausedAnswer,
            example={"data": {"message": "Job paused successfully", "id": examples.JOB_ID, "status": "paused"}},
        ),
    ),
    refusals=_UNKNOWN_JOB,
)
_RESUME_JOB = Operation(
    method="POST",
    path="/api/v1/jobs/{id}/resume",
    name="resumeJob",
    tag=_JOBS,
    summary="Resume a paused job",
    description="The schedule fires again, from now on. An active job stays active.",
    handler=handlers.resume_job,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="The job goes by its schedule.",
            body=shapes.ResumedAnswer,
            example={
                "data": {
                    "message": "Job resumed successfully",
                    "id": examples.JOB_ID,
                    "status": "active",
                    "next_run": "2026-01-04T00:00:00Z",
                }
            },
        ),
    ),
    refusals=_UNKNOWN_JOB,
)
_LIST_EXECUTIONS = Operation(
    method="GET",
    path="/api/v1/jobs/{id}/executions",
    name="listExecutions",
    tag=_EXECUTIONS,
    summary="Get the execution history of a job",
    description="Newest first.",
    handler=handlers.list_executions,
    query=shapes.ExecutionListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of executions.",
            body=shapes.ExecutionPage,
            example={"data": [examples.EXECUTION], "pagination": {"total": 1, "limit": 10, "offset": 0}},
        ),
    ),
    refusals=_UNKNOWN_JOB,
)

CHADBURN = Api(
    name="chadburn",
    title="Chadburn",
    description="Cron jobs that run one command, and their executions.",
    claims=("/",),
    operations=(
        _LIST_JOBS,
        _GET_JOB,
        _CREATE_JOB,
        _UPDATE_JOB,
        _DELETE_JOB,
        _RUN_JOB,
        _PAUSE_JOB,
        _RESUME_JOB,
        _LIST_EXECUTIONS,
    ),
    parameters={"id": PathParameter(description="Job ID", example=examples.JOB_ID)},
    errors=EnvelopeShape(),
    translate=translate_error,
    rule_status=RULE_STATUS,
)
