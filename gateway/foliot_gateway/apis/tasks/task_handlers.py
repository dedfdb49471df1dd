"""What each operation on tasks asks of the scheduler."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import UNSET

from foliot.v1 import spec_pb2, task_pb2
from foliot_gateway.apis.tasks import from_contract, shapes, to_contract
from foliot_gateway.apis.tasks.envelopes import One, PageOf, page_meta, page_offset
from foliot_gateway.apis.tasks.identifiers import TASK
from foliot_gateway.apis.tasks.words import STATES, STATUSES, TaskStatus
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply
from foliot_gateway.http.times import required_moment

_SORTS = {
    "created_at": task_pb2.TASK_SORT_CREATED_AT,
    "updated_at": task_pb2.TASK_SORT_UPDATED_AT,
    "priority": task_pb2.TASK_SORT_PRIORITY,
    "name": task_pb2.TASK_SORT_NAME,
    # Within one status; `_by_status` puts the statuses one after the other.
    "status": task_pb2.TASK_SORT_CREATED_AT,
}


async def create_task(call: Call[NoQuery, shapes.NewTask]) -> Reply:
    """`POST /api/tasks`."""
    request = task_pb2.SubmitTaskRequest(task=to_contract.new_task(call.body), idempotency_key=call.idempotency_key)
    created = (await call.backend.ask(call.backend.tasks.SubmitTask, request)).task
    if call.idempotency_key and created.HasField("ended_at"):
        created = await _stored(call.backend, created.id)  # made by an earlier request: its result is to be shown
    shown = from_contract.task(created)
    return Reply(status=201, body=One(data=shown), headers={"location": f"tasks/{shown.id}"})


async def list_tasks(call: Call[shapes.TaskListQuery, NoBody]) -> Reply:
    """`GET /api/tasks`."""
    query = call.query
    wanted = task_pb2.TaskFilter()
    if query.tag is not UNSET:
        wanted.tag = query.tag
    request = task_pb2.ListTasksRequest(
        filter=wanted,
        sort=_SORTS[query.sort],
        ascending=query.order == "asc",
        page_size=query.limit,
        offset=page_offset(query.page, query.limit),
        with_total=True,
        with_outputs=True,
    )
    if query.status is not UNSET:
        request.filter.states.extend(STATES[query.status])
    if query.sort == "status" and query.status is UNSET:
        answer = await _by_status(call.backend, request)
    else:
        answer = await call.backend.ask(call.backend.tasks.ListTasks, request)
    tasks = [from_contract.task(task) for task in answer.tasks]
    return Reply(status=200, body=PageOf(data=tasks, meta=page_meta(query.page, query.limit, answer.total)))


async def _by_status(backend: Backend, wanted: task_pb2.ListTasksRequest) -> task_pb2.ListTasksResponse:
    """Return a page of all tasks in the order of their status.

    A status of this API may be several states, which the scheduler's own order by state would scatter: so each status is a list
    by itself, and the page is cut out of those lists one after the other.
    """
    order = sorted(STATUSES, reverse=not wanted.ascending)

    async def part(status: TaskStatus, offset: int, limit: int) -> task_pb2.ListTasksResponse:
        request = task_pb2.ListTasksRequest()
        request.CopyFrom(wanted)
        request.filter.states.extend(STATES[status])
        request.offset, request.page_size = offset, limit
        return await backend.ask(backend.tasks.ListTasks, request)

    totals = [answer.total for answer in await asyncio.gather(*(part(status, 0, 1) for status in order))]
    page = task_pb2.ListTasksResponse(total=sum(totals))
    skip, left = wanted.offset, wanted.page_size
    for status, total in zip(order, totals, strict=True):
        if left and skip < total:
            found = await part(status, skip, left)
            page.tasks.extend(found.tasks)
            left -= len(found.tasks)
        skip = max(0, skip - total)
    return page


async def get_task(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/tasks/{id}`."""
    return Reply(status=200, body=One(data=from_contract.task(await _stored(call.backend, TASK.uuid(call.path["id"])))))


async def update_task(call: Call[NoQuery, shapes.TaskChange]) -> Reply:
    """`PUT /api/tasks/{id}`: answers with the whole task, its result and checkpoint included."""
    uuid, backend = TASK.uuid(call.path["id"]), call.backend
    stored = (await _stored(backend, uuid)).spec if to_contract.needs_stored(call.body) else spec_pb2.TaskSpec()
    changed = (await backend.ask(backend.tasks.UpdateTask, to_contract.task_update(uuid, call.body, stored))).task
    if changed.attempt:
        changed = await _stored(backend, uuid)
    return Reply(status=200, body=One(data=from_contract.task(changed)))


async def delete_task(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /api/tasks/{id}`."""
    await call.backend.ask(call.backend.tasks.DeleteTask, task_pb2.DeleteTaskRequest(task_id=TASK.uuid(call.path["id"])))
    return Reply(status=200, body=One(data=shapes.Deleted(success=True, message="Task deleted successfully")))


async def cancel_task(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/tasks/{id}/cancel`."""
    request = task_pb2.CancelTaskRequest(task_id=TASK.uuid(call.path["id"]))
    answer = await call.backend.ask(call.backend.tasks.CancelTask, request)
    return Reply(status=200, body=One(data=from_contract.cancelled(answer.task)))


async def retry_task(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/tasks/{id}/retry`."""
    request = task_pb2.RetryTaskRequest(task_id=TASK.uuid(call.path["id"]), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.tasks.RetryTask, request)
    return Reply(status=200, body=One(data=from_contract.retried(answer.task)))


async def list_logs(call: Call[shapes.LogQuery, NoBody]) -> Reply:
    """`GET /api/tasks/{id}/logs`."""
    query = call.query
    request = task_pb2.ListTaskLogsRequest(task_id=TASK.uuid(call.path["id"]), page_size=query.limit, offset=query.offset)
    if query.level is not UNSET:
        request.level = query.level
    answer = await call.backend.ask(call.backend.tasks.ListTaskLogs, request)
    meta = shapes.LogMeta(limit=query.limit, offset=query.offset, total=answer.total)
    return Reply(status=200, body=shapes.LogPage(data=from_contract.log_lines(answer.lines), meta=meta))


async def save_checkpoint(call: Call[NoQuery, shapes.NewCheckpoint]) -> Reply:
    """`POST /api/tasks/{id}/checkpoint`."""
    text = to_contract.checkpoint_json(call.body)
    request = task_pb2.SaveCheckpointRequest(task_id=TASK.uuid(call.path["id"]), checkpoint_json=text)
    answer = await call.backend.ask(call.backend.tasks.SaveCheckpoint, request)
    saved = shapes.Checkpointed(
        id=call.path["id"],
        checkpoint_data=msgspec.Raw(text.encode("utf-8")),
        updated_at=required_moment(answer.task.updated_at),
    )
    return Reply(status=200, body=One(data=saved))


async def _stored(backend: Backend, uuid: str) -> task_pb2.Task:
    return (await backend.ask(backend.tasks.GetTask, task_pb2.GetTaskRequest(task_id=uuid))).task
