"""A TCP proxy in front of a server that fails in chosen ways at chosen moments: what networks and hosts do, on purpose."""

from __future__ import annotations

import asyncio
import enum
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK_BYTES = 1 << 20


class Cut(enum.Enum):
    """When to cut a connection that sends what is waited for."""

    BEFORE_SENDING = "before the request is passed on"
    UNDER_WAY = "when the request has been passed on"
    BEFORE_ANSWER = "when the answer is there, before it is passed on"


class TcpProxy:
    """Passes bytes both ways, on a port of its own, until it is told otherwise."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        """Take how the server is reached."""
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._marker = b""
        self._cut = Cut.BEFORE_SENDING
        self.passed_on = asyncio.Event()
        """Set when the marked request has gone to the server."""
        self.cut_once = asyncio.Event()
        """Set when the connection of the marked request has been cut."""

    @property
    def port(self) -> int:
        """Where it listens, on the loopback."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut_at(self, marker: bytes, cut: Cut) -> None:
        """Cut, once, the connection over which these bytes are sent to the server."""
        self._marker, self._cut = marker, cut

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in self._connections:
            connection.cancel()

    def fall_silent(self) -> None:
        """Take connections and bytes, and pass nothing on: a host that is gone without a word."""
        self._speaking.clear()

    def speak(self) -> None:
        """Pass on again what came meanwhile and what comes, as networks do."""
        self._speaking.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._speaking.wait()
                server_reader, server_writer = await self._connect()
                try:
                    await self._pass_both(reader, writer, server_reader, server_writer)
                finally:
                    server_writer.transport.abort()
        finally:
            self._connections.discard(connection)
            writer.transport.abort()

    async def _pass_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        marked = asyncio.Event()
        up = asyncio.create_task(self._pass_up(reader, server_writer, marked), name="proxy.up")
        down = asyncio.create_task(self._pass_down(server_reader, writer, marked), name="proxy.down")
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, marked: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._speaking.wait()
            found = bool(self._marker) and self._marker in chunk
            if found:
                self._marker = b""
                if self._cut is Cut.BEFORE_SENDING:
                    self.cut_once.set()
                    return
                if self._cut is Cut.BEFORE_ANSWER:
                    marked.set()
            writer.write(chunk)
            await writer.drain()
            if found:
                self.passed_on.set()
                if self._cut is Cut.UNDER_WAY:
                    await self.cut_once.wait()  # set by whoever arranged for the request to last
                    return

    async def _pass_down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, marked: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if marked.is_set():
                self.cut_once.set()
                return
            await self._speaking.wait()
            writer.write(chunk)
            await writer.drain()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        if self._connections:
            await asyncio.wait(self._connections)


def before_postgres(database_url: str) -> TcpProxy:
    """A proxy in front of the server that tests share, which listens on a socket in a folder alone."""
    options = dict(parse_qsl(urlsplit(database_url).query))
    return TcpProxy(partial(asyncio.open_unix_connection, f"{options['host']}/.s.PGSQL.{options['port']}"))


def url_by_way_of(database_url: str, *ports: int) -> str:
    """The same database, as hosts on these ports of the loopback."""
    return f"postgresql://foliot@{','.join(f'127.0.0.1:{port}' for port in ports)}{urlsplit(database_url).path}"
