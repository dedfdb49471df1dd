"""How many calls of each kind a replica serves at once, through real gRPC."""

# ruff: noqa: N802 - services name their methods as the contract does

from __future__ import annotations

import asyncio

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import run_pb2
from foliot_scheduler.api.calls import Call
from foliot_scheduler.api.rooms import SMALL_BYTES, Rooms
from tests.unit.api.api_support import Replica, ScriptedLeader, replica
from tests.unit.api.test_interceptors import CANCEL, GET, EchoRuns, run_of

SMALL = run_pb2.CancelRunRequest(run_id="small")
LARGE = run_pb2.CancelRunRequest(run_id="x" * (SMALL_BYTES + 1))


class Held(EchoRuns):
    """A RunService whose writes go on until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Semaphore(0)
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def CancelRun(self, request: run_pb2.CancelRunRequest, call: Call) -> run_pb2.CancelRunResponse:
        self.began.release()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().CancelRun(request, call)


async def begun(here: Replica, service: Held, request: run_pb2.CancelRunRequest) -> asyncio.Task[bytes]:
    """A write that is under way."""
    call = asyncio.create_task(here.call(CANCEL, request))
    await service.began.acquire()
    return call


def is_overload(error: FoliotError) -> bool:
    return error.reason is ErrorReason.OVERLOADED and error.retry_after_s == 1.0


async def test_writes_over_the_limit_are_told_to_come_back_while_reads_go_on() -> None:
    service, rooms = Held(), Rooms(writes_max=2)
    async with replica([service], ScriptedLeader(), rooms=rooms) as here:
        calls = [await begun(here, service, SMALL) for _ in range(2)]
        assert is_overload(await here.refused(CANCEL, SMALL))
        assert run_of(await here.call(GET, run_pb2.GetRunRequest(run_id="r"))).id == "r"
        service.go.set()
        await asyncio.gather(*calls)
        await here.call(CANCEL, SMALL)
    assert (rooms.writes.inside, rooms.reads.inside, rooms.held) == (0, 0, 0)


async def test_large_requests_are_refused_when_those_under_way_hold_too_much_and_small_ones_are_not() -> None:
    service, rooms = Held(), Rooms(bytes_max=SMALL_BYTES * 3 // 2)
    async with replica([service], ScriptedLeader(), rooms=rooms) as here:
        large = await begun(here, service, LARGE)
        assert is_overload(await here.refused(CANCEL, LARGE))
        small = await begun(here, service, SMALL)
        service.go.set()
        await asyncio.gather(large, small)
        await here.call(CANCEL, LARGE)
    assert rooms.held == 0


async def test_a_caller_who_hangs_up_leaves_its_place() -> None:
    service, rooms = Held(), Rooms(writes_max=1)
    async with replica([service], ScriptedLeader(), rooms=rooms) as here:
        (await begun(here, service, SMALL)).cancel()
        await service.cancelled.wait()
        await here.call(GET, run_pb2.GetRunRequest(run_id="r"))  # the server has gone on since
        service.go.set()
        await here.call(CANCEL, SMALL)
