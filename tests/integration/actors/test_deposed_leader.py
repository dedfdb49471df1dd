"""A deposed leader changes nothing: every commit after the epoch has moved on is refused, and the term ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2
from foliot_scheduler.actors.elector import SHARD, Elector
from foliot_scheduler.actors.establish import Establisher
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.core.commands import NewTask, SubmitTasks
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.types import DEFAULT_PROJECT
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store import election
from foliot_scheduler.store.pool import ONE_WRITER, Pool, open_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg import Connection, Record


@asynccontextmanager
async def replica(url: str, pool: Pool, name: str) -> AsyncIterator[tuple[Leadership, Elector]]:
    """Run a replica's elector, whose term is the real one."""
    clock = SystemClock()
    leadership = Leadership()

    async def connect() -> Connection[Record]:
        return await open_connection(url, settings=ONE_WRITER)

    establish = Establisher(connect=connect, sessions=Sessions(), clock=clock, settings=CoreSettings(), shard=SHARD)
    elector = Elector(
        connect=connect,
        pool=pool,
        establish=establish,
        standby=establish,
        leadership=leadership,
        clock=clock,
        replica=name,
        address=name,
    )
    async with elector:
        yield leadership, elector


def submission(name: str) -> SubmitTasks:
    """A wish for one task."""
    spec = spec_pb2.TaskSpec(name=name)
    spec.command.line = "true"
    plan = TaskPlans().accept("task.spec", spec, Violations())
    assert plan is not None
    return SubmitTasks(DEFAULT_PROJECT, [NewTask(plan)])


async def names(pool: Pool) -> list[str]:
    """The names of all live tasks, as PostgreSQL has them."""
    async with pool.acquire() as conn:
        return [row["name"] for row in await conn.fetch("SELECT name FROM task ORDER BY id")]


async def test_every_commit_after_the_epoch_moved_on_is_refused_and_the_term_ends(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (leadership, _elector):
        await leadership.wait_leading()
        accepted = await leadership.execute(submission("before"))
        assert isinstance(accepted, Task)

        # As the next leader does, while this one believes to lead: its connection and its lock stay as they are.
        async with pool.acquire() as conn:
            await election.take_epoch(conn, SHARD)
        refused = await asyncio.gather(*[leadership.execute(submission(f"late-{i}")) for i in range(20)], return_exceptions=True)

        for error in refused:
            assert isinstance(error, FoliotError)
            assert error.reason is ErrorReason.NO_LEADER
        assert await names(pool) == ["before"]


async def test_a_deposed_replica_stands_again_and_leads_with_a_later_epoch(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (leadership, elector):
        await leadership.wait_leading()
        first = leadership.epoch
        async with pool.acquire() as conn:
            await election.take_epoch(conn, SHARD)
        with pytest.raises(FoliotError):
            await leadership.execute(submission("late"))

        await leadership.wait_leading()

        assert leadership.epoch == first + 2
        assert elector.running
        accepted = await leadership.execute(submission("again"))
        assert isinstance(accepted, Task)
        assert await names(pool) == ["again"]


async def test_a_leader_whose_connection_is_ended_makes_room(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, "a") as (a, _a), replica(database_url, pool, "b") as (b, _b):
        leading = asyncio.create_task(a.wait_leading()), asyncio.create_task(b.wait_leading())
        done, pending = await asyncio.wait(leading, return_when=asyncio.FIRST_COMPLETED)
        for waiting in pending:
            waiting.cancel()
        leader, follower = (a, b) if leading[0] in done else (b, a)
        await leader.execute(submission("acknowledged"))

        # What a waiting replica does to a stalled leader; here at once.
        async with pool.acquire() as conn:
            assert await election.end_stalled(conn, SHARD, silent_s=0.0)
        await follower.wait_leading()

        assert follower.epoch > 1
        accepted = await follower.execute(submission("after"))
        assert isinstance(accepted, Task)
        assert await names(pool) == ["acknowledged", "after"]
