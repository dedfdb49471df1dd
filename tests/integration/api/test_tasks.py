"""TaskService on a whole replica."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.following import NEW_KEY_ENTRY
from foliot.v1 import spec_pb2, task_pb2, worker_pb2
from foliot.v1.task_pb2 import (
    CancelTaskRequest,
    DeleteTaskRequest,
    GetTaskRequest,
    ListTaskLogsRequest,
    ListTasksRequest,
    NewTask,
    RetryTaskRequest,
    SaveCheckpointRequest,
    SubmitTaskRequest,
    SubmitTasksRequest,
    TaskFilter,
    UpdateTaskRequest,
    WatchTaskRequest,
)
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, binary_work, new_task

GHOST = str(uuid.UUID(int=7))


async def get(stack: Stack, task_id: str) -> task_pb2.Task:
    return (await stack.client.tasks.GetTask(GetTaskRequest(task_id=task_id))).task


async def test_a_task_from_submission_to_its_end(stack: Stack) -> None:
    task = await stack.submit(name="first", tags=["a"], priority=9)
    assert task.state == spec_pb2.TASK_STATE_READY
    assert (task.project, task.spec.name, task.spec.priority, task.spec.queue) == ("default", "first", 9, "default")
    assert task.spec.timeout == Duration(seconds=3600)
    assert (task.spec.retry.max_attempts, task.spec.retry.jitter) == (1, 1.0)
    assert dict(task.spec.binary.environment) == {"TOKEN": "******"}

    claimed = await stack.claim()
    assert claimed.task.id == task.id
    assert dict(claimed.task.spec.binary.environment) == {"TOKEN": "secret"}
    assert claimed.lease_ttl.seconds == 60
    assert claimed.token
    running = await get(stack, task.id)
    assert (running.state, running.attempt, running.worker_id) == (spec_pb2.TASK_STATE_RUNNING, 1, "x1")
    assert [(a.number, a.outcome, a.HasField("ended_at")) for a in running.attempts] == [(1, 0, False)]

    await stack.client.workers.HeartbeatTask(worker_pb2.HeartbeatTaskRequest(task_id=task.id, executor_id="x1"))
    answer = await stack.client.workers.CompleteTask(
        worker_pb2.CompleteTaskRequest(task_id=task.id, executor_id="x1", output=b"x" * 2_000_000, error_output=b"e", exit_code=0)
    )
    assert answer.task.state == spec_pb2.TASK_STATE_SUCCEEDED
    ended = await get(stack, task.id)
    assert (ended.state, ended.exit_code, ended.error_output) == (spec_pb2.TASK_STATE_SUCCEEDED, 0, b"e")
    assert len(ended.output) == 1024 * 1024
    assert ended.output.endswith(b"\n[cut: 2000000 bytes in all]\n")
    assert [(a.number, a.worker_id, a.outcome) for a in ended.attempts] == [(1, "x1", spec_pb2.OUTCOME_SUCCEEDED)]
    assert ended.ended_at.ToMicroseconds() >= ended.started_at.ToMicroseconds() >= ended.created_at.ToMicroseconds()


async def test_a_failed_attempt_waits_for_its_backoff_and_is_told(stack: Stack) -> None:
    task = await stack.submit(retry=spec_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(seconds=60), jitter=0))
    await stack.run_one(fails=True)
    waiting = await get(stack, task.id)
    assert (waiting.state, waiting.attempt, waiting.failed_attempts) == (spec_pb2.TASK_STATE_SCHEDULED, 1, 1)
    assert (waiting.error, waiting.exit_code) == ("boom", 7)
    assert waiting.due_at.ToMicroseconds() - waiting.updated_at.ToMicroseconds() == 60_000_000
    assert [(a.number, a.outcome, a.error) for a in waiting.attempts] == [(1, spec_pb2.OUTCOME_FAILED, "boom")]


async def test_many_tasks_are_created_in_order(stack: Stack) -> None:
    tasks = [new_task(name=f"n{number}") for number in range(200)]
    answer = await stack.client.tasks.SubmitTasks(SubmitTasksRequest(tasks=tasks))
    assert sorted(answer.task_ids) == list(answer.task_ids)
    listed = await stack.client.tasks.ListTasks(ListTasksRequest(ascending=True, page_size=200))
    assert [task.spec.name for task in listed.tasks] == [f"n{number}" for number in range(200)]
    assert [task.id for task in listed.tasks] == list(answer.task_ids)


async def test_one_bad_task_refuses_all(stack: Stack) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.SubmitTasks(SubmitTasksRequest(tasks=[new_task(), new_task(priority=11), NewTask()]))
    assert [v.field for v in caught.value.fields] == ["tasks[1].spec.priority", "tasks[2].spec"]
    assert not (await stack.client.tasks.ListTasks(ListTasksRequest())).tasks


async def test_dependencies_live_and_ended(stack: Stack) -> None:
    done = await stack.submit()
    await stack.run_one()
    live = await stack.submit()
    answer = await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(done.id, live.id)))
    assert answer.task.state == spec_pb2.TASK_STATE_BLOCKED
    assert list(answer.task.dependencies) == [done.id, live.id]
    await stack.run_one()
    assert (await get(stack, answer.task.id)).state == spec_pb2.TASK_STATE_READY


@pytest.mark.parametrize(
    ("dependencies", "reason", "field"),
    [
        ([GHOST], ErrorReason.UNKNOWN_DEPENDENCY, ""),
        (["x"], ErrorReason.INVALID_FIELD, "task.dependencies[0]"),
        ([GHOST, GHOST], ErrorReason.INVALID_FIELD, "task.dependencies[1]"),
        ([str(uuid.UUID(int=n)) for n in range(1_001)], ErrorReason.INVALID_FIELD, "task.dependencies"),
    ],
)
async def test_bad_dependencies(stack: Stack, dependencies: list[str], reason: ErrorReason, field: str) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(*dependencies)))
    assert caught.value.reason is reason
    assert [v.field for v in caught.value.fields] == ([field] if field else [])
    if reason is ErrorReason.UNKNOWN_DEPENDENCY:
        assert caught.value.metadata == {"ids": GHOST}


async def test_a_dependency_of_another_project_does_not_exist(stack: Stack) -> None:
    live = await stack.submit()
    await stack.submit()
    ended = await stack.run_one()
    for task_id in (live.id, ended):
        with pytest.raises(FoliotError) as caught:
            await stack.acting_in("other").tasks.SubmitTask(SubmitTaskRequest(task=new_task(task_id)))
        assert caught.value.reason is ErrorReason.UNKNOWN_DEPENDENCY


async def test_nothing_of_another_project_is_visible(stack: Stack) -> None:
    task, other = await stack.submit(), stack.acting_in("other").tasks
    calls: list[Awaitable[object]] = [
        other.GetTask(GetTaskRequest(task_id=task.id)),
        other.CancelTask(CancelTaskRequest(task_id=task.id)),
        other.DeleteTask(DeleteTaskRequest(task_id=task.id)),
        other.RetryTask(RetryTaskRequest(task_id=task.id)),
        other.UpdateTask(UpdateTaskRequest(task_id=task.id, update_fields=["tags"])),
        other.SaveCheckpoint(SaveCheckpointRequest(task_id=task.id, checkpoint_json="1")),
        other.ListTaskLogs(ListTaskLogsRequest(task_id=task.id)),
    ]
    for call in calls:
        with pytest.raises(FoliotError) as caught:
            await call
        assert caught.value.reason is ErrorReason.NOT_FOUND
    assert not (await other.ListTasks(ListTasksRequest())).tasks


async def test_a_repeated_submission_has_one_effect(stack: Stack) -> None:
    request = SubmitTaskRequest(task=new_task(), idempotency_key="k")
    first, second = await asyncio.gather(stack.client.tasks.SubmitTask(request), stack.client.tasks.SubmitTask(request))
    third = await stack.client.tasks.SubmitTask(request)
    assert first.task.id == second.task.id == third.task.id
    assert len((await stack.client.tasks.ListTasks(ListTasksRequest())).tasks) == 1
    many = SubmitTasksRequest(tasks=[new_task(), new_task()], idempotency_key="m")
    ids = [list((await stack.client.tasks.SubmitTasks(many)).task_ids) for _ in range(2)]
    assert ids[0] == ids[1]


async def test_a_key_that_the_client_made_is_stored_for_repetitions(stack: Stack, pool: Pool) -> None:
    key = "01980000-0000-7000-8000-000000000000"
    request = SubmitTaskRequest(task=new_task(), idempotency_key=key)
    first = await stack.client.tasks.SubmitTask(request, metadata=((NEW_KEY_ENTRY, "1"),))
    row = await pool.fetchrow("SELECT project, key FROM idempotency")
    assert row is not None
    assert tuple(row) == ("default", key)
    assert (await stack.client.tasks.SubmitTask(request)).task.id == first.task.id


async def test_a_key_used_with_another_request_is_refused(stack: Stack) -> None:
    await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(), idempotency_key="k"))
    for request in (new_task(name="other"), new_task(tags=["t"])):
        with pytest.raises(FoliotError) as caught:
            await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=request, idempotency_key="k"))
        assert caught.value.reason is ErrorReason.IDEMPOTENCY_MISMATCH
    other = await stack.acting_in("other").tasks.SubmitTask(SubmitTaskRequest(task=new_task(name="other"), idempotency_key="k"))
    assert other.task.project == "other"


# ---- lists


async def test_lists_are_paged_by_token_and_by_offset(stack: Stack) -> None:
    ids = [(await stack.submit(name=f"n{number}")).id for number in range(5)]
    seen, token = [], ""
    while True:
        page = await stack.client.tasks.ListTasks(ListTasksRequest(page_size=2, page_token=token, with_total=True))
        assert page.total == 5
        seen += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]
    page = await stack.client.tasks.ListTasks(ListTasksRequest(page_size=2, offset=3))
    assert [task.id for task in page.tasks] == [ids[1], ids[0]]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (task_pb2.TASK_SORT_NAME, ["c", "b", "a"]),
        (task_pb2.TASK_SORT_PRIORITY, ["a", "c", "b"]),
        (task_pb2.TASK_SORT_CREATED_AT, ["c", "b", "a"]),
        (task_pb2.TASK_SORT_STATE, ["c", "b", "a"]),
        (task_pb2.TASK_SORT_UPDATED_AT, ["c", "b", "a"]),
    ],
)
async def test_lists_are_sorted(stack: Stack, sort: task_pb2.TaskSort.ValueType, names: list[str]) -> None:
    for name, priority in (("a", 9), ("b", 1), ("c", 5)):
        await stack.submit(name=name, priority=priority)
    seen, token = [], ""
    for _ in range(3):
        page = await stack.client.tasks.ListTasks(ListTasksRequest(sort=sort, page_size=1, page_token=token))
        seen += [task.spec.name for task in page.tasks]
        token = page.next_page_token
    assert (seen, token) == (names, "")


async def test_lists_have_the_ends_of_outputs_if_asked(stack: Stack) -> None:
    ended, waiting = await stack.submit(name="ended", priority=9), await stack.submit(name="waiting")
    await stack.claim()
    await stack.client.workers.CompleteTask(
        worker_pb2.CompleteTaskRequest(task_id=ended.id, executor_id="x1", output=b"start" + b"x" * 16 * 1024, exit_code=0)
    )
    told = await stack.client.tasks.ListTasks(ListTasksRequest(with_outputs=True, page_size=100))
    assert {task.id: task.output for task in told.tasks} == {ended.id: b"x" * 16 * 1024, waiting.id: b""}
    assert not any(task.output for task in (await stack.client.tasks.ListTasks(ListTasksRequest())).tasks)
    with pytest.raises(FoliotError) as raised:
        await stack.client.tasks.ListTasks(ListTasksRequest(with_outputs=True, page_size=101))
    assert [violation.field for violation in raised.value.fields] == ["page_size"]


async def test_lists_are_filtered(stack: Stack) -> None:
    wanted = await stack.submit(name="w", tags=["t"], queue="q", priority=2)
    await stack.submit()
    for which in (
        TaskFilter(name="w"),
        TaskFilter(tag="t"),
        TaskFilter(queue="q"),
        TaskFilter(priority=2, standalone=True),
        TaskFilter(states=[spec_pb2.TASK_STATE_READY], kind="binary", name="w"),
    ):
        page = await stack.client.tasks.ListTasks(ListTasksRequest(filter=which, with_total=True))
        assert ([task.id for task in page.tasks], page.total) == ([wanted.id], 1)
    for nothing in (TaskFilter(kind="http"), TaskFilter(worker_id="w"), TaskFilter(run_id=GHOST)):
        assert not (await stack.client.tasks.ListTasks(ListTasksRequest(filter=nothing))).tasks


async def test_a_page_token_fits_its_own_request_only(stack: Stack) -> None:
    for _ in range(2):
        await stack.submit()
    token = (await stack.client.tasks.ListTasks(ListTasksRequest(page_size=1))).next_page_token
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.ListTasks(ListTasksRequest(page_size=1, page_token=token, ascending=True))
    assert [v.field for v in caught.value.fields] == ["page_token"]


# ---- changes


async def update(stack: Stack, task_id: str, new: NewTask, *names: str) -> task_pb2.Task:
    request = UpdateTaskRequest(task_id=task_id, task=new, update_fields=names)
    return (await stack.client.tasks.UpdateTask(request)).task


async def test_a_waiting_task_is_changed(stack: Stack) -> None:
    task = await stack.submit(name="old", tags=["t"])
    later = Timestamp(seconds=4_000_000_000)
    changed = await update(stack, task.id, new_task(name="new", priority=9, start_at=later), "name", "start_at")
    assert (changed.spec.name, changed.spec.priority, list(changed.spec.tags)) == ("new", 5, ["t"])
    assert (changed.state, changed.due_at) == (spec_pb2.TASK_STATE_SCHEDULED, later)
    assert (await get(stack, task.id)).spec == changed.spec


async def test_updates_at_the_same_time_all_count(stack: Stack) -> None:
    task = await stack.submit()
    await asyncio.gather(
        update(stack, task.id, new_task(name="new"), "name"),
        update(stack, task.id, new_task(tags=["t"]), "tags"),
        update(stack, task.id, new_task(priority=9), "priority"),
        update(stack, task.id, new_task(queue="q"), "queue"),
    )
    spec = (await get(stack, task.id)).spec
    assert (spec.name, list(spec.tags), spec.priority, spec.queue) == ("new", ["t"], 9, "q")


async def test_a_masked_secret_sent_back_is_kept(stack: Stack) -> None:
    task = await stack.submit()
    task.spec.binary.arguments.append("-v")
    await update(stack, task.id, NewTask(spec=task.spec), "work")
    claimed = await stack.claim()
    assert dict(claimed.task.spec.binary.environment) == {"TOKEN": "secret"}
    assert list(claimed.task.spec.binary.arguments) == ["-v"]


async def test_dependencies_may_change_while_it_waits(stack: Stack) -> None:
    first, second = await stack.submit(), await stack.submit()
    task = (await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(first.id)))).task
    changed = await update(stack, task.id, new_task(second.id), "dependencies")
    assert list(changed.dependencies) == [second.id]
    with pytest.raises(FoliotError) as caught:
        await update(stack, second.id, new_task(task.id), "dependencies")
    assert caught.value.reason is ErrorReason.DEPENDENCY_CYCLE


async def test_an_ended_task_changes_its_labels_only(stack: Stack) -> None:
    await stack.submit()
    task_id = await stack.run_one()
    changed = await update(stack, task_id, new_task(tags=["x"], description="d"), "tags", "description")
    assert (list(changed.spec.tags), changed.spec.description) == (["x"], "d")
    ended = await get(stack, task_id)
    assert (list(ended.spec.tags), ended.output) == (["x"], b"out")
    with pytest.raises(FoliotError) as caught:
        await update(stack, task_id, new_task(priority=1), "priority")
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.WRONG_STATE, {"state": "succeeded"})


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (UpdateTaskRequest(update_fields=["tags"]), "task_id"),
        (UpdateTaskRequest(task_id="x", update_fields=["tags"]), "task_id"),
        (UpdateTaskRequest(task_id="ID"), "update_fields"),
        (UpdateTaskRequest(task_id="ID", update_fields=["tags", "id"]), "update_fields[1]"),
        (UpdateTaskRequest(task_id="ID", update_fields=["name"]), "task.spec.name"),
        (
            UpdateTaskRequest(task_id="ID", task=NewTask(dependencies=["x"]), update_fields=["dependencies"]),
            "task.dependencies[0]",
        ),
        (UpdateTaskRequest(task_id="ID", task=NewTask(trigger_rule=99), update_fields=["trigger_rule"]), "task.trigger_rule"),  # type: ignore[arg-type]
    ],
)
async def test_bad_updates_name_their_field(stack: Stack, request_: UpdateTaskRequest, field: str) -> None:
    request = UpdateTaskRequest()
    request.CopyFrom(request_)
    if request.task_id == "ID":
        request.task_id = (await stack.submit()).id
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.UpdateTask(request)
    assert [v.field for v in caught.value.fields] == [field]


async def test_cancel_retry_delete(stack: Stack) -> None:
    tasks, task = stack.client.tasks, await stack.submit()
    cancelled = (await tasks.CancelTask(CancelTaskRequest(task_id=task.id))).task
    assert cancelled.state == spec_pb2.TASK_STATE_CANCELLED
    with pytest.raises(FoliotError) as caught:
        await tasks.CancelTask(CancelTaskRequest(task_id=task.id))
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.WRONG_STATE, {"state": "cancelled"})

    request = RetryTaskRequest(task_id=task.id, idempotency_key="again")
    retried = [(await tasks.RetryTask(request)).task for _ in range(2)]
    assert [one.state for one in retried] == [spec_pb2.TASK_STATE_READY] * 2
    with pytest.raises(FoliotError) as caught:
        await tasks.RetryTask(RetryTaskRequest(task_id=task.id))
    assert caught.value.reason is ErrorReason.WRONG_STATE

    await stack.claim()
    with pytest.raises(FoliotError) as caught:
        await tasks.DeleteTask(DeleteTaskRequest(task_id=task.id))
    assert caught.value.reason is ErrorReason.WRONG_STATE
    await tasks.CancelTask(CancelTaskRequest(task_id=task.id))
    await tasks.DeleteTask(DeleteTaskRequest(task_id=task.id))
    for call in (tasks.GetTask(GetTaskRequest(task_id=task.id)), tasks.DeleteTask(DeleteTaskRequest(task_id=task.id))):
        with pytest.raises(FoliotError) as caught:
            await call
        assert caught.value.reason is ErrorReason.NOT_FOUND


async def test_a_task_that_others_wait_for_is_not_deleted(stack: Stack) -> None:
    task = await stack.submit()
    waiting = (await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(task.id)))).task
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.DeleteTask(DeleteTaskRequest(task_id=task.id))
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.HAS_DEPENDENTS, {"ids": waiting.id})


async def test_checkpoints_are_kept_for_the_next_attempt(stack: Stack) -> None:
    task, tasks = await stack.submit(checkpoint_enabled=True), stack.client.tasks
    with pytest.raises(FoliotError) as caught:
        await tasks.SaveCheckpoint(SaveCheckpointRequest(task_id=task.id, checkpoint_json="1"))
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.WRONG_STATE, {"state": "ready"})
    await stack.claim()
    await tasks.SaveCheckpoint(SaveCheckpointRequest(task_id=task.id, checkpoint_json='{"at": 3}', attempt=1))
    assert (await get(stack, task.id)).checkpoint_json == '{"at": 3}'
    await stack.client.workers.CompleteTask(worker_pb2.CompleteTaskRequest(task_id=task.id, executor_id="x1"))
    with pytest.raises(FoliotError) as caught:
        await tasks.SaveCheckpoint(SaveCheckpointRequest(task_id=task.id, checkpoint_json="1"))
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.WRONG_STATE, {"state": "succeeded"})


async def test_a_watch_shows_every_state_until_the_end(stack: Stack) -> None:
    task = await stack.submit()
    states = []
    async for answer in stack.client.tasks.WatchTask(WatchTaskRequest(task_id=task.id)):
        states.append(answer.task.state)
        if answer.task.state == spec_pb2.TASK_STATE_READY:
            await stack.claim()
        elif answer.task.state == spec_pb2.TASK_STATE_RUNNING:
            await stack.client.workers.CompleteTask(worker_pb2.CompleteTaskRequest(task_id=task.id, executor_id="x1"))
    assert states == [spec_pb2.TASK_STATE_READY, spec_pb2.TASK_STATE_RUNNING, spec_pb2.TASK_STATE_SUCCEEDED]


async def test_environment_values_are_shown_to_the_claimer_alone(stack: Stack) -> None:
    task = await stack.submit(binary=binary_work())
    shown = [
        task,
        await get(stack, task.id),
        (await stack.client.tasks.ListTasks(ListTasksRequest())).tasks[0],
        await update(stack, task.id, new_task(tags=["x"]), "tags"),
    ]
    assert all("secret" not in str(one) for one in shown)
