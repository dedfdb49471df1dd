"""One project asks for far more than there is room for: it is told so, what was accepted is done, and others notice little."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import task_pb2
from tests.integration.recovery.test_poison_task import APP, ended, new_task
from tests.processes import Stack

if TYPE_CHECKING:
    from pathlib import Path

LIVE_TASKS_MAX = 200
PROJECT_MAX = 150
"""What follows from it by default."""

BULK = 10
CALLERS = 8
REFUSALS = 50
PROBES = 5
ENDED_WITHIN_S = 60.0
POLL_S = 0.05


@dataclass(slots=True)
class Told:
    """What the greedy project was told."""

    accepted: list[str] = field(default_factory=list)
    refusals: list[FoliotError] = field(default_factory=list)


async def keep_asking(client: Client, told: Told) -> None:
    """Submit and submit, whatever is told; for ever."""
    while True:
        try:
            answer = await client.tasks.SubmitTasks(task_pb2.SubmitTasksRequest(tasks=[new_task("innocent")] * BULK))
        except FoliotError as error:
            told.refusals.append(error)
            await SystemClock().sleep(POLL_S)
        else:
            told.accepted.extend(answer.task_ids)


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_a_project_that_asks_for_too_much_is_told_so_and_costs_nobody_else_their_turn(tmp_path: Path) -> None:
    told = Told()
    with Stack(tmp_path, gateway=False) as stack:
        stack.scheduler_options = ("--live-tasks-max", str(LIVE_TASKS_MAX))
        stack.start(workers=1, app=APP)
        conn = await asyncpg.connect(stack.database_url)
        greedy = Client(stack.addresses, project="greedy", waits_out_overload=False)
        async with Client(stack.addresses, project="modest") as modest, asyncio.TaskGroup() as group:
            callers = [group.create_task(keep_asking(greedy, told)) for _ in range(CALLERS)]
            async with asyncio.timeout(ENDED_WITHIN_S):
                while len(told.refusals) < REFUSALS:
                    await SystemClock().sleep(POLL_S)
            behind = []
            for _ in range(PROBES):
                task = await modest.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task("innocent")))
                await ended(modest, task.task.id)
                behind.append(await conn.fetchval("SELECT count(*) FROM task WHERE project = 'greedy'"))
            for caller in callers:
                caller.cancel()
        await greedy.close()
        try:
            async with asyncio.timeout(ENDED_WITHIN_S):
                while await conn.fetchval("SELECT count(*) FROM task"):
                    await SystemClock().sleep(POLL_S)
            rows = await conn.fetch("SELECT id::text, state FROM task_history WHERE project = 'greedy'")
        finally:
            await conn.close()

    assert {error.reason for error in told.refusals} == {ErrorReason.OVERLOADED}
    assert all(error.retry_after_s for error in told.refusals)
    assert any(error.metadata == {"project": "greedy"} for error in told.refusals), "it is told whose limit it is"
    assert 0 < max(behind) <= PROJECT_MAX, "others passed by the backlog, which was bounded"
    assert {row["state"] for row in rows} == {"succeeded"}
    recorded = {row["id"] for row in rows}
    assert set(told.accepted) <= recorded
    # A call that was cancelled at the end may have been accepted without anybody hearing of it.
    assert len(recorded - set(told.accepted)) <= CALLERS * BULK
