"""The client against real gRPC servers in this process: finding a replica, repeating, errors, metadata."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import foliot
from foliot import Client, ErrorReason, FieldViolation, FoliotError, Tls
from foliot.client import MESSAGE_BYTES_MAX
from foliot.kit.clock import ManualClock, SystemClock
from foliot.kit.errors import abort
from foliot.kit.ids import parse_uuid
from foliot.kit.telemetry import configure_tracing, get_tracer
from foliot.v1 import system_pb2, task_pb2, task_pb2_grpc, worker_pb2

Context = grpc.aio.ServicerContext[Any, Any]
Failing = Callable[[Context], Awaitable[None]]

NO_LEADER = FoliotError(ErrorReason.NO_LEADER, "no replica leads", retry_after_s=0.0)
REQUEST = task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(dependencies=["a"]))


class Replica:
    """Answers calls after failing as often as `failures` says, and keeps what it was sent."""

    def __init__(self) -> None:
        self.failures: list[Failing] = []
        self.submitted: list[task_pb2.SubmitTaskRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.deadlines: list[float | None] = []
        self.watch_states: list[list[int]] = []
        self.leader_address = ""
        self.called = asyncio.Event()
        self.hold = False
        self.address = ""

    async def _maybe_fail(self, context: Context) -> None:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.deadlines.append(context.time_remaining())
        self.called.set()
        if self.failures:
            await self.failures.pop(0)(context)

    async def submit_task(self, request: task_pb2.SubmitTaskRequest, context: Any) -> task_pb2.SubmitTaskResponse:
        self.submitted.append(request)
        await self._maybe_fail(context)
        if self.hold:
            await asyncio.get_running_loop().create_future()
        return task_pb2.SubmitTaskResponse(task=task_pb2.Task(id=self.address))

    async def delete_task(self, request: task_pb2.DeleteTaskRequest, context: Any) -> task_pb2.DeleteTaskResponse:
        await self._maybe_fail(context)
        return task_pb2.DeleteTaskResponse()

    async def watch_task(self, request: task_pb2.WatchTaskRequest, context: Any) -> AsyncIterator[task_pb2.WatchTaskResponse]:
        await self._maybe_fail(context)
        for attempt in self.watch_states.pop(0):
            yield task_pb2.WatchTaskResponse(task=task_pb2.Task(attempt=attempt))
        if self.watch_states:
            await abort(context, NO_LEADER)

    async def get_status(self, request: system_pb2.GetStatusRequest, context: Any) -> system_pb2.GetStatusResponse:
        await self._maybe_fail(context)
        return system_pb2.GetStatusResponse(leader_address=self.leader_address)

    async def work(self, requests: AsyncIterator[worker_pb2.WorkRequest], context: Any) -> AsyncIterator[worker_pb2.WorkResponse]:
        await self._maybe_fail(context)
        async for _ in requests:
            yield worker_pb2.WorkResponse(welcome=worker_pb2.Welcome())

    def handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """The methods above as services; the others of the contract are not served."""
        methods: list[tuple[str, str, Any, Any, Any]] = [
            ("TaskService", "SubmitTask", grpc.unary_unary_rpc_method_handler, self.submit_task, task_pb2),
            ("TaskService", "DeleteTask", grpc.unary_unary_rpc_method_handler, self.delete_task, task_pb2),
            ("TaskService", "WatchTask", grpc.unary_stream_rpc_method_handler, self.watch_task, task_pb2),
            ("SystemService", "GetStatus", grpc.unary_unary_rpc_method_handler, self.get_status, system_pb2),
            ("WorkerService", "Work", grpc.stream_stream_rpc_method_handler, self.work, worker_pb2),
        ]
        services: dict[str, dict[str, Any]] = {}
        for service, name, kind, method, messages in methods:
            services.setdefault(service, {})[name] = kind(
                method,
                request_deserializer=getattr(messages, f"{name}Request").FromString,
                response_serializer=getattr(messages, f"{name}Response").SerializeToString,
            )
        return [grpc.method_handlers_generic_handler(f"foliot.v1.{name}", served) for name, served in services.items()]


def failing(error: FoliotError) -> Failing:
    async def fail(context: Context) -> None:
        await abort(context, error)

    return fail


@contextlib.asynccontextmanager
async def serving(*replicas: Replica) -> AsyncIterator[list[str]]:
    """Serve the replicas at ports of the system's choice; gives their addresses."""
    servers = []
    for replica in replicas:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)])
        server.add_generic_rpc_handlers(replica.handlers())
        replica.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        servers.append(server)
    try:
        yield [replica.address for replica in replicas]
    finally:
        for server in servers:
            await server.stop(None)


class FirstClock(SystemClock):
    """Draws the least: clients begin at the first address, and pause for no time."""

    def random(self) -> float:
        return 0.0


