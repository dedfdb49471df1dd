"""Credentials on their way through the interceptor: every kind of call is checked, and open streams are checked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import grpc.aio
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError, from_rpc_error
from foliot.v1 import run_pb2, worker_pb2
from foliot_scheduler.api.calls import Call, CallReader
from foliot_scheduler.api.credentials import RECHECK_S, unauthenticated
from foliot_scheduler.api.ports import LeaderAddress, ServicerContext
from foliot_scheduler.api.workers import WorkerService
from foliot_scheduler.core.access import Access, Caller, Role
from foliot_scheduler.core.types import Project
from foliot_scheduler.store.errors import StoreUnavailable
from tests.unit.api.api_support import Cluster, ScriptedLeader, replica
from tests.unit.api.test_interceptors import CANCEL, EchoRuns, leader_at

WORKER = Caller("w", Project("acme"), Role.WORKER)


class Keys:
    """Who has the key `good`, while it is."""

    def __init__(self) -> None:
        self.revoked = False
        self.away = False

    async def __call__(self, authorization: str) -> Caller:
        if self.away:
            raise StoreUnavailable("gone")
        if self.revoked or authorization != "good":
            raise unauthenticated()
        return WORKER


class Streams:
    """A WorkerService whose streams go on until somebody ends them."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
    WRITES: ClassVar[frozenset[str]] = frozenset()
    ACCESS: ClassVar[Mapping[str, Access]] = WorkerService.ACCESS

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended = asyncio.Event()
        self.messages = 0

    async def Work(self, context: ServicerContext, call: Call) -> None:  # noqa: N802 - the contract's name
        self.calls.append(call)
        await context.write(worker_pb2.WorkResponse(welcome=worker_pb2.Welcome(epoch=1)))
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def PushLogs(self, requests: AsyncIterator[worker_pb2.PushLogsRequest], call: Call) -> worker_pb2.PushLogsResponse:  # noqa: N802
        async for _ in requests:
            self.messages += 1
        return worker_pb2.PushLogsResponse()

    def __getattr__(self, name: str) -> object:
        return self.Work  # the rest of the service, which nobody calls here


class World:
    """A replica that asks for credentials, and a stream to it."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.clock = ManualClock()
        self.streams = Streams()
        self.reader = CallReader(self.keys)


@pytest.fixture
def world() -> World:
    return World()


def work(channel: grpc.aio.Channel, key: str) -> grpc.aio.StreamStreamCall[worker_pb2.WorkRequest, worker_pb2.WorkResponse]:
    opened: grpc.aio.StreamStreamCall[worker_pb2.WorkRequest, worker_pb2.WorkResponse] = channel.stream_stream(
        "/foliot.v1.WorkerService/Work",
        worker_pb2.WorkRequest.SerializeToString,
        worker_pb2.WorkResponse.FromString,
    )(None, metadata=[("authorization", key)])
    return opened


async def refusal_of(stream: grpc.aio.StreamStreamCall[worker_pb2.WorkRequest, worker_pb2.WorkResponse]) -> FoliotError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    return from_rpc_error(caught.value)


async def test_a_stream_is_opened_for_those_who_may(world: World) -> None:
    async with replica([world.streams], ScriptedLeader(), clock=world.clock, reader=world.reader) as here:
        assert (await refusal_of(work(here.channel, "wrong"))).reason is ErrorReason.UNAUTHENTICATED
        stream = work(here.channel, "good")
        assert await stream.read() == worker_pb2.WorkResponse(welcome=worker_pb2.Welcome(epoch=1))
        assert [call.caller for call in world.streams.calls] == [WORKER]
        stream.cancel()
        await world.streams.ended.wait()


async def test_a_stream_ends_with_its_credential(world: World) -> None:
    async with replica([world.streams], ScriptedLeader(), clock=world.clock, reader=world.reader) as here:
        stream = work(here.channel, "good")
        await stream.read()
        await world.clock.wait_sleepers()
        world.clock.advance(RECHECK_S)
        await world.clock.wait_sleepers()
        assert not world.streams.ended.is_set(), "the key is still good"
        world.keys.revoked = True
        world.clock.advance(RECHECK_S)
        assert (await refusal_of(stream)).reason is ErrorReason.UNAUTHENTICATED
        assert world.streams.ended.is_set()


async def test_a_stream_outlives_a_database_that_is_away(world: World) -> None:
    async with replica([world.streams], ScriptedLeader(), clock=world.clock, reader=world.reader) as here:
        stream = work(here.channel, "good")
        await stream.read()
        await world.clock.wait_sleepers()
        world.keys.away = True
        for _ in range(3):
            world.clock.advance(RECHECK_S)
            await world.clock.wait_sleepers()
        assert not world.streams.ended.is_set()
        stream.cancel()
        await world.streams.ended.wait()


async def test_each_message_of_a_stream_is_checked(world: World) -> None:
    async with replica([world.streams], ScriptedLeader(), clock=world.clock, reader=world.reader) as here:
        push = here.channel.stream_unary("/foliot.v1.WorkerService/PushLogs", None, None)

        async def messages() -> AsyncIterator[bytes]:
            yield b""
            while not world.streams.messages:
                await world.clock.sleep(0)
            world.keys.revoked = True
            yield b""

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push(messages(), metadata=[("authorization", "good")])
    assert from_rpc_error(caught.value).reason is ErrorReason.UNAUTHENTICATED
    assert world.streams.messages == 1


async def test_a_forwarded_call_is_checked_by_the_leader_too() -> None:
    """The follower lets the caller in, the leader does not: each decides for itself."""
    cluster, there = Cluster(), EchoRuns()

    async def everybody(authorization: str) -> Caller:
        return Caller("o", Project("acme"), Role.OPERATOR)

    strict = Keys()
    async with (
        replica([there], ScriptedLeader(), reader=CallReader(strict)) as leading,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster, reader=CallReader(everybody)) as following,
    ):
        cluster.leader = LeaderAddress(*leader_at(leading.address))
        error = await following.refused(CANCEL, run_pb2.CancelRunRequest(run_id="r"))
    assert error.reason is ErrorReason.UNAUTHENTICATED
    assert there.calls == []
