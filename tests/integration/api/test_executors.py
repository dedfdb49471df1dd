"""What the contract has for executors and those who look at them: claims, bulk cancel, counts, lists."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2, worker_pb2
from foliot.v1.task_pb2 import (
    CancelTaskRequest,
    CancelTasksRequest,
    CountTasksRequest,
    GetTaskRequest,
    ListTasksRequest,
    SubmitTaskRequest,
    TaskFilter,
)
from foliot.v1.worker_pb2 import ClaimTaskRequest, CompleteTaskRequest, FailTaskRequest, ListWorkersRequest
from foliot_scheduler.api import workers
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, new_task

GHOST = "00000000-0000-7000-8000-000000000000"
READY, RUNNING = spec_pb2.TASK_STATE_READY, spec_pb2.TASK_STATE_RUNNING
CANCELLED, SUCCEEDED = spec_pb2.TASK_STATE_CANCELLED, spec_pb2.TASK_STATE_SUCCEEDED


async def test_many_are_cancelled_each_on_its_own(stack: Stack) -> None:
    tasks = stack.client.tasks
    ended, running = await stack.submit(), await stack.submit()
    await stack.run_one()
    await stack.claim()
    foreign = (await stack.acting_in("p").tasks.SubmitTask(SubmitTaskRequest(task=new_task()))).task
    waiting = [await stack.submit() for _ in range(3)]
    asked = [waiting[0].id, ended.id, GHOST, running.id, waiting[1].id, foreign.id]
    answer = await tasks.CancelTasks(CancelTasksRequest(task_ids=asked, only_waiting=True))
    refusals = [(refusal.task_id, refusal.reason) for refusal in answer.refusals]
    assert refusals == [(ended.id, "WRONG_STATE"), (GHOST, "NOT_FOUND"), (running.id, "WRONG_STATE"), (foreign.id, "NOT_FOUND")]
    assert all(refusal.message for refusal in answer.refusals)
    states = [(await tasks.GetTask(GetTaskRequest(task_id=task.id))).task.state for task in (*waiting, running, ended)]
    assert states == [CANCELLED, CANCELLED, READY, RUNNING, SUCCEEDED]
    answer = await tasks.CancelTasks(CancelTasksRequest(task_ids=[running.id]))
    assert not answer.refusals
    assert (await tasks.GetTask(GetTaskRequest(task_id=running.id))).task.state == CANCELLED


async def test_a_claim_is_answered_even_if_its_earlier_attempts_cannot_be_read(
    stack: Stack, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry = spec_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(nanos=1_000_000))
    task = await stack.submit(retry=retry)
    await stack.run_one(fails=True)
    monkeypatch.setattr(workers, "ATTEMPTS_WITHIN_S", 0.1)
    async with pool.acquire() as locker, locker.transaction():
        await locker.execute("LOCK TABLE attempt IN ACCESS EXCLUSIVE MODE")
        while not (claimed := await stack.claim()).task.id:
            pass  # its backoff of a millisecond is not over
    assert claimed.task.id == task.id
    assert [attempt.number for attempt in claimed.task.attempts] == [2]
    answer = await stack.client.workers.CompleteTask(
        CompleteTaskRequest(task_id=task.id, executor_id="x1", token=claimed.token, exit_code=0)
    )
    assert answer.task.state == SUCCEEDED


@pytest.mark.parametrize(
    ("ids", "field"),
    [([], "task_ids"), ([GHOST, GHOST], "task_ids[1]"), (["x"], "task_ids[0]"), ([GHOST] * 1_001, "task_ids")],
)
async def test_a_bulk_cancel_that_breaks_a_rule_cancels_nothing(stack: Stack, ids: list[str], field: str) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.CancelTasks(CancelTasksRequest(task_ids=ids))
    assert (caught.value.reason, caught.value.fields[0].field) == (ErrorReason.INVALID_FIELD, field)


async def test_a_task_that_runs_is_left_alone_if_asked(stack: Stack) -> None:
    task = await stack.submit()
    await stack.claim()
    with pytest.raises(FoliotError) as caught:
        await stack.client.tasks.CancelTask(CancelTaskRequest(task_id=task.id, only_waiting=True))
    assert (caught.value.reason, caught.value.metadata) == (ErrorReason.WRONG_STATE, {"state": "running"})


async def test_tasks_are_counted_by_state_and_priority(stack: Stack) -> None:
    await stack.submit(priority=9)
    await stack.run_one()
    for _ in range(2):
        await stack.submit(priority=2)
    await stack.submit(priority=9)
    await stack.claim()
    work = spec_pb2.CommandWork(line="true")
    await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(name="c", command=work)))

    async def counted(**which: object) -> dict[tuple[int, int], int]:
        request = CountTasksRequest(filter=TaskFilter(**which))  # type: ignore[arg-type] # by name
        answer = await stack.client.tasks.CountTasks(request)
        return {(found.state, found.priority): found.count for found in answer.counts}

    binary = {(SUCCEEDED, 9): 1, (RUNNING, 9): 1, (READY, 2): 2}
    assert await counted(kind="binary", standalone=True) == binary
    assert await counted(kind="binary") == binary
    assert await counted() == {**binary, (READY, 5): 1}
    assert await counted(states=[READY]) == {(READY, 2): 2, (READY, 5): 1}
    assert await counted(name="nothing") == {}


async def test_lists_keep_several_priorities_and_named_tasks(stack: Stack) -> None:
    by_priority = {priority: (await stack.submit(priority=priority)).id for priority in (1, 5, 9)}

    async def listed(**which: object) -> set[str]:
        request = ListTasksRequest(filter=TaskFilter(**which))  # type: ignore[arg-type] # by name
        return {task.id for task in (await stack.client.tasks.ListTasks(request)).tasks}

    assert await listed(priorities=[1, 9]) == {by_priority[1], by_priority[9]}
    assert await listed(task_ids=[by_priority[5], GHOST]) == {by_priority[5]}
    assert await listed(task_ids=[by_priority[5]], priorities=[1]) == set()
    for wrong, field in (
        ({"priorities": [1], "priority": 1}, "filter.priorities"),
        ({"priorities": [5, 11]}, "filter.priorities[1]"),
        ({"task_ids": ["x"]}, "filter.task_ids[0]"),
    ):
        with pytest.raises(FoliotError) as caught:
            await listed(**wrong)
        assert caught.value.fields[0].field == field


async def test_executors_are_listed_with_what_they_hold(stack: Stack) -> None:
    first, second = await stack.submit(name="one"), await stack.submit(name="two")
    for _ in range(2):
        await stack.claim()
    request = ListWorkersRequest(executors_only=True, with_tasks=True)
    (executor,) = (await stack.client.workers.ListWorkers(request)).workers
    assert (executor.id, executor.is_executor) == ("x1", True)
    assert list(executor.current_task_ids) == [first.id, second.id]
    assert list(executor.current_task_names) == ["one", "two"]
    (brief,) = (await stack.client.workers.ListWorkers(ListWorkersRequest(executors_only=True))).workers
    assert (brief.current_tasks, list(brief.current_task_ids)) == (2, [])


async def test_attempts_say_where_they_ran_and_a_claim_shows_those_before(stack: Stack) -> None:
    retry = spec_pb2.RetryPolicy(max_attempts=2)
    retry.initial_backoff.FromMicroseconds(1)
    task, workers = await stack.submit(retry=retry), stack.client.workers
    await workers.ClaimTask(ClaimTaskRequest(executor_id="x1", executor_address="10.0.0.1"))
    await workers.FailTask(FailTaskRequest(task_id=task.id, executor_id="x1", error="boom"))
    again = worker_pb2.ClaimTaskResponse()
    while not again.HasField("task"):
        again = await workers.ClaimTask(ClaimTaskRequest(executor_id="x2", executor_address="10.0.0.2"))
    shown = [(attempt.worker_id, attempt.worker_address) for attempt in again.task.attempts]
    assert shown == [("x1", "10.0.0.1"), ("x2", "10.0.0.2")]
    assert again.task.spec.binary.environment == {"TOKEN": "secret"}
    read = (await stack.client.tasks.GetTask(GetTaskRequest(task_id=task.id))).task
    assert read.attempts == again.task.attempts