class LastClock(SystemClock):
    """Draws the most: clients begin at the last address."""

    def random(self) -> float:
        return 0.999


@contextlib.asynccontextmanager
async def connected(*replicas: Replica, **options: Any) -> AsyncIterator[Client]:
    options.setdefault("clock", FirstClock())
    async with serving(*replicas) as addresses, Client(addresses, **options) as client:
        yield client


def test_the_public_names_are_these() -> None:
    assert foliot.__all__ == ["Client", "ErrorReason", "FieldViolation", "FoliotError", "Tls"]
    for name in foliot.__all__:
        assert getattr(foliot, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        foliot.Server  # type: ignore[attr-defined]  # noqa: B018 -- the access is the test


async def test_a_call_answers_the_response_message() -> None:
    async with connected(Replica()) as client:
        answer = await client.tasks.SubmitTask(REQUEST)
        assert answer.task.id == client.address


async def test_an_empty_idempotency_key_is_filled_in_and_kept_over_repetitions() -> None:
    replica = Replica()
    replica.failures = [failing(NO_LEADER)] * 3
    async with connected(replica) as client:
        await client.tasks.SubmitTask(REQUEST)
        await client.tasks.SubmitTask(REQUEST)
    keys = [request.idempotency_key for request in replica.submitted]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]
    assert parse_uuid(keys[0])[6] >> 4 == 7
    assert {tuple(request.task.dependencies) for request in replica.submitted} == {("a",)}
    assert not REQUEST.idempotency_key


async def test_only_the_first_try_says_that_its_key_is_new() -> None:
    replica = Replica()
    replica.failures = [failing(NO_LEADER)]
    async with connected(replica) as client:
        await client.tasks.SubmitTask(REQUEST)
    assert ["foliot-new-key" in entries for entries in replica.metadata] == [True, False]


async def test_a_given_idempotency_key_is_left_alone() -> None:
    replica = Replica()
    async with connected(replica) as client:
        await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(idempotency_key="mine"))
    assert replica.submitted[0].idempotency_key == "mine"
    assert "foliot-new-key" not in replica.metadata[0]


async def test_a_replica_without_a_leader_is_left_for_the_next() -> None:
    first, second = Replica(), Replica()
    first.failures = [failing(NO_LEADER)]
    async with connected(first, second) as client:
        answer = await client.tasks.SubmitTask(REQUEST)
        assert answer.task.id == second.address
        assert client.address == second.address
        await client.tasks.SubmitTask(REQUEST)
    assert len(first.submitted) == 1
    assert first.submitted[0].idempotency_key == second.submitted[0].idempotency_key


async def test_clients_spread_over_the_replicas() -> None:
    replicas = [Replica(), Replica(), Replica()]
    async with serving(*replicas) as addresses:
        async with Client(addresses, clock=FirstClock()) as client:
            assert (await client.tasks.SubmitTask(REQUEST)).task.id == addresses[0]
        async with Client(addresses, clock=LastClock()) as client:
            assert (await client.tasks.SubmitTask(REQUEST)).task.id == addresses[2]


async def test_a_call_that_the_server_gives_up_goes_to_the_next() -> None:
    async def give_up(context: Context) -> None:
        await context.abort(grpc.StatusCode.CANCELLED, "")

    first, second = Replica(), Replica()
    first.failures = [give_up]
    async with connected(first, second) as client:
        assert (await client.tasks.SubmitTask(REQUEST)).task.id == second.address


async def test_a_dead_address_is_left_for_the_next() -> None:
    gone, alive = Replica(), Replica()
    async with serving(gone):
        pass
    async with serving(alive), Client([gone.address, alive.address], clock=FirstClock()) as client:
        assert (await client.tasks.SubmitTask(REQUEST)).task.id == alive.address


async def test_a_server_that_stops_in_the_middle_of_a_call_is_left_for_the_next() -> None:
    stopping, other = Replica(), Replica()
    stopping.hold = True
    async with serving(other):
        async with serving(stopping):
            client = Client([stopping.address, other.address], clock=FirstClock())
            call = asyncio.ensure_future(client.tasks.SubmitTask(REQUEST))
            await stopping.called.wait()
        async with client:
            assert (await call).task.id == other.address


async def test_other_errors_are_raised_at_once_as_they_were_sent() -> None:
    replica = Replica()
    sent = FoliotError(
        ErrorReason.INVALID_FIELD, "bad", fields=[FieldViolation("task.name", "too long", "too_long")], metadata={"a": "b"}
    )
    replica.failures = [failing(sent)]
    async with connected(replica) as client:
        with pytest.raises(FoliotError) as caught:
            await client.tasks.SubmitTask(REQUEST)
    assert vars(caught.value) == vars(sent)
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
    assert len(replica.submitted) == 1


