"""A leader that stops in good order commits what it has taken, answers it, and takes no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from foliot.kit.errors import NOT_TAKEN, ErrorReason, FoliotError
from foliot_scheduler.actors.elector import SHARD
from foliot_scheduler.core.model import Task
from foliot_scheduler.store import election
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


async def test_a_leader_that_is_to_stop_hands_over_and_stands_no_more(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (a, elector_of_a):
        await a.wait_leading()
        async with replica(database_url, pool, "b") as (b, elector_of_b):
            await a.execute(submission("before"))

            await elector_of_a.drain()
            await b.wait_leading()

            assert not a.leading
            assert b.epoch == 2
            refused = await asyncio.gather(a.execute(submission("late")), return_exceptions=True)
            assert isinstance(refused[0], FoliotError)
            assert refused[0].metadata == {NOT_TAKEN: "true"}
            assert isinstance(await b.execute(submission("after")), Task)
            assert await names(pool) == ["before", "after"]

            # It is still up, and leaves the lock to others for good.
            await elector_of_b.drain()
            async with pool.acquire() as conn:
                assert await election.wait_for_lock(conn, SHARD)
                seen = await election.read_leadership(conn, SHARD)
                await election.release_lock(conn, SHARD)
            assert seen is not None
            assert (seen.epoch, seen.leader) == (2, "")


async def test_a_replica_that_waits_for_its_turn_leaves_at_once(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (a, _):
        await a.wait_leading()
        async with replica(database_url, pool, "b") as (b, elector_of_b):
            await elector_of_b.drain()
            assert a.leading
            assert not b.leading


async def test_an_idle_leader_drains_at_once(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (leadership, elector):
        await leadership.wait_leading()
        await elector.drain()
        assert elector.running
