"""What every call passes: project, forwarding, parsing, errors."""

# ruff: noqa: N802 - services name their methods as the contract does

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from foliot.kit.errors import NOT_TAKEN, ErrorReason, FoliotError, from_rpc_error
from foliot.kit.following import NEW_KEY_ENTRY, REPEATED
from foliot.v1 import run_pb2, system_pb2
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api.calls import Call
from foliot_scheduler.api.ports import LeaderAddress
from foliot_scheduler.api.runs import RunService
from foliot_scheduler.api.system import SystemService
from foliot_scheduler.core.access import Access
from foliot_scheduler.core.effects import Refusal
from tests.unit.api.api_support import Cluster, ScriptedLeader, replica

CANCEL = "/foliot.v1.RunService/CancelRun"
GET = "/foliot.v1.RunService/GetRun"
REDRIVE = "/foliot.v1.RunService/RedriveRun"


class EchoRuns:
    """A RunService that answers what it was asked, or raises what it is given."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = run_pb2.DESCRIPTOR.services_by_name["RunService"]
    WRITES: ClassVar[frozenset[str]] = frozenset({"CancelRun", "RedriveRun"})
    ACCESS: ClassVar[Mapping[str, Access]] = RunService.ACCESS

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.calls: list[Call] = []

    def _answer(self, run_id: str, call: Call) -> run_pb2.Run:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure
        return run_pb2.Run(id=run_id, project=call.project)

    async def GetRun(self, request: run_pb2.GetRunRequest, call: Call) -> run_pb2.GetRunResponse:
        return run_pb2.GetRunResponse(run=self._answer(request.run_id, call))

    async def ListRuns(self, request: run_pb2.ListRunsRequest, call: Call) -> run_pb2.ListRunsResponse:
        return run_pb2.ListRunsResponse(runs=[self._answer("", call)])

    async def CancelRun(self, request: run_pb2.CancelRunRequest, call: Call) -> run_pb2.CancelRunResponse:
        return run_pb2.CancelRunResponse(run=self._answer(request.run_id, call))

    async def ListDeadLetters(self, request: run_pb2.ListDeadLettersRequest, call: Call) -> run_pb2.ListDeadLettersResponse:
        return run_pb2.ListDeadLettersResponse(runs=[self._answer(request.job_id, call)])

    async def RedriveRun(self, request: run_pb2.RedriveRunRequest, call: Call) -> run_pb2.RedriveRunResponse:
        return run_pb2.RedriveRunResponse(run=self._answer(request.run_id, call))

    async def WatchRun(self, request: run_pb2.WatchRunRequest, call: Call) -> AsyncIterator[run_pb2.WatchRunResponse]:
        yield run_pb2.WatchRunResponse(run=run_pb2.Run(id=request.run_id))
        yield run_pb2.WatchRunResponse(run=self._answer(request.run_id, call))


def run_of(raw: bytes) -> run_pb2.Run:
    return run_pb2.GetRunResponse.FromString(raw).run


async def test_a_call_reaches_its_service_in_its_project() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        assert run_of(await here.call(GET, run_pb2.GetRunRequest(run_id="r"), project="p")) == run_pb2.Run(id="r", project="p")
        assert run_of(await here.call(CANCEL, run_pb2.CancelRunRequest(run_id="r"))).project == "default"


async def test_a_call_without_a_deadline_is_answered() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        assert run_of(await here.call(GET, run_pb2.GetRunRequest(run_id="r"), timeout_s=None)).id == "r"


async def test_a_bad_project_is_refused() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        error = await here.refused(GET, b"", project="p" * 101)
    assert [violation.field for violation in error.fields] == ["foliot-project"]


@pytest.mark.parametrize("raw", [b"\x0a\x02\xff\xfe", b"\x12\x01x", b"\xff"])
async def test_a_malformed_request_is_refused_before_the_service(raw: bytes) -> None:
    service = EchoRuns()
    async with replica([service], ScriptedLeader()) as here:
        error = await here.refused(GET, raw)
    assert (error.reason, error.code) == (ErrorReason.INVALID_FIELD, grpc.StatusCode.INVALID_ARGUMENT)
    assert service.calls == []


async def test_an_error_keeps_its_details() -> None:
    failure = Refusal("version_conflict", "the job has version 4", {"version": "4"})
    async with replica([EchoRuns(failure)], ScriptedLeader()) as here:
        error = await here.refused(GET, b"")
    assert (error.reason, error.metadata) == (ErrorReason.VERSION_CONFLICT, {"version": "4"})


async def test_a_bug_is_an_internal_error_with_an_id() -> None:
    async with replica([EchoRuns(KeyError("secret detail"))], ScriptedLeader()) as here:
        error = await here.refused(GET, b"")
    assert (error.reason, error.code) == (ErrorReason.INTERNAL, grpc.StatusCode.INTERNAL)
    assert error.metadata["error_id"]
    assert "secret detail" not in error.message


async def test_thousands_of_bad_fields_still_get_an_answer() -> None:
    failure = FoliotError(ErrorReason.INVALID_FIELD, "m" * 100_000, metadata={"path": "k" * 100_000})
    async with replica([EchoRuns(failure)], ScriptedLeader()) as here:
        error = await here.refused(GET, b"")
    assert error.reason is ErrorReason.INVALID_FIELD


async def test_a_stream_ends_with_its_error() -> None:
    async with replica([EchoRuns(Refusal("not_found", "no such run"))], ScriptedLeader()) as here:
        stream = here.channel.unary_stream("/foliot.v1.RunService/WatchRun", None, None)
        answers = stream(run_pb2.WatchRunRequest(run_id="r").SerializeToString())
        assert await answers.read() == run_pb2.WatchRunResponse(run=run_pb2.Run(id="r")).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers.read()
    assert from_rpc_error(caught.value).reason is ErrorReason.NOT_FOUND


def leader_at(address: str) -> LeaderAddress:
    return LeaderAddress("other", address, 2)


async def test_a_write_is_forwarded_to_the_leader_with_its_project() -> None:
    cluster, there = Cluster(), EchoRuns()
    async with (
        replica([there], ScriptedLeader()) as leading,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as following,
    ):
        cluster.leader = leader_at(leading.address)
        for number in range(3):
            answer = await following.call(CANCEL, run_pb2.CancelRunRequest(run_id=f"r{number}"), project="p")
            assert run_of(answer) == run_pb2.Run(id=f"r{number}", project="p")
    assert all(call.forwarded for call in there.calls)
    assert cluster.looked_up == 1


async def test_a_read_is_answered_by_the_replica_itself() -> None:
    cluster = Cluster()
    async with replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as here:
        assert run_of(await here.call(GET, run_pb2.GetRunRequest(run_id="r"))).id == "r"
    assert cluster.looked_up == 0


async def test_the_errors_of_a_forwarded_call_are_the_leaders() -> None:
    cluster = Cluster()
    failure = FoliotError(ErrorReason.HAS_DEPENDENTS, "others wait", metadata={"ids": "a,b"})
    async with (
        replica([EchoRuns(failure)], ScriptedLeader()) as leading,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as following,
    ):
        cluster.leader = leader_at(leading.address)
        error = await following.refused(CANCEL, b"")
    assert (error.reason, error.message, error.metadata) == (ErrorReason.HAS_DEPENDENTS, "others wait", {"ids": "a,b"})


@pytest.mark.parametrize("address", [None, "", "127.0.0.1:1"], ids=["nobody", "resigned", "this replica"])
async def test_a_write_without_a_leader_is_told_to_come_back(address: str | None) -> None:
    cluster = Cluster()
    cluster.leader = None if address is None else leader_at(address)
    async with replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster, own_address="127.0.0.1:1") as here:
        error = await here.refused(CANCEL, b"")
    assert (error.reason, error.code) == (ErrorReason.NO_LEADER, grpc.StatusCode.UNAVAILABLE)
    assert error.retry_after_s is not None


async def test_a_call_is_forwarded_once_at_most() -> None:
    first, second = Cluster(), Cluster()
    async with (
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=first) as one,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=second) as other,
    ):
        first.leader, second.leader = leader_at(other.address), leader_at(one.address)
        error = await one.refused(CANCEL, b"")
    assert error.reason is ErrorReason.NO_LEADER
    assert first.looked_up > 0
    assert second.looked_up == 0


async def test_a_write_waits_for_the_next_leader() -> None:
    cluster = Cluster()
    async with (
        replica([EchoRuns()], ScriptedLeader()) as leading,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster, wait_s=30) as following,
    ):
        waiting = asyncio.ensure_future(following.call(CANCEL, run_pb2.CancelRunRequest(run_id="r"), timeout_s=60))
        await cluster.wait_looked_up(2)
        cluster.leader = leader_at(leading.address)
        assert run_of(await waiting).id == "r"


async def test_a_write_that_waits_is_carried_out_by_this_replica_when_it_begins_to_lead() -> None:
    cluster, leader, service = Cluster(), ScriptedLeader(leading=False), EchoRuns()
    async with replica([service], leader, cluster=cluster, wait_s=30) as here:
        waiting = asyncio.ensure_future(here.call(CANCEL, run_pb2.CancelRunRequest(run_id="r"), timeout_s=60))
        await cluster.wait_looked_up(2)
        leader.is_leading = True
        assert run_of(await waiting).id == "r"
    assert not service.calls[0].forwarded


async def test_many_who_wait_cost_one_look_at_a_time() -> None:
    cluster = Cluster()
    async with replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster, wait_s=0.2) as here:
        errors = await asyncio.gather(*[here.refused(CANCEL, b"") for _ in range(200)])
    assert {error.reason for error in errors} == {ErrorReason.NO_LEADER}
    assert cluster.looked_up < 200


async def test_a_caller_with_little_time_is_told_before_its_deadline() -> None:
    async with replica([EchoRuns()], ScriptedLeader(leading=False), wait_s=60) as here:
        error = await here.refused(CANCEL, b"", timeout_s=1)
    assert (error.reason, error.metadata) == (ErrorReason.NO_LEADER, {NOT_TAKEN: "true"})
    assert error.retry_after_s is not None


class FailingOnce(EchoRuns):
    """Fails the first time, in the way it is given."""

    async def RedriveRun(self, request: run_pb2.RedriveRunRequest, call: Call) -> run_pb2.RedriveRunResponse:
        failure, self.failure = self.failure, None
        self.calls.append(call)
        if failure is not None:
            raise failure
        return run_pb2.RedriveRunResponse(run=run_pb2.Run(id=request.run_id))


async def test_a_write_that_a_leader_did_not_take_before_it_stepped_down_is_tried_again() -> None:
    service = FailingOnce(no_leader())
    async with replica([service], ScriptedLeader(), wait_s=30) as here:
        assert run_of(await here.call(REDRIVE, run_pb2.RedriveRunRequest(run_id="r"))).id == "r"
    assert len(service.calls) == 2


async def test_a_write_that_may_have_been_taken_is_tried_again_only_with_its_key() -> None:
    service = FailingOnce(no_leader(taken=True))
    async with replica([service], ScriptedLeader(), wait_s=30) as here:
        error = await here.refused(REDRIVE, run_pb2.RedriveRunRequest(run_id="r"))
        assert (error.reason, error.metadata) == (ErrorReason.NO_LEADER, {})
        service.failure = no_leader(taken=True)
        request = run_pb2.RedriveRunRequest(run_id="r", idempotency_key="k")
        assert run_of(await here.call(REDRIVE, request, metadata=[(NEW_KEY_ENTRY, "1")])).id == "r"
    # By the second time the key may have been used.
    assert [call.key_is_new for call in service.calls[1:]] == [True, False]


async def test_a_write_without_a_key_to_carry_does_the_same_when_repeated_and_its_error_says_so() -> None:
    cluster, service = Cluster(), EchoRuns()
    async with (
        replica([EchoRuns(no_leader(taken=True))], ScriptedLeader()) as dying,
        replica([EchoRuns(Refusal("wrong_state", "it has ended"))], ScriptedLeader()) as next_one,
        replica([service], ScriptedLeader(leading=False), cluster=cluster, wait_s=30) as following,
    ):
        cluster.script = [leader_at(dying.address), leader_at(next_one.address)]
        error = await following.refused(CANCEL, run_pb2.CancelRunRequest(run_id="r"))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {REPEATED: "true"})


async def test_a_new_leader_is_found_after_a_failure() -> None:
    cluster = Cluster()
    old, new = ScriptedLeader(), ScriptedLeader(leading=False)
    async with (
        replica([EchoRuns()], old) as former,
        replica([EchoRuns()], new) as latter,
        replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as following,
    ):
        cluster.leader = leader_at(former.address)
        await following.call(CANCEL, run_pb2.CancelRunRequest(run_id="r"))
        old.is_leading, new.is_leading = False, True
        cluster.leader = leader_at(latter.address)
        assert run_of(await following.call(CANCEL, run_pb2.CancelRunRequest(run_id="r"))).id == "r"


async def test_a_leader_that_is_gone_is_unavailable() -> None:
    cluster = Cluster()
    async with replica([EchoRuns()], ScriptedLeader()) as gone:
        cluster.leader = leader_at(gone.address)
    async with replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as here:
        error = await here.refused(CANCEL, b"")
        assert (error.reason, error.code) == (ErrorReason.NO_LEADER, grpc.StatusCode.UNAVAILABLE)
        cluster.leader = None
        assert (await here.refused(CANCEL, b"")).reason is ErrorReason.NO_LEADER


async def test_the_deadline_of_a_forwarded_call_is_the_callers() -> None:
    cluster = Cluster()
    seen: list[float] = []

    async def serve(_raw: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        seen.append(context.time_remaining())
        return b""

    handlers = {"CancelRun": grpc.unary_unary_rpc_method_handler(serve)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("foliot.v1.RunService", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    cluster.leader = leader_at(f"127.0.0.1:{port}")
    async with replica([EchoRuns()], ScriptedLeader(leading=False), cluster=cluster) as here:
        await here.call(CANCEL, b"", timeout_s=500)
        await here.call(CANCEL, b"", timeout_s=None)
    await server.stop(None)
    assert 100 < seen[0] < 600  # never compared closely: gRPC rounds and a machine may be slow
    assert 0 < seen[1] < 60


async def test_a_service_must_have_every_method_of_the_contract() -> None:
    class Half:
        DESCRIPTOR: ClassVar[ServiceDescriptor] = system_pb2.DESCRIPTOR.services_by_name["SystemService"]
        WRITES: ClassVar[frozenset[str]] = frozenset()
        ACCESS: ClassVar[Mapping[str, Access]] = SystemService.ACCESS

        async def GetStatus(self, request: system_pb2.GetStatusRequest, call: Call) -> system_pb2.GetStatusResponse:
            return system_pb2.GetStatusResponse()

    with pytest.raises(AttributeError, match="GetStats"):
        async with replica([Half()], ScriptedLeader()):
            pass
