"""Whatever befalls PostgreSQL: callers are told when to come back, nothing acknowledged is lost, and all recovers by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler import app as app_module
from foliot_scheduler.actors.elector import SHARD
from foliot_scheduler.store import commit, election, hosts
from foliot_scheduler.store import pool as pool_module
from foliot_scheduler.store.pool import open_connection, open_pool
from tests.integration.actors.test_deposed_leader import replica as elector_of
from tests.integration.recovery.troubled import POLL_S, WITHIN_S, replica
from tests.mortal_postgres import MortalPostgres
from tests.tcp_proxy import Cut, TcpProxy, before_postgres, url_by_way_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from foliot_scheduler.store.pool import Pool

MARKED = "marked-task"
"""A name that is in no statement: the connection over which it is sent is the one of the commit."""


async def recorded(conn: asyncpg.Connection[asyncpg.Record] | Pool) -> Counter[str]:
    """How often each task is in the database, by name."""
    return Counter(row["name"] for row in await conn.fetch("SELECT name FROM task"))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await SystemClock().sleep(POLL_S)


# ---- troubles of a server of the test's own


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that all tests here use, one after the other."""
    return tmp_path_factory.mktemp("mortal") / "data"


@pytest.fixture
async def server(server_folder: Path) -> AsyncIterator[MortalPostgres]:
    """A server of the test's own, without tasks."""
    async with MortalPostgres(server_folder) as server:
        await server.execute("TRUNCATE task")
        yield server


@asynccontextmanager
async def stopped(server: MortalPostgres) -> AsyncIterator[None]:
    """PostgreSQL is stopped, as for a change of its settings."""
    await server.stop()
    yield
    await server.start()


@asynccontextmanager
async def killed(server: MortalPostgres) -> AsyncIterator[None]:
    """PostgreSQL is killed, and has to replay its log."""
    await server.kill()
    yield
    await server.start()


@asynccontextmanager
async def read_only(server: MortalPostgres) -> AsyncIterator[None]:
    """The host takes no writes any more: 25006."""
    await server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await server.execute("SELECT pg_reload_conf()")
    yield
    await server.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await server.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def disk_full(server: MortalPostgres) -> AsyncIterator[None]:
    """No row fits any more: 53100."""
    await server.execute("""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON task EXECUTE FUNCTION fail()
    """)
    yield
    await server.execute("DROP FUNCTION fail CASCADE")


@asynccontextmanager
async def no_connection_left(server: MortalPostgres) -> AsyncIterator[None]:
    """Others have taken every connection, and the replica's have been ended: 57P01, then 53300."""
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'foliot%'"
    taken = [await server.connect()]
    while True:
        try:
            taken.append(await server.connect())
        except asyncpg.TooManyConnectionsError:
            if not await taken[0].fetch(ours):
                break
    yield
    for connection in taken:
        await connection.close()


Trouble = Callable[[MortalPostgres], AbstractAsyncContextManager[None]]

TROUBLES: dict[Trouble, ErrorReason | None] = {
    stopped: ErrorReason.DATABASE_UNAVAILABLE,
    killed: ErrorReason.DATABASE_UNAVAILABLE,
    read_only: None,
    disk_full: None,
    no_connection_left: ErrorReason.OVERLOADED,
}
"""And how reads are refused meanwhile, if they are."""


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
async def test_calls_are_told_when_to_come_back_and_all_goes_on_when_the_trouble_goes(
    server: MortalPostgres, trouble: Trouble
) -> None:
    async with replica(server.url) as caller:
        await caller.submit("before")
        epoch = caller.epoch
        async with trouble(server):
            refusal = await caller.wait_refused("meanwhile")
            assert "127.0.0.1" not in refusal.message, "where the database is concerns nobody"
            reason = TROUBLES[trouble]
            if reason is not None:
                with pytest.raises(FoliotError) as unread:
                    await caller.read_once(caller.acknowledged["before"])
                assert (unread.value.reason, bool(unread.value.retry_after_s)) == (reason, True)
            waiting = asyncio.create_task(caller.submit("patient"))
        await waiting
        await caller.submit("after")
        assert caller.epoch > epoch

        conn = await server.connect()
        found = await recorded(conn)
        await conn.close()
    assert {"before", "patient", "after"} <= set(caller.acknowledged) <= set(found)
    assert set(found.values()) == {1}


# ---- troubles on the way to a server that is well


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    """What is between the replica and PostgreSQL."""
    async with before_postgres(database_url) as proxy:
        yield proxy


