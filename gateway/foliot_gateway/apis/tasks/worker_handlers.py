"""What each operation on workers asks of the scheduler."""

from __future__ import annotations

import asyncio

from msgspec import UNSET

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import task_pb2, worker_pb2
from foliot_gateway.apis.tasks import worker_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One, PageOf, page_meta, page_offset
from foliot_gateway.apis.tasks.identifiers import TASK
from foliot_gateway.apis.tasks.words import STATES, STATUS, WORKER_STATES, WORKER_STATUS
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.fault import refuse
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply
from foliot_gateway.http.times import moment, required_moment


async def list_workers(call: Call[shapes.WorkerListQuery, NoBody]) -> Reply:
    """`GET /api/workers`."""
    query = call.query
    request = worker_pb2.ListWorkersRequest(page_size=query.limit, offset=page_offset(query.page, query.limit))
    if query.status is not UNSET:
        request.state = WORKER_STATES[query.status]
    else:
        # What workers hold is known to the moment. The filter goes by what was written of them last, and so must what it finds.
        request.with_tasks = True
    answer = await call.backend.ask(call.backend.workers.ListWorkers, request)
    workers = [_worker(worker) for worker in answer.workers]
    return Reply(status=200, body=PageOf(data=workers, meta=page_meta(query.page, query.limit, answer.total)))


async def get_worker(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/workers/{id}`."""
    found = await _stored(call.backend, call.path["worker_id"])
    resources = found.resources
    whole = shapes.WorkerInFull(
        id=found.id,
        hostname=found.hostname,
        status=WORKER_STATUS[found.state],
        tasks_completed=found.tasks_completed,
        tasks_failed=found.tasks_failed,
        current_tasks=found.current_tasks,
        current_task_ids=[TASK.shown(uuid) for uuid in found.current_task_ids],
        last_heartbeat=required_moment(found.last_heartbeat_at),
        registered_at=required_moment(found.registered_at),
        version=found.version,
        tags=list(found.tags),
        resources=shapes.Resources(
            cpu_usage=resources.cpu_usage, memory_usage=resources.memory_usage, disk_usage=resources.disk_usage
        )
        if found.HasField("resources")
        else None,
    )
    return Reply(status=200, body=One(data=whole))


async def list_worker_tasks(call: Call[shapes.WorkerTasksQuery, NoBody]) -> Reply:
    """`GET /api/workers/{id}/tasks`."""
    query, worker_id = call.query, call.path["worker_id"]
    request = task_pb2.ListTasksRequest(
        filter=task_pb2.TaskFilter(worker_id=worker_id),
        page_size=query.limit,
        offset=page_offset(query.page, query.limit),
        with_total=True,
    )
    if query.status is not UNSET:
        request.filter.states.extend(STATES[query.status])
    # An empty page may be of a worker that has run nothing, or of none.
    _, answer = await asyncio.gather(_stored(call.backend, worker_id), call.backend.ask(call.backend.tasks.ListTasks, request))
    tasks = [
        shapes.WorkerTask(
            id=TASK.shown(task.id),
            name=task.spec.name,
            status=STATUS[task.state],
            started_at=moment(task, "started_at"),
            priority=task.spec.priority,
        )
        for task in answer.tasks
    ]
    return Reply(status=200, body=PageOf(data=tasks, meta=page_meta(query.page, query.limit, answer.total)))


def _worker(found: worker_pb2.Worker) -> shapes.Worker:
    return shapes.Worker(
        id=found.id,
        hostname=found.hostname,
        status=WORKER_STATUS[found.state],
        tasks_completed=found.tasks_completed,
        tasks_failed=found.tasks_failed,
        current_tasks=found.current_tasks,
        last_heartbeat=required_moment(found.last_heartbeat_at),
        registered_at=required_moment(found.registered_at),
        version=found.version,
        tags=list(found.tags),
    )


async def _stored(backend: Backend, worker_id: str) -> worker_pb2.Worker:
    try:
        return (await backend.ask(backend.workers.GetWorker, worker_pb2.GetWorkerRequest(worker_id=worker_id))).worker
    except FoliotError as error:
        if error.reason in {ErrorReason.INVALID_FIELD, ErrorReason.NOT_FOUND}:
            # A name that no worker may have is one that no worker has.
            raise refuse(404, "not_found", "No worker has this id.") from error
        raise
