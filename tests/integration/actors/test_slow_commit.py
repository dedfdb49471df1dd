"""A leader whose commit PostgreSQL takes long over is not taken for a stalled one: another's would last as long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from foliot.kit.clock import SystemClock
from foliot_scheduler.actors import elector as elector_module
from foliot_scheduler.actors import journal
from foliot_scheduler.core.model import Task
from foliot_scheduler.store import election
from tests.integration.actors.test_deposed_leader import names, replica, submission

if TYPE_CHECKING:
    import pytest

    from foliot_scheduler.store.pool import Connection, Pool

LOOKS = 30
"""How often the waiting replica looks: for several times as long as it takes to be called stalled."""

POLL_S = 0.01


async def test_a_commit_that_lasts_is_not_stalling(database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    end_stalled = election.end_stalled

    async def counted(conn: Connection, shard: int, *, silent_s: float) -> bool:
        nonlocal looks
        looks += 1
        return await end_stalled(conn, shard, silent_s=silent_s)

    monkeypatch.setattr(elector_module, "WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(elector_module, "STALLED_AFTER_S", 0.75)
    # Before its commit begins it must not be late: on a busy machine half a second between two proofs would leave it no room.
    monkeypatch.setattr(journal, "PULSE_S", 0.05)
    monkeypatch.setattr(election, "end_stalled", counted)

    async with replica(database_url, pool, "a") as (a, _a), replica(database_url, pool, "b") as (b, _b):
        leading = asyncio.create_task(a.wait_leading()), asyncio.create_task(b.wait_leading())
        done, pending = await asyncio.wait(leading, return_when=asyncio.FIRST_COMPLETED)
        for waiting in pending:
            waiting.cancel()
        leader = a if leading[0] in done else b
        epoch = leader.epoch
        async with pool.acquire() as locker, locker.transaction():
            await locker.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
            commit = asyncio.create_task(leader.execute(submission("slow")))
            looks = 0
            while looks < LOOKS:
                await SystemClock().sleep(POLL_S)
        assert isinstance(await commit, Task)
        assert leader.epoch == epoch
        assert await names(pool) == ["slow"]
