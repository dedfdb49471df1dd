"""The declaration of `dag_jobs`: its operations, from which both its routes and its part of the OpenAPI document are made."""

from __future__ import annotations

from foliot_gateway.apis.dag_jobs import examples, handlers, shapes
from foliot_gateway.apis.dag_jobs.fields import RULE_STATUS, translate_error
from foliot_gateway.http.operation import Api, NoBody, NoQuery, Operation, PathParameter, ReplyDoc
from foliot_gateway.http.problem import ProblemShape

_UNKNOWN_JOB = {404: "No job has this id."}
_UNKNOWN_TASK = {404: "No job has this id, or it has no task with this id."}
_BROKEN_RULE = {
    422: "The body breaks a rule: `errors` names the fields. A dependency cycle, unknown dependencies and duplicate ids are "
    "named by their tasks (`path`, `tasks`)."
}
_TOTAL = {"X-Total-Count": "How many there are in all."}
_JOBS, _TASKS, _EXECUTIONS = "Jobs", "Tasks of a job", "Executions"

_CREATE_JOB = Operation(
    method="POST",
    path="/jobs",
    name="createJob",
    tag=_JOBS,
    summary="Create a job",
    handler=handlers.create_job,
    query=NoQuery,
    body=shapes.NewJob,
    body_example=examples.NEW_JOB,
    replies=(
        ReplyDoc(
            status=201,
            description="The job was created.",
            body=shapes.Created,
            example={"id": examples.JOB_ID, "message": "Job created."},
            headers={"Location": "Where the job is."},
        ),
    ),
    refusals=_BROKEN_RULE,
    idempotent=True,
)
_LIST_JOBS = Operation(
    method="GET",
    path="/jobs",
    name="listJobs",
    tag=_JOBS,
    summary="Get all jobs",
    description="Newest first. Jobs made through other APIs are listed too.",
    handler=handlers.list_jobs,
    query=shapes.JobListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of summaries.",
            body=list[shapes.JobSummary],
            example=examples.JOBS,
            headers=_TOTAL,
        ),
    ),
)
_GET_JOB = Operation(
    method="GET",
    path="/jobs/{id}",
    name="getJob",
    tag=_JOBS,
    summary="Get details of a job",
    handler=handlers.get_job,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The job.", body=shapes.Job, example=examples.JOB),),
    refusals=_UNKNOWN_JOB,
)
_UPDATE_JOB = Operation(
    method="PUT",
    path="/jobs/{id}",
    name="updateJob",
    tag=_JOBS,
    summary="Update a job",
    description="Only what is given changes; `tasks` replaces the whole DAG. Executions that go on keep the job as it was.",
    handler=handlers.update_job,
    query=NoQuery,
    body=shapes.JobChange,
    body_example=examples.JOB_CHANGE,
    replies=(ReplyDoc(status=200, description="The job was changed.", body=shapes.Done, example={"message": "Job updated."}),),
    refusals={
        **_UNKNOWN_JOB,
        **_BROKEN_RULE,
        409: "The job no longer has the `version` that was given: the answer names the current one.",
    },
)
_DELETE_JOB = Operation(
    method="DELETE",
    path="/jobs/{id}",
    name="deleteJob",
    tag=_JOBS,
    summary="Delete a job",
    description="It fires no more and is found no more. Executions that go on come to their end.",
    handler=handlers.delete_job,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The job was deleted.", body=shapes.Done, example={"message": "Job deleted."}),),
    refusals=_UNKNOWN_JOB,
)
_ADD_TASK = Operation(
    method="POST",
    path="/jobs/{id}/tasks",
    name="addTask",
    tag=_TASKS,
    summary="Add a task to a job",
    handler=handlers.add_task,
    query=NoQuery,
    body=shapes.NewTask,
    body_example=examples.NEW_TASK,
    replies=(
        ReplyDoc(
            status=201,
            description="The task was added.",
            body=shapes.Created,
            example={"id": "mail", "message": "Task added."},
        ),
    ),
    idempotent=True,
    refusals={**_UNKNOWN_JOB, **_BROKEN_RULE},
)
_LIST_TASKS = Operation(
    method="GET",
    path="/jobs/{id}/tasks",
    name="listTasks",
    tag=_TASKS,
    summary="Get all tasks of a job",
    description="Each with the tasks before it (`dependencies`) and after it (`dependents`).",
    handler=handlers.list_tasks,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The tasks.", body=list[shapes.LinkedTask], example=examples.TASKS),),
    refusals=_UNKNOWN_JOB,
)
_UPDATE_TASK = Operation(
    method="PUT",
    path="/jobs/{id}/tasks/{taskId}",
    name="updateTask",
    tag=_TASKS,
    summary="Update a task of a job",
    description="Only what is given changes.",
    handler=handlers.update_task,
    query=NoQuery,
    body=shapes.TaskChange,
    body_example=examples.TASK_CHANGE,
    replies=(ReplyDoc(status=200, description="The task was changed.", body=shapes.Done, example={"message": "Task updated."}),),
    refusals={**_UNKNOWN_TASK, **_BROKEN_RULE},
)
_DELETE_TASK = Operation(
    method="DELETE",
    path="/jobs/{id}/tasks/{taskId}",
    name="deleteTask",
    tag=_TASKS,
    summary="Delete a task of a job",
    handler=handlers.delete_task,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The task was deleted.", body=shapes.Done, example={"message": "Task deleted."}),),
    refusals={**_UNKNOWN_TASK, 409: "Other tasks depend on it: `tasks` names them."},
)
_TRIGGER_JOB = Operation(
    method="POST",
    path="/jobs/{id}/trigger",
    name="triggerJob",
    tag=_EXECUTIONS,
    summary="Start an execution now",
    description="A paused job can be triggered too.",
    handler=handlers.trigger_job,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=202,
            description="The execution was accepted.",
            body=shapes.Triggered,
            example={"executionId": examples.EXECUTION_ID, "message": "Job triggered."},
        ),
    ),
    refusals={**_UNKNOWN_JOB, 409: "The job's state does not allow it."},
    idempotent=True,
)
_GET_STATUS = Operation(
    method="GET",
    path="/jobs/{id}/status",
    name="getJobStatus",
    tag=_EXECUTIONS,
    summary="Get the latest execution of a job",
    handler=handlers.get_status,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The execution.", body=shapes.Execution, example=examples.EXECUTION),),
    refusals={404: "No job has this id, or it never ran."},
)
_GET_HISTORY = Operation(
    method="GET",
    path="/jobs/{id}/history",
    name="getJobHistory",
    tag=_EXECUTIONS,
    summary="Get the execution history of a job",
    description="Newest first.",
    handler=handlers.get_history,
    query=shapes.HistoryQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of executions.",
            body=list[shapes.ExecutionRecord],
            example=examples.HISTORY,
            headers=_TOTAL,
        ),
    ),
    refusals=_UNKNOWN_JOB,
)
_PAUSE_JOB = Operation(
    method="POST",
    path="/jobs/{id}/pause",
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
            body=shapes.StatusChanged,
            example={"id": examples.JOB_ID, "status": "PAUSED", "message": "Job paused."},
        ),
    ),
    refusals=_UNKNOWN_JOB,
)
_RESUME_JOB = Operation(
    method="POST",
    path="/jobs/{id}/resume",
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
            description="The job is active.",
            body=shapes.StatusChanged,
            example={"id": examples.JOB_ID, "status": "ACTIVE", "message": "Job resumed."},
        ),
    ),
    refusals=_UNKNOWN_JOB,
)

DAG_JOBS = Api(
    name="dag_jobs",
    title="DAG jobs",
    description="Jobs that are DAGs of tasks, with schedule, retry policy, trigger, status and history.",
    claims=("/jobs",),
    operations=(
        _CREATE_JOB,
        _LIST_JOBS,
        _GET_JOB,
        _UPDATE_JOB,
        _DELETE_JOB,
        _ADD_TASK,
        _LIST_TASKS,
        _UPDATE_TASK,
        _DELETE_TASK,
        _TRIGGER_JOB,
        _GET_STATUS,
        _GET_HISTORY,
        _PAUSE_JOB,
        _RESUME_JOB,
    ),
    parameters={
        "id": PathParameter(description="The job's id.", example=examples.JOB_ID),
        "taskId": PathParameter(description="The task's id inside its job.", example="extract"),
    },
    errors=ProblemShape(),
    translate=translate_error,
    rule_status=RULE_STATUS,
)
