"""Several replicas under a steady load, for what is measured while leaders come and go."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shlex
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import asyncpg

from foliot.client import Client
from foliot.v1 import system_pb2, task_pb2
from tests.bench.connection import Connection
from tests.bench.measurements import function
from tests.bench.stamps import SOCKET_VARIABLE, unpack
from tests.processes import Stack

if TYPE_CHECKING:
    from types import TracebackType

    from tests.processes import Daemon

APP: Final = "tests.bench.app:worker"
POLL_S: Final = 0.05
WITHIN_S: Final = 120.0
"""How long anything may take that has to happen, on whatever machine."""


class Starts(asyncio.DatagramProtocol):
    """What the functions tell of their starts, in the order they tell it."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for what commands leave."""
        self.marks = folder / "marks"
        """Where commands leave their numbers, a line each."""
        self.seen: dict[int, list[int]] = {}
        """The times of the starts of each number, in nanoseconds of CLOCK_MONOTONIC."""
        self.times: list[int] = []

    async def __aenter__(self) -> Self:
        """Listen, at a path that is put into the environment that workers inherit; sockets' paths must be short."""
        self._folder = tempfile.TemporaryDirectory(prefix="foliot-")
        path = f"{self._folder.name}/starts"
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(path)
        os.environ[SOCKET_VARIABLE] = path
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=bound)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening."""
        self._transport.close()
        self._folder.cleanup()
        del os.environ[SOCKET_VARIABLE]

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take one."""
        number, at_ns = unpack(data)
        self.seen.setdefault(number, []).append(at_ns)
        self.times.append(at_ns)

    def count(self) -> Counter[int]:
        """Return how often each number has started, commands included."""
        counted = Counter({number: len(times) for number, times in self.seen.items()})
        if self.marks.exists():
            counted.update(int(line) for line in self.marks.read_text(encoding="ascii").split())
        return counted

    async def wait_for(self, numbers: range) -> None:
        """Wait until all of these have started."""
        await wait_until(lambda: all(number in self.seen for number in numbers))

    def largest_gap_ms(self, since_ns: int, until_ns: int) -> float:
        """Return the longest time between two starts, one after the other, that ended between the two instants."""
        times = sorted(at for at in self.times if at <= until_ns)
        pairs = itertools.pairwise(times)
        return max((later - earlier for earlier, later in pairs if later >= since_ns), default=0) / 1e6


class CallFailedError(Exception):
    """A call got another answer than the one it has to get."""


Submit = Callable[[int], Awaitable[str]]
"""Has one task accepted that tells the number when it runs, and returns its id. Raises FoliotError or CallFailedError."""


@dataclass
class Load:
    """Submits tasks at a steady rate, each by a call of its own, whatever becomes of the others."""

    ways: list[Submit]
    """Taken in turns."""
    rate: float
    """Calls a second, over all ways."""
    first_number: int = 0
    failures: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """The ids that were answered, with the numbers of their calls."""
    latencies_ms: list[float] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Begin."""
        self._calls: set[asyncio.Task[None]] = set()
        self._number = self.first_number
        self._driver = asyncio.create_task(self._drive())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Call no more, and wait for the answers."""
        self._driver.cancel()
        await asyncio.wait([self._driver])
        if self._calls:
            await asyncio.wait(self._calls)

    @property
    def numbers(self) -> range:
        """The numbers given so far."""
        return range(self.first_number, self._number)

    async def _drive(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            due = int((loop.time() - began) * self.rate)
            while self._number - self.first_number < due:
                call = asyncio.create_task(self._call(self._number))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                self._number += 1
            await asyncio.sleep(1 / self.rate)

    async def _call(self, number: int) -> None:
        began = time.perf_counter()
        try:
            self.acknowledged[await self.ways[number % len(self.ways)](number)] = number
        except Exception as error:  # noqa: BLE001 -- whatever it is, the call failed
            self.failures.append(repr(error))
        self.latencies_ms.append((time.perf_counter() - began) * 1e3)


def over_grpc(client: Client) -> Submit:
    """Answer the way through a client of the schedulers."""

    async def submit(number: int) -> str:
        answer = await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=function("bench.stamp", str(number))))
        return answer.task.id

    return submit


def over_http(connections: asyncio.Queue[Connection], marks: Path) -> Submit:
    """Answer the way through a gateway, by whichever connection is free; HTTP has commands, and these leave marks in a file."""

    async def submit(number: int) -> str:
        connection = await connections.get()
        try:
            body = json.dumps({"name": "mark", "command": f"echo {number} >> {shlex.quote(str(marks))}"}).encode()
            status, content = await connection.send("POST", "/api/tasks", body)
        finally:
            connections.put_nowait(connection)
        if status != HTTPStatus.CREATED:
            raise CallFailedError(f"HTTP {status}: {content[:300]!r}")
        return str(json.loads(content)["data"]["id"]).removeprefix("task-")

    return submit


class Cluster:
    """A stack of several replicas, as a load sees it."""

    def __init__(self, stack: Stack) -> None:
        """Take a stack that has been started."""
        self.stack = stack

    async def leader(self, client: Client) -> int:
        """Wait until a replica that runs leads, and return its number."""
        status = system_pb2.GetStatusResponse()

        async def leads() -> bool:
            nonlocal status
            status = await client.system.GetStatus(system_pb2.GetStatusRequest())
            return status.leader_address in self.stack.addresses

        await wait_until_true(leads)
        return self.stack.addresses.index(status.leader_address)

    def replica(self, index: int) -> Daemon:
        """The process of a replica."""
        daemon = self.stack.schedulers[index]
        assert daemon is not None, "it has been started"
        return daemon

    async def stop(self, index: int) -> None:
        """Ask a replica to end in good order, and wait until it has."""
        status = await asyncio.to_thread(self.replica(index).stop)
        assert status == 0, self.replica(index).log_tail()

    async def restart(self, index: int) -> None:
        """Start a replica that has ended, without keeping others from their work."""
        await asyncio.to_thread(self.stack.start_scheduler, index)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What PostgreSQL and the functions say of a load."""

    missing: int
    """Acknowledged and not recorded as succeeded, or never started."""
    repeated: int
    """Started more than once."""
    leased_again: int
    """Recorded after more than one attempt: a lease that a dying leader had committed never reached its worker."""


async def judge(database_url: str, load: Load, starts: Starts) -> Verdict:
    """Wait until everything acknowledged has ended, and say what became of it."""
    conn = await asyncpg.connect(database_url)
    try:
        ids = list(load.acknowledged)

        async def ended() -> bool:
            live = await conn.fetchval("SELECT count(*) FROM task WHERE id = ANY($1::text[]::uuid[])", ids)
            return not live

        await wait_until_true(ended)
        rows = await conn.fetch("SELECT id::text, state, attempt FROM task_history WHERE id = ANY($1::text[]::uuid[])", ids)
    finally:
        await conn.close()
    succeeded = {row["id"] for row in rows if row["state"] == "succeeded"}
    counted = starts.count()
    never = sum(not counted[number] for number in load.acknowledged.values())
    repeated = sum(count > 1 for count in counted.values())
    return Verdict(max(len(set(ids) - succeeded), never), repeated, sum(row["attempt"] > 1 for row in rows))


async def wait_until(true: Callable[[], bool]) -> None:
    """Wait until a function answers true."""

    async def asked() -> bool:
        return true()

    await wait_until_true(asked)


async def wait_until_true(asked: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a coroutine function answers true."""
    async with asyncio.timeout(WITHIN_S):
        while not await asked():  # noqa: ASYNC110 -- what is waited for happens in other processes
            await asyncio.sleep(POLL_S)
