"""The worker program that is measured: functions that do next to nothing, and tell the benchmark when they ran.

They tell it by datagrams to the socket that BENCH_SOCKET names, with CLOCK_MONOTONIC of this machine, which all processes share;
so a time of start is the time the function itself saw, not that of somebody who asked later.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

from foliot_worker import Context, Worker
from tests.bench.stamps import EXPECTING, REACHED, SOCKET_VARIABLE, pack

HOLD_S = 3_600.0

worker = Worker()


class _Calls:
    """How often the no-op ran since it was last told what to expect."""

    made = 0
    expected = -1


_calls = _Calls()
_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def _tell(number: int) -> None:
    _socket.sendto(pack(number, time.monotonic_ns()), os.environ[SOCKET_VARIABLE])


@worker.task("bench.noop")
async def noop(_: Context) -> None:
    """Count the call; tell when it is the last one expected."""
    _calls.made += 1
    if _calls.made == _calls.expected:
        _tell(REACHED)


@worker.task("bench.expect")
async def expect(_: Context, calls: int) -> None:
    """Count anew, up to `calls`."""
    _calls.made = 0
    _calls.expected = calls
    _tell(EXPECTING)


@worker.task("bench.hold")
async def hold(_: Context, number: int) -> None:
    """Tell when it started, and go on for longer than any measurement takes."""
    _tell(number)
    await asyncio.sleep(HOLD_S)


@worker.task("bench.stamp")
async def stamp(_: Context, number: int) -> None:
    """Tell when it started."""
    _tell(number)
