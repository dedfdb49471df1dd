"""The proxy passes on what it is given, and breaks it as told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy, Trouble, owner
from tests.processes import free_port

MOMENT_S = 0.2


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that says what it is told; the port."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Through:
    """A way through a proxy to the echo."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def through(echo: int) -> AsyncIterator[Through]:
    proxy = Proxy()
    port = free_port()
    await proxy.tell({"do": "listen", "port": port, "to": echo})
    yield Through(proxy, port)
    proxy.close()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: bytes) -> bytes:
    """What comes back for a word."""
    writer.write(word)
    return await reader.readexactly(len(word))


async def test_words_pass_in_both_directions_and_so_does_the_end(through: Through) -> None:
    reader, writer = await through.connect()
    assert await said(reader, writer, b"hello") == b"hello"
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_a_cut_resets_what_is_open_and_what_comes_until_it_is_healed(through: Through) -> None:
    reader, writer = await through.connect()
    assert await said(reader, writer, b"hello") == b"hello"
    await through.proxy.tell({"do": "break", "port": through.port, "pid": 0, "how": "cut"})
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    reader, writer = await through.connect()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await said(reader, writer, b"hello")
    writer.close()

    await through.proxy.tell({"do": "heal"})
    reader, writer = await through.connect()
    assert await said(reader, writer, b"again") == b"again"
    writer.close()


async def test_a_hole_keeps_what_it_swallowed_until_it_is_healed(through: Through) -> None:
    reader, writer = await through.connect()
    assert await said(reader, writer, b"hello") == b"hello"
    through.proxy.spoil(Trouble(through.port, 0, "hole"))
    writer.write(b"later")
    late = asyncio.ensure_future(reader.readexactly(5))
    assert not (await asyncio.wait({late}, timeout=MOMENT_S))[0]
    through.proxy.heal()
    assert await late == b"later"
    writer.close()


async def test_trouble_of_one_process_is_nobody_elses(through: Through) -> None:
    await through.proxy.tell({"do": "know", "pids": [os.getpid()]})
    through.proxy.spoil(Trouble(through.port, 1, "cut"))
    reader, writer = await through.connect()
    assert await said(reader, writer, b"hello") == b"hello"
    through.proxy.spoil(Trouble(through.port, os.getpid(), "cut"))
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_the_owner_of_a_connection_is_found(through: Through) -> None:
    _, writer = await through.connect()
    port = writer.get_extra_info("sockname")[1]
    assert owner(port, through.port, [1, os.getpid()]) == os.getpid()
    assert owner(port, through.port, [1]) == 0
    assert owner(1, through.port, [os.getpid()]) == 0
    writer.close()
