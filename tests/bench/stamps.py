"""Times that the measured functions report: datagrams of a number and CLOCK_MONOTONIC in nanoseconds."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path
from typing import Any, Final

SOCKET_VARIABLE: Final = "BENCH_SOCKET"
"""Names the socket in the worker's environment."""

EXPECTING: Final = -1
"""The no-op was told how many calls to expect."""

REACHED: Final = -2
"""The no-op was called that often."""

LATE_P50: Final = -3
LATE_P99: Final = -4
LATE_MAX: Final = -5
"""How late the calls were that were due at a time; these carry nanoseconds of lateness instead of a time."""

_FORMAT: Final = struct.Struct("!qq")


def pack(number: int, at_ns: int) -> bytes:
    """Make a datagram."""
    return _FORMAT.pack(number, at_ns)


def unpack(data: bytes) -> tuple[int, int]:
    """Take a datagram apart: its number and the time in nanoseconds."""
    number, at_ns = _FORMAT.unpack(data)
    return number, at_ns


class Stamps(asyncio.DatagramProtocol):
    """Receives datagrams at a socket."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, path: Path) -> None:
        """Listen at a path."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(str(path))
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=bound)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def expect(self, number: int) -> asyncio.Future[int]:
        """Answer what will be done, with the time in nanoseconds, when the number comes; to be called before it can."""
        self._waiting[number] = asyncio.get_running_loop().create_future()
        return self._waiting[number]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take a datagram; a repeated one (a task that ran twice) changes nothing."""
        number, at_ns = unpack(data)
        waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(at_ns)
