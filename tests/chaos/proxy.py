"""A TCP proxy in a process of its own that can break what goes through it: `python -m tests.chaos.proxy`.

It is told what to do by lines of JSON on its standard input, and answers each on its standard output with how many of the open
connections it changed:

    {"do": "listen", "port": 7001, "to": 7000}     pass on connections
    {"do": "know", "pids": [12, 13]}               whose connections are told apart
    {"do": "break", "port": 7001, "pid": 12, "how": "cut"}
    {"do": "heal"}                                 everything

`pid` 0 stands for everybody. `how` is "cut" (connections are reset, new ones too), "hole" (nothing passes in either direction and
nobody is told: what was sent waits, as in a network that comes back) or "slow" (each packet takes `ms` longer).
A connection belongs to the process that has its other end open, which /proc tells.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from foliot.kit.clock import SystemClock

_CHUNK: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing then resets."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is broken: connections to one port, of one process or of all."""

    port: int
    pid: int
    how: str
    ms: int = 0

    def meets(self, port: int, pid: int) -> bool:
        """Whether it concerns a connection."""
        return self.port == port and self.pid in {0, pid}


@dataclass(eq=False)
class _Passage:
    """One connection and its other half."""

    port: int
    pid: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 0.0

    def reset(self) -> None:
        """End both halves without a word."""
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Passes connections on, and breaks them as told."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._servers: list[asyncio.Server] = []
        self._pids: list[int] = []
        self._troubles: list[Trouble] = []
        self._passages: set[_Passage] = set()

    async def tell(self, wish: dict[str, Any]) -> int:
        """Carry out one line; answer how many of the open connections it met."""
        match wish["do"]:
            case "listen":
                await self.listen(wish["port"], wish["to"])
            case "know":
                self._pids = list(wish["pids"])
            case "break":
                return self.spoil(Trouble(wish["port"], wish["pid"], wish["how"], wish.get("ms", 0)))
            case "heal":
                self.heal()
            case other:
                raise ValueError(f"unknown wish {other!r}")
        return 0

    async def listen(self, port: int, to: int) -> None:
        """Pass on connections from one port of this machine to another."""

        async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._pass_on(reader, writer, port, to)

        self._servers.append(await asyncio.start_server(passed_on, "127.0.0.1", port))

    def spoil(self, trouble: Trouble) -> int:
        """Break connections, those of now and those to come; answer how many there are now."""
        self._troubles.append(trouble)
        met = [passage for passage in self._passages if trouble.meets(passage.port, passage.pid)]
        for passage in met:
            self._settle(passage)
        return len(met)

    def heal(self) -> None:
        """Let everything pass again."""
        self._troubles.clear()
        for passage in self._passages:
            self._settle(passage)

    def close(self) -> None:
        """Stop listening and end what is open."""
        for server in self._servers:
            server.close()
        for passage in list(self._passages):
            passage.reset()

    def _settle(self, passage: _Passage) -> None:
        """Bring a connection into the state that the present troubles ask for."""
        met = [trouble for trouble in self._troubles if trouble.meets(passage.port, passage.pid)]
        kinds = {trouble.how for trouble in met}
        passage.delay_s = max((trouble.ms / 1e3 for trouble in met if trouble.how == "slow"), default=0.0)
        if "hole" in kinds:
            passage.open.clear()
        else:
            passage.open.set()
        if "cut" in kinds:
            passage.reset()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, to: int) -> None:
        peer = writer.get_extra_info("peername")[1]
        passage = _Passage(port, owner(peer, port, self._pids), [writer])
        self._passages.add(passage)
        self._settle(passage)
        try:
            if writer.transport.is_closing():
                return
            await passage.open.wait()
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
            except OSError:
                passage.reset()
                return
            passage.writers.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer, passage), self._pump(far_reader, writer, passage))
        finally:
            self._passages.discard(passage)
            for one in passage.writers:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passage: _Passage) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if passage.delay_s:
                    await self._clock.sleep(passage.delay_s)
                await passage.open.wait()
                writer.write(data)
                await writer.drain()
            await passage.open.wait()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            passage.reset()  # one half is gone: so is the other


def owner(port: int, to: int, pids: list[int]) -> int:
    """Find which of some processes has the connection from a port to another open; 0 if none has."""
    inode = _inode(port, to)
    if inode:
        wanted = f"socket:[{inode}]"
        for pid in pids:
            with suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        if os.readlink(descriptor) == wanted:  # noqa: PTH115 -- the text itself is wanted
                            return pid
    return 0


def _inode(port: int, to: int) -> str:
    # gRPC connects from IPv6 sockets too.
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[1].endswith(f":{port:04X}") and columns[2].endswith(f":{to:04X}"):
                    return columns[9]
    return ""


async def serve() -> None:
    """Do what standard input says until it ends."""
    proxy = Proxy()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print(await proxy.tell(json.loads(line)), flush=True)
    proxy.close()


if __name__ == "__main__":
    asyncio.run(serve())