async def test_an_error_of_a_repetition_says_so() -> None:
    replica = Replica()
    replica.failures = [failing(NO_LEADER), failing(FoliotError(ErrorReason.NOT_FOUND, "gone"))]
    async with connected(replica) as client:
        with pytest.raises(FoliotError) as caught:
            await client.tasks.DeleteTask(task_pb2.DeleteTaskRequest(task_id="x"))
    assert caught.value.reason is ErrorReason.NOT_FOUND
    assert caught.value.metadata == {"repeated": "true"}


async def test_a_call_gives_up_when_the_pause_would_pass_its_deadline() -> None:
    replica = Replica()
    late = FoliotError(ErrorReason.DATABASE_UNAVAILABLE, "no database", retry_after_s=60)
    replica.failures = [failing(late)]
    async with connected(replica) as client:
        with pytest.raises(FoliotError) as caught:
            await client.tasks.SubmitTask(REQUEST, timeout=5)
    assert caught.value.reason is ErrorReason.DATABASE_UNAVAILABLE
    assert caught.value.retry_after_s == 60


async def test_pauses_follow_the_servers_word_and_eat_into_the_deadline() -> None:
    replica = Replica()
    replica.failures = [failing(FoliotError(ErrorReason.NO_LEADER, "wait", retry_after_s=20))]
    clock = ManualClock()
    async with connected(replica, clock=clock, timeout_s=60) as client:
        call = asyncio.ensure_future(client.tasks.SubmitTask(REQUEST))
        await clock.wait_sleepers(1)
        clock.advance(19.9)
        assert clock.sleeper_count == 1
        clock.advance(0.1)
        await call
    first, second = replica.deadlines
    assert first is not None
    assert second is not None
    assert first > 45
    assert second < 45


def overloaded(retry_after_s: float) -> Failing:
    return failing(FoliotError(ErrorReason.OVERLOADED, "too much waits", retry_after_s=retry_after_s))


async def test_an_overloaded_scheduler_is_asked_again_after_the_delay_it_told_and_never_sooner() -> None:
    replicas = Replica(), Replica()
    for replica in replicas:
        replica.failures = [overloaded(3.0), overloaded(3.0)]
    clock = ManualClock()
    async with connected(*replicas, clock=clock) as client:
        call = asyncio.ensure_future(client.tasks.SubmitTask(REQUEST))
        await clock.wait_sleepers(1)
        (first,) = (replica for replica in replicas if replica.submitted)
        for tries in (1, 2):
            await clock.wait_sleepers(1)
            assert len(first.submitted) == tries
            clock.advance(2.9)
            assert clock.sleeper_count == 1
            clock.advance(tries * 0.5 + 0.1)  # the most that is drawn, doubled with each refusal
        answer = await call
        assert answer.task.id == first.address, "any other replica would ask the same leader"
    assert len({request.idempotency_key for request in first.submitted}) == 1
    assert ["foliot-new-key" in entries for entries in first.metadata] == [True] * 3, "what is refused has done nothing"


async def test_those_who_were_refused_together_do_not_come_back_together() -> None:
    replica = Replica()
    replica.failures = [overloaded(1.0) for _ in range(10)]
    clock = ManualClock()
    async with connected(replica, clock=clock) as client:
        calls = [asyncio.ensure_future(client.tasks.SubmitTask(REQUEST)) for _ in range(10)]
        await clock.wait_sleepers(10)
        clock.advance(1.25)  # half of the most that is drawn for the first repetition
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert clock.sleeper_count > 0
        clock.advance(0.5)
        await asyncio.gather(*calls)


async def test_a_refusal_is_raised_where_no_time_is_left_to_wait_it_out() -> None:
    replica = Replica()
    replica.failures = [overloaded(60.0)]
    async with connected(replica) as client:
        with pytest.raises(FoliotError) as caught:
            await client.tasks.SubmitTask(REQUEST)
    assert (caught.value.reason, caught.value.retry_after_s) == (ErrorReason.OVERLOADED, 60.0)
    assert "repeated" not in caught.value.metadata


async def test_a_client_that_does_not_wait_out_an_overload_raises_it_at_once() -> None:
    replica = Replica()
    replica.failures = [overloaded(0.1)]
    async with connected(replica, waits_out_overload=False) as client:
        with pytest.raises(FoliotError) as caught:
            await client.acting_as(project="p").tasks.SubmitTask(REQUEST)
    assert caught.value.reason is ErrorReason.OVERLOADED
    assert len(replica.submitted) == 1


async def test_a_deadline_that_passes_keeps_its_status() -> None:
    replica = Replica()
    replica.hold = True
    async with connected(replica) as client:
        with pytest.raises(FoliotError) as caught:
            await client.tasks.SubmitTask(REQUEST, timeout=0.05)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.reason is ErrorReason.UNSPECIFIED


