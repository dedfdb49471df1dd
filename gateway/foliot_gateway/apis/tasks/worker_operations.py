"""The declaration of the operations on workers."""

from __future__ import annotations

from typing import Any, Final

from foliot_gateway.apis.tasks import examples, worker_handlers
from foliot_gateway.apis.tasks import worker_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One, PageOf
from foliot_gateway.http.operation import NoBody, NoQuery, Operation, ReplyDoc

TAG: Final = "Workers"
_UNKNOWN: Final = {404: "No worker has this id."}

WORKER_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="GET",
        path="/api/workers",
        name="listWorkers",
        tag=TAG,
        summary="List workers",
        description="In the order of their ids. Those that are gone are listed as `offline` until the retention forgets them.",
        handler=worker_handlers.list_workers,
        query=shapes.WorkerListQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="A page of workers.", body=PageOf[shapes.Worker], example=examples.WORKERS),),
    ),
    Operation(
        method="GET",
        path="/api/workers/{worker_id}",
        name="getWorker",
        tag=TAG,
        summary="Get a worker",
        handler=worker_handlers.get_worker,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The worker.", body=One[shapes.WorkerInFull], example=examples.WORKER),),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="GET",
        path="/api/workers/{worker_id}/tasks",
        name="listWorkerTasks",
        tag=TAG,
        summary="List the tasks of a worker",
        description="Those whose latest attempt is, or was, on it; newest first.",
        handler=worker_handlers.list_worker_tasks,
        query=shapes.WorkerTasksQuery,
        body=NoBody,
        replies=(
            ReplyDoc(status=200, description="A page of tasks.", body=PageOf[shapes.WorkerTask], example=examples.WORKER_TASKS),
        ),
        refusals=_UNKNOWN,
    ),
)
