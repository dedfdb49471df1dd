"""A leader that stops in good order commits what it has taken, answers it, and takes no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.core.model import Task
from tests.integration.actors.test_deposed_leader import names, replica, submission

if TYPE_CHECKING:
    from foliot_scheduler.store.pool import Pool

CALLERS = 50


async def test_what_was_taken_is_committed_and_answered(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (leadership, elector):
        await leadership.wait_leading()
        calls = [asyncio.ensure_future(leadership.execute(submission(f"task-{i:02}"))) for i in range(CALLERS)]
        # One turn of the loop: the commands are in the mailbox, and nothing is committed yet.
        await asyncio.wait(calls, timeout=0)
        await elector.drain()
        answers = await asyncio.gather(*calls, return_exceptions=True)

        assert all(isinstance(answer, Task) for answer in answers)
        assert await names(pool) == [f"task-{i:02}" for i in range(CALLERS)]
        late = await asyncio.gather(leadership.execute(submission("late")), return_exceptions=True)
        assert isinstance(late[0], FoliotError)
        assert late[0].reason is ErrorReason.NO_LEADER


async def test_an_idle_leader_drains_at_once(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (leadership, elector):
        await leadership.wait_leading()
        await elector.drain()
        assert elector.running
