"""A connection goes to the host that takes writes, whatever the others do, and does not outlive its host's silent end."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot_scheduler.store import hosts
from foliot_scheduler.store.errors import DatabaseUrlError, StoreBusy, StoreUnavailable
from foliot_scheduler.store.hosts import NoHostError
from foliot_scheduler.store.pool import KEEPALIVE, Pool, open_connection, open_pool, translated
from tests.processes import free_port
from tests.tcp_proxy import TcpProxy, before_postgres, url_by_way_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    """A host that is well."""
    async with before_postgres(database_url) as proxy:
        yield proxy


async def test_a_host_that_is_down_is_passed_over(database_url: str, proxy: TcpProxy) -> None:
    pool = await open_pool(url_by_way_of(database_url, free_port(), proxy.port))
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_host_that_says_nothing_is_passed_over(database_url: str, proxy: TcpProxy) -> None:
    async with before_postgres(database_url) as silent:
        silent.fall_silent()
        connection = await open_connection(url_by_way_of(database_url, silent.port, proxy.port))
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_each_connection_looks_for_the_host_anew(database_url: str, proxy: TcpProxy) -> None:
    async with before_postgres(database_url) as first:
        pool = await open_pool(url_by_way_of(database_url, first.port, proxy.port))
        assert await pool.fetchval("SELECT 1") == 1
        first.fall_silent()
        first.cut_all()
        with pytest.raises(StoreUnavailable), translated("find the connection broken"):
            await pool.fetchval("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()


async def test_a_database_that_takes_no_writes_is_named(database_url: str, pool: Pool) -> None:
    name = await pool.fetchval("SELECT current_database()")
    await pool.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match=f"/{name}: it is a standby or read-only, and Foliot has to write"):
        await open_pool(database_url)


async def test_every_host_is_named_with_its_reason(database_url: str, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT_S", 0.1)
    proxy.fall_silent()
    down = free_port()
    with pytest.raises(StoreUnavailable) as caught:
        await open_pool(url_by_way_of(database_url, down, proxy.port))
    message = str(caught.value)
    assert f"no host takes writes: 127.0.0.1:{down}: PostgreSQL does not answer" in message
    assert f"127.0.0.1:{proxy.port}: PostgreSQL does not answer (no answer within 0.1 s)" in message


@pytest.mark.parametrize(
    ("failures", "kind"),
    [
        ([asyncpg.InvalidPasswordError("p"), ConnectionRefusedError()], StoreUnavailable),
        ([asyncpg.InvalidPasswordError("p"), asyncpg.TooManyConnectionsError("t")], StoreBusy),
        ([asyncpg.InvalidPasswordError("p"), asyncpg.InvalidCatalogNameError("c")], DatabaseUrlError),
    ],
    ids=["one is down", "one is full", "all refuse"],
)
def test_while_one_host_may_come_back_it_is_worth_waiting(failures: list[Exception], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, translated("read"):
        raise NoHostError([(f"h{number}", failure) for number, failure in enumerate(failures)])
    assert type(caught.value) is kind


async def test_both_ends_notice_that_the_other_is_gone(database_url: str, proxy: TcpProxy) -> None:
    connection = await open_connection(url_by_way_of(database_url, proxy.port), settings=KEEPALIVE)
    opened = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined] # the driver's own
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == hosts.UNCONFIRMED_MS
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == hosts.IDLE_S
    # A backend that waits for a lock looks whether somebody waits for it.
    assert await connection.fetchval("SHOW client_connection_check_interval") == "1s"
    await connection.close()