@pytest.fixture
def proxied_url(database_url: str, proxy: TcpProxy) -> str:
    """The test's database, by way of the proxy."""
    return url_by_way_of(database_url, proxy.port)


@asynccontextmanager
async def table_locked(pool: Pool) -> AsyncIterator[None]:
    """Somebody has locked the table of tasks, so that every commit that writes one lasts."""
    async with pool.acquire() as locker, locker.transaction():
        await locker.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
        yield


async def wait_for_a_commit_that_waits(pool: Pool) -> None:
    """Wait until the leader's commit waits for the table."""
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation')"
    while not await pool.fetchval(query):
        await SystemClock().sleep(POLL_S)


@pytest.mark.parametrize("cut", Cut, ids=lambda cut: cut.name.lower())
async def test_a_commit_whose_connection_is_cut_took_effect_once_or_not_at_all(
    proxy: TcpProxy, proxied_url: str, pool: Pool, cut: Cut
) -> None:
    async with replica(proxied_url) as caller:
        # Prepares the statement, so that what is sent next is the commit itself.
        await caller.submit_once("first", key="first")
        epoch = caller.epoch
        proxy.cut_at(MARKED.encode(), cut)
        if cut is Cut.UNDER_WAY:
            async with table_locked(pool):
                call = asyncio.create_task(caller.submit_once(MARKED, key="k"))
                await proxy.passed_on.wait()
                await wait_for_a_commit_that_waits(pool)
                proxy.cut_once.set()
        else:
            call = asyncio.create_task(caller.submit_once(MARKED, key="k"))
        # The replica tries again in its next term, which finds out by the key whether it took effect. One that takes too long to
        # lead again leaves that to the caller.
        answer = await asyncio.gather(call, return_exceptions=True)
        await until(lambda: caller.epoch > epoch)
        if isinstance(answer[0], FoliotError):
            assert answer[0].reason is ErrorReason.NO_LEADER
            assert answer[0].retry_after_s
            await caller.submit_once(MARKED, key="k")
        assert await recorded(pool) == {"first": 1, MARKED: 1}


async def test_a_commit_that_lasts_ends_no_term_and_is_answered_when_it_is_done(database_url: str, pool: Pool) -> None:
    async with replica(database_url) as caller:
        epoch = caller.epoch
        async with table_locked(pool):
            waiting = asyncio.create_task(caller.submit("slow"))
            await wait_for_a_commit_that_waits(pool)
            assert not waiting.done()
        await waiting
        assert caller.epoch == epoch
        assert await recorded(pool) == {"slow": 1}


async def test_a_host_that_is_gone_without_a_word_is_given_up_and_found_again(
    proxy: TcpProxy, proxied_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What takes 5 to 15 s in earnest; how long calls may take in between is theirs to say.
    monkeypatch.setattr(commit, "COMMIT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(election, "ANSWER_WITHIN_S", 1.0)
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(pool_module, "ACQUIRE_WITHIN_S", 1.0)
    monkeypatch.setattr(app_module, "open_pool", partial(open_pool, read_timeout_s=1.0))
    async with replica(proxied_url) as caller:
        await caller.submit("before")
        epoch = caller.epoch
        proxy.fall_silent()
        refusal = await caller.wait_refused("meanwhile")
        assert refusal.reason is ErrorReason.NO_LEADER
        with pytest.raises(FoliotError) as unread:
            await caller.read_once(caller.acknowledged["before"])
        assert unread.value.reason is ErrorReason.DATABASE_UNAVAILABLE
        assert unread.value.retry_after_s
        waiting = asyncio.create_task(caller.submit("patient"))
        proxy.speak()
        await waiting
        assert caller.epoch > epoch
        await caller.read_once(caller.acknowledged["before"])
        found = await recorded(pool)
    assert set(caller.acknowledged) <= set(found)
    assert set(found.values()) == {1}


async def test_who_waits_to_lead_gets_over_a_host_that_is_gone_without_a_word(
    proxy: TcpProxy, proxied_url: str, database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(election, "LOCK_WAIT_S", 1)
    monkeypatch.setattr(election, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT_S", 1.0)
    waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    leader = await open_connection(database_url)
    assert await election.wait_for_lock(leader, SHARD)
    async with elector_of(proxied_url, pool, "follower") as (leadership, _):
        while not await pool.fetchval(waiters):
            await SystemClock().sleep(POLL_S)
        proxy.fall_silent()
        # It has given up its connection, and the server has noticed.
        while await pool.fetchval(waiters):
            await SystemClock().sleep(POLL_S)
        proxy.speak()
        leader.terminate()
        await leadership.wait_leading()
