"""A scripted leader, and services on a real port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from foliot.kit.clock import Clock, SystemClock
from foliot.kit.errors import FoliotError, from_rpc_error
from foliot.kit.setting_values import HostPort
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api.calls import CallReader
from foliot_scheduler.api.forwarding import Forwarder
from foliot_scheduler.api.interceptors import Passage, Service
from foliot_scheduler.api.ports import LeaderAddress
from foliot_scheduler.api.rooms import Rooms
from foliot_scheduler.api.server import GrpcServer
from foliot_scheduler.api.whereabouts import Whereabouts
from foliot_scheduler.api.writes import Writes
from foliot_scheduler.core.commands import Command
from foliot_scheduler.core.effects import Refusal, Reply
from foliot_scheduler.core.types import JobId, TaskId


class ScriptedLeader:
    """Answers commands in the order of its script, and keeps them for the test to look at."""

    def __init__(self, *script: Reply | Refusal | Exception | Callable[[Command], Reply], leading: bool = True) -> None:
        self.script = list(script)
        self.commands: list[Command] = []
        self.is_leading = leading
        self.known: set[bytes] = set()
        self.epoch = 1

    @property
    def leading(self) -> bool:
        return self.is_leading

    async def execute(self, command: Command) -> Reply:
        if not self.is_leading:
            raise no_leader()
        self.commands.append(command)
        answer = self.script.pop(0)
        if isinstance(answer, Exception) and not isinstance(answer, Refusal):
            raise answer
        return answer(command) if callable(answer) else answer

    def knows_job(self, job_id: JobId) -> bool:
        return job_id in self.known

    def knows_task(self, task_id: TaskId) -> bool:
        return task_id in self.known


class Cluster:
    """Who leads, as PostgreSQL would have it."""

    def __init__(self) -> None:
        self.leader: LeaderAddress | None = None
        self.script: list[LeaderAddress] = []
        """Who leads at the next looks; the last one stays."""
        self.looked_up = 0
        self._looked = asyncio.Condition()

    async def find(self) -> LeaderAddress | None:
        if self.script:
            self.leader = self.script.pop(0)
        async with self._looked:
            self.looked_up += 1
            self._looked.notify_all()
        return self.leader

    async def wait_looked_up(self, times: int) -> None:
        """Wait until somebody has looked so often."""
        async with self._looked:
            await self._looked.wait_for(lambda: self.looked_up >= times)


class Replica:
    """A running replica of the API."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.channel = channel

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.bound_port}"

    async def call(
        self,
        path: str,
        request: Message | bytes,
        *,
        project: str = "",
        timeout_s: float | None = 10,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """Call a method by its path. Raises FoliotError."""
        metadata = [*metadata, *([("foliot-project", project)] if project else [])]
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            answer: bytes = await self.channel.unary_unary(path, None, None)(raw, metadata=metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return answer

    async def refused(self, path: str, request: Message | bytes, **more: Any) -> FoliotError:
        """Call a method that must fail, and return why it did."""
        try:
            await self.call(path, request, **more)
        except FoliotError as error:
            return error
        raise AssertionError("the call went through")


def passage_of(
    leader: ScriptedLeader,
    *,
    cluster: Cluster | None = None,
    own_address: str = "127.0.0.1:1",
    clock: Clock | None = None,
    reader: CallReader | None = None,
    rooms: Rooms | None = None,
    wait_s: float = 0.1,
) -> tuple[Passage, Forwarder]:
    """What calls pass on their way in, and where writes go that this replica does not carry out."""
    forwarder, clock = Forwarder(), clock or SystemClock()
    find = (cluster or Cluster()).find
    whereabouts = Whereabouts(leader=leader, find=find, own_address=own_address, clock=clock, wait_s=wait_s)
    writes = Writes(leader=leader, forwarder=forwarder, whereabouts=whereabouts, clock=clock)
    return Passage(writes=writes, clock=clock, reader=reader, rooms=rooms), forwarder


@asynccontextmanager
async def replica(
    services: Sequence[Service],
    leader: ScriptedLeader,
    *,
    cluster: Cluster | None = None,
    own_address: str = "127.0.0.1:1",
    clock: Clock | None = None,
    reader: CallReader | None = None,
    rooms: Rooms | None = None,
    wait_s: float = 0.1,
) -> AsyncIterator[Replica]:
    """Serve on any free port, for as long as the block lasts; writes wait `wait_s` for a leader."""
    passage, forwarder = passage_of(
        leader, cluster=cluster, own_address=own_address, clock=clock, reader=reader, rooms=rooms, wait_s=wait_s
    )
    listen = HostPort("127.0.0.1", 0)
    async with GrpcServer(listen=listen, services=services, passage=passage, forwarder=forwarder) as server:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.bound_port}")
        try:
            yield Replica(server, channel)
        finally:
            await channel.close(None)
