"""The declaration of the operations on tasks."""

from __future__ import annotations

from typing import Any, Final

from foliot_gateway.apis.tasks import examples, shapes, task_handlers
from foliot_gateway.apis.tasks.envelopes import One, PageOf
from foliot_gateway.http.operation import NoBody, NoQuery, Operation, ReplyDoc

TAG: Final = "Tasks"
_UNKNOWN: Final = {404: "No task has this id."}
_BROKEN_RULE: Final = {
    422: "The body breaks a rule: `details.fields` names the fields. Unknown dependencies and a cycle are named by their tasks "
    "(`details.tasks`, `details.path`)."
}

TASK_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="GET",
        path="/api/tasks",
        name="listTasks",
        tag=TAG,
        summary="List tasks",
        description="Tasks made through other APIs and the tasks of DAG runs are listed too. In lists `result` is "
        "the last 16 KiB of it, `checkpoint_data` is null, and of a task in a run `dependencies` is empty: "
        "get the task to read them whole.",
        handler=task_handlers.list_tasks,
        query=shapes.TaskListQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="A page of tasks.", body=PageOf[shapes.Task], example=examples.TASKS),),
    ),
    Operation(
        method="POST",
        path="/api/tasks",
        name="createTask",
        tag=TAG,
        summary="Create a task",
        description="A dependency that ends failed or cancelled fails the task, with an `error` that names it.",
        handler=task_handlers.create_task,
        query=NoQuery,
        body=shapes.NewTask,
        body_example=examples.NEW_TASK,
        replies=(
            ReplyDoc(
                status=201,
                description="The task was created.",
                body=One[shapes.Task],
                example={"data": examples.TASK},
                headers={"Location": "Where the task is."},
            ),
        ),
        refusals=_BROKEN_RULE,
        idempotent=True,
    ),
    Operation(
        method="GET",
        path="/api/tasks/{id}",
        name="getTask",
        tag=TAG,
        summary="Get a task",
        handler=task_handlers.get_task,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The task.", body=One[shapes.Task], example={"data": examples.TASK}),),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="PUT",
        path="/api/tasks/{id}",
        name="updateTask",
        tag=TAG,
        summary="Update a task",
        description="Only what is given changes.",
        handler=task_handlers.update_task,
        query=NoQuery,
        body=shapes.TaskChange,
        body_example=examples.TASK_CHANGE,
        replies=(
            ReplyDoc(
                status=200,
                description="The task as it stands after the change.",
                body=One[shapes.Task],
                example={"data": examples.CHANGED_TASK},
            ),
        ),
        refusals={
            **_UNKNOWN,
            **_BROKEN_RULE,
            409: "The task runs or has ended: then only `tags` and `description` may change.",
        },
    ),
    Operation(
        method="DELETE",
        path="/api/tasks/{id}",
        name="deleteTask",
        tag=TAG,
        summary="Delete a task",
        handler=task_handlers.delete_task,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The task was deleted.", body=One[shapes.Deleted], example=examples.DELETED),),
        refusals={
            **_UNKNOWN,
            409: "The task runs (cancel it first), belongs to a DAG run, or waiting tasks depend on it (`details.tasks`).",
        },
    ),
    Operation(
        method="POST",
        path="/api/tasks/{id}/cancel",
        name="cancelTask",
        tag=TAG,
        summary="Cancel a task",
        description="Pending or running. The work of a running task is stopped, and its result no longer counts.",
        handler=task_handlers.cancel_task,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(status=200, description="The task is cancelled.", body=One[shapes.Cancelled], example=examples.CANCELLED),
        ),
        refusals={**_UNKNOWN, 409: "The task has ended."},
    ),
    Operation(
        method="POST",
        path="/api/tasks/{id}/retry",
        name="retryTask",
        tag=TAG,
        summary="Retry a task",
        description="Failed or cancelled. Its retries are counted anew; tasks that failed because of it wait for it again.",
        handler=task_handlers.retry_task,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The task waits again.", body=One[shapes.Retried], example=examples.RETRIED),),
        refusals={**_UNKNOWN, 409: "The task is neither failed nor cancelled, or belongs to a DAG run."},
        idempotent=True,
    ),
    Operation(
        method="GET",
        path="/api/tasks/{id}/logs",
        name="getTaskLogs",
        tag=TAG,
        summary="Get the log lines of a task",
        description="Of all its attempts, oldest first.",
        handler=task_handlers.list_logs,
        query=shapes.LogQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="A page of lines.", body=shapes.LogPage, example=examples.LOGS),),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="POST",
        path="/api/tasks/{id}/checkpoint",
        name="saveCheckpoint",
        tag=TAG,
        summary="Save the progress of a running task",
        description="The next attempt receives what was saved last.",
        handler=task_handlers.save_checkpoint,
        query=NoQuery,
        body=shapes.NewCheckpoint,
        body_example=examples.CHECKPOINT,
        replies=(
            ReplyDoc(
                status=200,
                description="The checkpoint was saved.",
                body=One[shapes.Checkpointed],
                example=examples.CHECKPOINTED,
            ),
        ),
        refusals={**_UNKNOWN, **_BROKEN_RULE, 409: "The task does not run."},
    ),
)
