"""A task that kills its worker whenever it runs: it ends, the fleet goes on, and nobody else fails for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.v1 import spec_pb2, task_pb2
from tests.processes import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Daemon

APP = "tests.integration.recovery.poison_app:worker"
WORKERS = 2
SLOTS = 2
INNOCENTS = 60
LOST_ATTEMPTS_MAX = 3

ENDED_WITHIN_S = 90.0
POLL_S = 0.05


class Fleet:
    """Workers under a supervisor that starts each again under its name whenever it has died."""

    def __init__(self, stack: Stack) -> None:
        self.deaths = 0
        self._stack = stack

    async def keep(self, number: int) -> None:
        """Keep one worker running, for ever."""
        daemon = self._launch(number)
        while True:
            while daemon.process.poll() is None:
                await SystemClock().sleep(POLL_S)
            self.deaths += 1
            daemon = self._launch(number)

    def _launch(self, number: int) -> Daemon:
        return self._stack.launch_worker(app=APP, concurrency=SLOTS, worker_id=f"worker-{number}")


def new_task(function: str) -> task_pb2.NewTask:
    task = task_pb2.NewTask()
    task.spec.name = task.spec.function.function = function
    return task


async def ended(client: Client, task_id: str) -> task_pb2.Task:
    """Wait until a task has ended."""
    states = client.tasks.WatchTask(task_pb2.WatchTaskRequest(task_id=task_id), timeout=ENDED_WITHIN_S)
    last = task_pb2.Task()
    async for state in states:
        last = state.task
    return last


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_a_task_that_kills_its_workers_ends_failed_and_takes_nobody_along(tmp_path: Path) -> None:
    with Stack(tmp_path, gateway=False) as stack:
        stack.scheduler_options = ("--lost-attempts-max", str(LOST_ATTEMPTS_MAX))
        stack.start(workers=0)
        async with Client(stack.addresses) as client, asyncio.TaskGroup() as group:
            fleet = Fleet(stack)
            kept = [group.create_task(fleet.keep(number)) for number in range(WORKERS)]
            poison = await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task("poison")))
            beside = await client.tasks.SubmitTasks(task_pb2.SubmitTasksRequest(tasks=[new_task("innocent")] * INNOCENTS))
            culprit = await ended(client, poison.task.id)
            innocents = [await ended(client, task_id) for task_id in beside.task_ids]
            later = await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task("innocent")))
            assert (await ended(client, later.task.id)).state == spec_pb2.TASK_STATE_SUCCEEDED, "the fleet is well"
            for worker in kept:
                worker.cancel()
        conn = await asyncpg.connect(stack.database_url)
        try:
            charged = await conn.fetchval("SELECT sum(lost_attempts) FROM task_history WHERE name = 'innocent'")
        finally:
            await conn.close()

    assert culprit.state == spec_pb2.TASK_STATE_FAILED
    assert culprit.error.startswith(f"lost {LOST_ATTEMPTS_MAX + 1} times, so it is not tried again")
    assert LOST_ATTEMPTS_MAX + 1 <= culprit.attempt <= fleet.deaths
    assert {task.state for task in innocents} == {spec_pb2.TASK_STATE_SUCCEEDED}
    assert charged <= fleet.deaths * SLOTS, "what waited in a dead worker's hands was charged"
