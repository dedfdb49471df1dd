"""Dependents that failed come back on a real replica, whoever leads when their dependency succeeds."""

from __future__ import annotations

import asyncio
from typing import cast

from foliot.kit.clock import SystemClock
from foliot.v1.spec_pb2 import TASK_STATE_BLOCKED, TASK_STATE_FAILED, TASK_STATE_READY, TASK_STATE_SUCCEEDED
from foliot.v1.task_pb2 import GetTaskRequest, RetryTaskRequest, SubmitTaskRequest, Task
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.revival import AGAIN_S, RETRY_S, Revival
from foliot_scheduler.core.commands import Command, PutBackDependents
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, new_task, replica
from tests.integration.store.counted import check_counts


def revival(stack: Stack, pool: Pool) -> Revival:
    return Revival(pool=pool, leadership=stack.leadership, plans=TaskPlans(), clock=SystemClock())


async def submit_after(stack: Stack, *dependencies: str) -> str:
    return (await stack.client.tasks.SubmitTask(SubmitTaskRequest(task=new_task(*dependencies)))).task.id


async def get(stack: Stack, task_id: str) -> Task:
    return (await stack.client.tasks.GetTask(GetTaskRequest(task_id=task_id))).task


async def wait_for(stack: Stack, task_id: str, state: int) -> Task:
    async with asyncio.timeout(20):
        while (task := await get(stack, task_id)).state != state:
            pass
    return task


async def test_a_chain_comes_back_after_fail_overs(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool) as first:
        parent = await submit_after(first)
        child = await submit_after(first, parent)
        grandchild = await submit_after(first, child)
        await first.run_one(fails=True)
        failed = await get(first, child)
        assert (failed.state, failed.error) == (TASK_STATE_FAILED, f"dependency {parent} did not succeed")
        assert (await get(first, grandchild)).error == f"dependency {child} did not succeed"
        await first.client.tasks.RetryTask(RetryTaskRequest(task_id=parent))
    async with replica(database_url, pool) as second:  # it did not see the retry
        assert await second.run_one() == parent
        assert (await get(second, child)).state == TASK_STATE_FAILED
        assert await pool.fetchval("SELECT count(*) FROM failed_dependent WHERE due") == 1
    async with replica(database_url, pool) as third, revival(third, pool):  # nor this one the success
        assert (await wait_for(third, child, TASK_STATE_READY)).error == ""
        await wait_for(third, grandchild, TASK_STATE_BLOCKED)
        assert await third.run_one() == child
        assert await third.run_one() == grandchild
        for task_id in (parent, child, grandchild):
            assert (await get(third, task_id)).state == TASK_STATE_SUCCEEDED
    assert await pool.fetchval("SELECT count(*) FROM failed_dependent") == 0
    await check_counts(pool)


class _Full:
    """A leader that has no room for more tasks."""

    epoch = 1

    async def execute(self, command: Command) -> None:
        assert isinstance(command, PutBackDependents)


async def test_those_for_whom_there_is_no_room_are_not_asked_without_end(pool: Pool) -> None:
    await pool.execute("INSERT INTO failed_dependent VALUES (gen_random_uuid(), gen_random_uuid(), true)")
    asking = Revival(pool=pool, leadership=cast("Leadership", _Full()), plans=TaskPlans(), clock=SystemClock())
    assert [await asking.do_round() for _ in range(3)] == [AGAIN_S, RETRY_S, RETRY_S]


async def test_notes_of_those_that_are_gone_go(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool) as stack:
        parent = await submit_after(stack)
        many = [await submit_after(stack, parent) for _ in range(3)]
        await stack.run_one(fails=True)
        await pool.execute("DELETE FROM task_history WHERE id = $1::text::uuid", many[0])  # as retention would
        await stack.client.tasks.RetryTask(RetryTaskRequest(task_id=parent))
        await stack.run_one()
        async with revival(stack, pool):
            for task_id in many[1:]:
                await wait_for(stack, task_id, TASK_STATE_READY)
        assert await pool.fetchval("SELECT count(*) FROM failed_dependent") == 0
