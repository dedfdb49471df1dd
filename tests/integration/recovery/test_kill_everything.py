"""Everything is killed at once while clients submit: what was acknowledged is there, ends, and is recorded once.

The kill comes after a number of acknowledgements, never after a time, so that each round is under load whatever the machine.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.kit.errors import FoliotError
from foliot.v1 import task_pb2
from tests.processes import Stack

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5
CLIENTS = 8
ACKNOWLEDGED_PER_ROUND = 400

ENDED_WITHIN_S = 60.0
POLL_S = 0.05


@dataclass(slots=True)
class Submitted:
    """What clients were told."""

    acknowledged: list[str] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0

    def note(self, task_ids: list[str]) -> None:
        """Note acknowledged ids."""
        self.acknowledged.extend(task_ids)
        if len(self.acknowledged) >= self.wanted:
            self.enough.set()


def new_task(name: str) -> task_pb2.NewTask:
    """A short command that says its name."""
    task = task_pb2.NewTask()
    task.spec.name = name
    task.spec.command.line = f"echo {name}"
    return task


async def keep_submitting(number: int, addresses: list[str], submitted: Submitted) -> None:
    """Submit one by one and in bulk until the service is gone."""
    async with Client(addresses, timeout_s=2.0) as client:
        count = 0
        while True:
            count += 1
            try:
                if count % 5:
                    one = await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task(f"c{number}-{count}")))
                    submitted.note([one.task.id])
                else:
                    tasks = [new_task(f"c{number}-{count}-{i}") for i in range(10)]
                    many = await client.tasks.SubmitTasks(task_pb2.SubmitTasksRequest(tasks=tasks))
                    submitted.note(list(many.task_ids))
            except FoliotError:
                return  # killed: what was not answered was not acknowledged


async def submit_until_killed(stack: Stack, submitted: Submitted) -> None:
    """Let eight clients submit, and kill everything in the midst of it."""
    submitted.wanted = len(submitted.acknowledged) + ACKNOWLEDGED_PER_ROUND
    submitted.enough.clear()
    clients = [asyncio.create_task(keep_submitting(number, stack.addresses, submitted)) for number in range(CLIENTS)]
    async with asyncio.timeout(ENDED_WITHIN_S):
        await submitted.enough.wait()
    stack.kill_everything()
    await asyncio.gather(*clients)


async def wait_until_ended(conn: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until no task is live."""
    async with asyncio.timeout(ENDED_WITHIN_S):
        while await conn.fetchval("SELECT count(*) FROM task"):
            await SystemClock().sleep(POLL_S)


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_every_acknowledged_task_survives_five_kills_and_is_recorded_once(tmp_path: Path) -> None:
    submitted = Submitted()
    with Stack(tmp_path, gateway=True) as stack:
        for _ in range(ROUNDS):
            stack.start(workers=1)
            await submit_until_killed(stack, submitted)
        stack.start(workers=1)
        conn = await asyncpg.connect(stack.database_url)
        try:
            await wait_until_ended(conn)
            rows = await conn.fetch("SELECT id::text, state, attempt, name, output FROM task_history")
            attempts = await conn.fetch("SELECT task_id::text, number, outcome FROM attempt")
        finally:
            await conn.close()

    recorded = [row["id"] for row in rows]
    assert len(recorded) == len(set(recorded)), "a task is recorded twice"
    missing = set(submitted.acknowledged) - set(recorded)
    assert not missing, f"{len(missing)} acknowledged tasks are lost"
    assert len(submitted.acknowledged) == len(set(submitted.acknowledged)), "an id was given twice"
    assert {row["state"] for row in rows} == {"succeeded"}
    # Each attempt has one record: the earlier ones rows of their own, all lost in a kill, the last one the task's row.
    assert {row["outcome"] for row in attempts} <= {"lost"}
    earlier = {(row["task_id"], row["number"]) for row in attempts}
    assert len(earlier) == len(attempts)
    assert not earlier & {(row["id"], row["attempt"]) for row in rows}
    assert all(row["output"].decode().strip() == row["name"] for row in rows), json.dumps(
        [dict(row) for row in rows[:1]], default=str
    )
