"""PostgreSQL fails over to another host: the replica follows to whichever takes writes, with everything it had acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from foliot_scheduler.store.errors import StoreUnavailable
from foliot_scheduler.store.pool import open_connection
from tests.integration.recovery.troubled import replica
from tests.mortal_postgres import MortalPostgres

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.recovery.troubled import Caller

CALLERS = 4
EACH_BEFORE = 10


async def keep_submitting(caller: Caller, number: int, enough: asyncio.Semaphore, stop: asyncio.Event) -> None:
    """Submit tasks one by one, through whatever happens, until told to stop."""
    count = 0
    while not stop.is_set():
        count += 1
        await caller.submit(f"c{number}-{count}")
        enough.release()


async def wait_for(enough: asyncio.Semaphore, tasks: int) -> None:
    """Wait until so many more tasks are acknowledged."""
    for _ in range(tasks):
        await enough.acquire()


async def test_a_promoted_standby_is_found_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    standby = MortalPostgres(tmp_path / "standby")
    async with MortalPostgres(tmp_path / "primary") as primary:
        await primary.follow_with(standby)
        try:
            # The standby comes first: it is asked, and says that it takes no writes.
            where = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
            url = f"postgresql://foliot:{primary.password}@{where}/foliot?target_session_attrs=read-write"
            async with replica(url) as caller:
                epoch, enough, stop = caller.epoch, asyncio.Semaphore(0), asyncio.Event()
                callers = [asyncio.create_task(keep_submitting(caller, number, enough, stop)) for number in range(CALLERS)]
                await wait_for(enough, CALLERS * EACH_BEFORE)

                await primary.kill()
                with pytest.raises(StoreUnavailable, match=r"no host takes writes: .*it is a standby.*does not answer"):
                    await open_connection(url)
                promoted = await standby.connect()
                assert await promoted.fetchval("SELECT pg_promote()")

                await wait_for(enough, CALLERS)
                stop.set()
                await asyncio.gather(*callers)
                assert caller.epoch > epoch
                found = Counter(row["name"] for row in await promoted.fetch("SELECT name FROM task"))
                await promoted.close()
        finally:
            await standby.stop()
    assert set(caller.acknowledged) <= set(found)
    assert set(found.values()) == {1}