async def test_cancelling_the_caller_cancels_the_call() -> None:
    replica = Replica()
    replica.hold = True
    async with connected(replica) as client:
        call = asyncio.ensure_future(client.tasks.SubmitTask(REQUEST))
        await replica.called.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(replica.submitted) == 1


async def test_calls_carry_credentials_project_and_trace() -> None:
    configure_tracing("test", environ={})
    replica = Replica()
    async with connected(replica, credentials="key", project="p") as client:
        with get_tracer("test").start_as_current_span("x") as span:
            await client.tasks.SubmitTask(REQUEST)
        await client.tasks.SubmitTask(REQUEST, metadata=(("foliot-project", "q"), ("x-own", "1")))
        await client.acting_as(credentials="other").tasks.SubmitTask(REQUEST)
        assert client.metadata() == (("authorization", "Bearer key"), ("foliot-project", "p"))
    first, second, third = replica.metadata
    assert (first["authorization"], first["foliot-project"]) == ("Bearer key", "p")
    assert f"{span.get_span_context().trace_id:032x}" in first["traceparent"]
    assert (second["authorization"], second["foliot-project"], second["x-own"]) == ("Bearer key", "q", "1")
    assert "traceparent" not in second
    assert third["authorization"] == "Bearer other"
    assert "foliot-project" not in third


async def test_a_watch_is_taken_up_again_after_a_failure() -> None:
    replica = Replica()
    replica.failures = [failing(NO_LEADER)]
    replica.watch_states = [[1, 2], [2, 3]]
    async with connected(replica) as client:
        watch = client.tasks.WatchTask(task_pb2.WatchTaskRequest(task_id="x"))
        seen = [state.task.attempt async for state in watch]
    assert seen == [1, 2, 2, 3]
    assert replica.deadlines[1] is None or replica.deadlines[1] > 1_000_000


async def test_a_watch_raises_what_is_final() -> None:
    replica = Replica()
    replica.failures = [failing(FoliotError(ErrorReason.NOT_FOUND, "no such task"))]
    async with connected(replica) as client:
        with pytest.raises(FoliotError, match="no such task"):
            await anext(aiter(client.tasks.WatchTask(task_pb2.WatchTaskRequest(task_id="x"), timeout=5)))


async def test_a_stream_of_the_callers_own_is_grpcs() -> None:
    replica = Replica()
    async with connected(replica, project="p") as client:
        stream = client.workers.Work(iter([worker_pb2.WorkRequest(hello=worker_pb2.Hello())]))
        answers = [answer async for answer in stream]
    assert [answer.WhichOneof("message") for answer in answers] == ["welcome"]
    assert replica.metadata[0]["foliot-project"] == "p"


async def test_the_leaders_address_and_a_channel_of_ones_own() -> None:
    first, second = Replica(), Replica()
    async with connected(first, second) as client:
        second.leader_address = first.address
        with pytest.raises(FoliotError, match="knows no leader") as caught:
            await client.leader_address()
        assert caught.value.reason is ErrorReason.NO_LEADER
        assert await client.leader_address() == first.address
        async with client.open_channel(first.address) as channel:
            answer = await task_pb2_grpc.TaskServiceStub(channel).SubmitTask(REQUEST)
        assert answer.task.id == first.address


async def test_several_calls_that_fail_together_move_on_once() -> None:
    first, second, third = Replica(), Replica(), Replica()
    first.failures = [failing(NO_LEADER)] * 5
    async with connected(first, second, third) as client:
        answers = await asyncio.gather(*(client.tasks.SubmitTask(REQUEST) for _ in range(5)))
    assert {answer.task.id for answer in answers} == {second.address}


async def test_a_message_over_the_limit_is_refused_here() -> None:
    replica = Replica()
    async with connected(replica) as client:
        big = task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(dependencies=["x" * MESSAGE_BYTES_MAX]))
        with pytest.raises(FoliotError) as caught:
            await client.tasks.SubmitTask(big)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert replica.submitted == []


async def test_a_closed_client_is_closed() -> None:
    async with serving(Replica()) as addresses:
        client = Client(addresses[0])
        derived = client.acting_as(project="p")
        await derived.close()
        await client.tasks.SubmitTask(REQUEST)
        await client.close()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await derived.tasks.SubmitTask(REQUEST)


def test_a_client_needs_an_address() -> None:
    with pytest.raises(ValueError, match="address"):
        Client([])


def test_tls_is_read_from_files_and_never_shown(tmp_path: Path) -> None:
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_bytes(name.encode())
    tls = Tls.from_files(ca=tmp_path / "ca", certificate=tmp_path / "certificate", key=tmp_path / "key")
    assert (tls.ca, tls.certificate, tls.key) == (b"ca", b"certificate", b"key")
    assert "key" not in repr(tls)
    assert isinstance(Tls().credentials(), grpc.ChannelCredentials)
