"""A replica that takes long to load the live state is not taken for a stalled one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from foliot_scheduler.actors import elector as elector_module
from foliot_scheduler.actors.elector import Elector
from foliot_scheduler.store import election
from tests.integration.actors.test_deposed_leader import replica

if TYPE_CHECKING:
    import pytest
    from asyncpg import Connection, Record

    from foliot_scheduler.actors.leader import LeaderTerm, Term
    from foliot_scheduler.store.commit import EncodedCommit
    from foliot_scheduler.store.pool import Pool

LOOKS = 30
"""How often the waiting replica looks at the loading one: for several times as long as it takes to be called stalled."""


async def test_loading_long_is_not_stalling(database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    looked_long = asyncio.Event()
    establish = Elector._lead
    read_leadership = election.read_leadership

    async def counted(conn: Connection[Record], shard: int) -> election.Leadership | None:
        nonlocal looks
        looks += 1
        if looks >= LOOKS:
            looked_long.set()
        return await read_leadership(conn, shard)

    async def slow_lead(self: Elector, conn: Connection[Record]) -> None:
        whole = self._establish

        async def slowly(conn: Connection[Record], term: Term) -> LeaderTerm[EncodedCommit]:
            await looked_long.wait()
            return await whole(conn, term)

        monkeypatch.setattr(self, "_establish", slowly)
        await establish(self, conn)

    monkeypatch.setattr(elector_module, "WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(elector_module, "STALLED_AFTER_S", 0.75)
    monkeypatch.setattr(election, "read_leadership", counted)
    monkeypatch.setattr(Elector, "_lead", slow_lead)

    async with replica(database_url, pool, "a") as (a, _a), replica(database_url, pool, "b") as (b, _b):
        leading = asyncio.create_task(a.wait_leading()), asyncio.create_task(b.wait_leading())
        _done, pending = await asyncio.wait(leading, return_when=asyncio.FIRST_COMPLETED)
        for waiting in pending:
            waiting.cancel()
        assert max(a.epoch, b.epoch) == 1
    assert looks >= LOOKS
