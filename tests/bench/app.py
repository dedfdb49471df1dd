"""The worker program that is measured: functions that do next to nothing, and tell the benchmark when they ran.

They tell it by datagrams to the socket that BENCH_SOCKET names, with CLOCK_MONOTONIC of this machine, which all processes share;
so a time of start is the time the function itself saw, not that of somebody who asked later.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import ClassVar

from foliot_worker import Context, Worker
from tests.bench.stamps import EXPECTING, LATE_MAX, LATE_P50, LATE_P99, REACHED, SOCKET_VARIABLE, pack

HOLD_S = 3_600.0

worker = Worker()


class _Calls:
    """How often the no-op ran since it was last told what to expect, and how late the calls were that were due at a time."""

    made = 0
    expected = -1
    late_ns: ClassVar[list[int]] = []


_calls = _Calls()
_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def _tell(number: int, value_ns: int | None = None) -> None:
    _socket.sendto(pack(number, time.monotonic_ns() if value_ns is None else value_ns), os.environ[SOCKET_VARIABLE])


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
    _calls.late_ns.clear()
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


@worker.task("bench.late")
async def late(_: Context, due_s: int) -> None:
    """Keep how long after its due time (seconds of Unix time) it started; the last one expected tells the percentiles."""
    late_ns = _calls.late_ns
    late_ns.append(time.time_ns() - due_s * 10**9)
    if len(late_ns) == _calls.expected:
        late_ns.sort()
        _tell(LATE_P50, late_ns[len(late_ns) // 2])
        _tell(LATE_P99, late_ns[len(late_ns) * 99 // 100])
        _tell(LATE_MAX, late_ns[-1])
