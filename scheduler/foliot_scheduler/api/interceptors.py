"""What every call passes on its way in and out.

In order: there is room for the call or not, the caller is known and let in or not, a span is opened, a write is brought
to the leader (see `writes`), the request is parsed, the service answers, and whatever it raised becomes a status. The
handlers take and give bytes, so that forwarding touches no message and malformed requests get an answer of ours; they
are made once for each method, because gRPC's own interceptors are looked up and chained anew for every call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.trace import SpanKind

from foliot.kit.errors import FoliotError, abort
from foliot.kit.logs import get_logger
from foliot.kit.telemetry import Counter, Histogram, extract_metadata, get_tracer
from foliot.v1 import worker_pb2
from foliot_scheduler.api.audits import begin_wish, is_audited
from foliot_scheduler.api.calls import Call, CallReader
from foliot_scheduler.api.credentials import RECHECK_S
from foliot_scheduler.api.errors import to_foliot_error
from foliot_scheduler.api.rooms import Room, Rooms
from foliot_scheduler.api.wire import parse_request
from foliot_scheduler.api.writes import Write, Writes
from foliot_scheduler.core.access import Access
from foliot_scheduler.store.errors import StoreError

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.ports import ServeWork, ServicerContext

CALL_S_MAX: Final = 60.0
"""How long a call may take, whatever its deadline: twice what the client of this project gives its calls, and half of what the
leader remembers idempotency keys for (CoreSettings.key_kept), so that a key that was looked up is never too old to be known."""

_CALLS = Counter("foliot_api_calls_total", unit="calls", description="gRPC calls that ended.", labels=("method", "status"))
_DURATION = Histogram(
    "foliot_api_call_seconds",
    unit="seconds",
    description="How long gRPC calls took, streams and forwarded calls included.",
    labels=("method",),
)

log = get_logger(__name__)
tracer = get_tracer(__name__)

MessageT = TypeVar("MessageT", bound=Message)


class Service(Protocol):
    """One service of the contract: a method for each RPC, under the RPC's name, that takes the request and the Call.

    A method that answers a stream is an async generator, one that takes a stream is given an async iterator.
    """

    DESCRIPTOR: ClassVar[ServiceDescriptor]
    WRITES: ClassVar[frozenset[str]]
    """The RPCs that need the leader."""
    ACCESS: ClassVar[Mapping[str, Access]]
    """What each RPC asks of its caller."""


class Passage:
    """Makes gRPC's handlers of services."""

    def __init__(self, *, writes: Writes, clock: Clock, reader: CallReader | None = None, rooms: Rooms | None = None) -> None:
        """Take who brings writes to the leader, who lets callers in (without one: anybody may come), and how many calls go on."""
        self._writes = writes
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._clock = clock
        self._reader = reader or CallReader()
        self._rooms = rooms or Rooms()

    def handlers(self, service: Service) -> grpc.GenericRpcHandler[Any, Any]:
        """The handlers of one service. Raises AttributeError if it lacks a method of the contract."""
        descriptor = service.DESCRIPTOR
        assert service.WRITES.issubset(descriptor.methods_by_name), "a write that is no RPC"
        return grpc.method_handlers_generic_handler(
            descriptor.full_name,
            {method.name: self._handler(service, method) for method in descriptor.methods},
        )

    async def wait_idle(self) -> None:
        """Wait until no call of one request and one answer is under way."""
        await self._idle.wait()

    def _begin(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    def _handler(self, service: Service, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        function = getattr(service, method.name)
        access = service.ACCESS[method.name]
        request_type = GetMessageClass(method.input_type)
        if method.client_streaming and method.server_streaming:
            return self._work_stream(method, function, access)
        if method.client_streaming:
            return self._stream_unary(method, function, request_type, access)
        if method.server_streaming:
            return self._unary_stream(method, function, request_type, access)
        return self._unary(method, function, request_type, access, writes=method.name in service.WRITES)

    def _unary(
        self,
        method: MethodDescriptor,
        function: Callable[[Any, Call], Awaitable[Message]],
        request_type: type[Message],
        access: Access,
        *,
        writes: bool,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        path = f"/{method.containing_service.full_name}/{method.name}"
        audited = f"{method.containing_service.name}/{method.name}" if is_audited(access) else ""
        carry_out, read_call = self._writes.carry_out, self._reader.read_call
        rooms = self._rooms
        room = rooms.writes if writes else rooms.reads

        async def answer(raw: bytes, call: Call) -> bytes:
            request = parse_request(request_type, raw)
            async with asyncio.timeout(CALL_S_MAX):
                return (await function(request, call)).SerializeToString()

        async def serve(raw: bytes, context: ServicerContext) -> bytes:
            passing = _Passing(method, context, self._clock)
            self._begin()
            try:
                passing.enter(room)
                passing.hold(rooms, len(raw))
                call = await read_call(passing.metadata, access)
                if audited:
                    begin_wish(call, audited, passing.metadata)
                with passing.span():
                    if writes:
                        response = await carry_out(Write(path, raw, request_type, partial(answer, raw)), call, context)
                    else:
                        response = await answer(raw, call)
                passing.status = "OK"
                return response
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                await passing.fail(error)
            finally:
                passing.end()
                self._end()

        return grpc.unary_unary_rpc_method_handler(serve)

    def _unary_stream(
        self,
        method: MethodDescriptor,
        function: Callable[[Any, Call], AsyncIterator[Message]],
        request_type: type[Message],
        access: Access,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        read_call = self._reader.read_call

        async def serve(raw: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
            passing = _Passing(method, context, self._clock)
            try:
                passing.enter(self._rooms.watches)
                call = await read_call(passing.metadata, access)
                # No span: it would stay open for as long as somebody watches.
                async for message in function(parse_request(request_type, raw), call):
                    await read_call(passing.metadata, access)  # the credential may have ended since
                    yield message.SerializeToString()
                passing.status = "OK"
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                await passing.fail(error)
            finally:
                passing.end()

        return grpc.unary_stream_rpc_method_handler(serve)

    def _stream_unary(
        self,
        method: MethodDescriptor,
        function: Callable[[AsyncIterator[Any], Call], Awaitable[Message]],
        request_type: type[Message],
        access: Access,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        read_call = self._reader.read_call

        async def parsed(requests: AsyncIterator[bytes], passing: _Passing) -> AsyncIterator[Message]:
            async for raw in requests:
                await read_call(passing.metadata, access)  # the credential may have ended since
                yield parse_request(request_type, raw)

        async def serve(requests: AsyncIterator[bytes], context: ServicerContext) -> bytes:
            passing = _Passing(method, context, self._clock)
            try:
                passing.enter(self._rooms.pushes)
                call = await read_call(passing.metadata, access)
                response = await function(parsed(requests, passing), call)
                passing.status = "OK"
                return response.SerializeToString()
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                await passing.fail(error)
            finally:
                passing.end()

        return grpc.stream_unary_rpc_method_handler(serve)

    def _work_stream(self, method: MethodDescriptor, work: ServeWork, access: Access) -> grpc.RpcMethodHandler[Any, Any]:
        async def serve(_requests: object, context: ServicerContext) -> None:
            passing = _Passing(method, context, self._clock)
            try:
                passing.enter(self._rooms.workers)
                call = await self._reader.read_call(passing.metadata, access)
                if self._reader.checks:
                    await self._while_let_in(work(context, call), passing, access)
                else:
                    await work(context, call)
                passing.status = "OK"
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker is told
                await passing.fail(error)
            finally:
                passing.end()

        return grpc.stream_stream_rpc_method_handler(
            # The handler reads and writes by its context, which the stubs do not know of.
            serve,
            request_deserializer=_work_request,
            response_serializer=worker_pb2.WorkResponse.SerializeToString,
        )

    async def _while_let_in(self, work: Coroutine[None, None, None], passing: _Passing, access: Access) -> None:
        """Serve a stream for as long as its credential is good; raises FoliotError when it no longer is."""

        async def watch() -> None:
            while True:
                await self._clock.sleep(RECHECK_S)
                # Where PostgreSQL is away nobody can have been refused meanwhile either.
                with contextlib.suppress(StoreError):
                    await self._reader.read_call(passing.metadata, access)

        serving = asyncio.create_task(work, name="work.serve")
        watching = asyncio.create_task(watch(), name="work.watch_credential")
        try:
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, watching):
                task.cancel()
            await asyncio.wait({serving, watching})
        for task in (serving, watching):
            if not task.cancelled():
                task.result()


def _work_request(raw: bytes) -> worker_pb2.WorkRequest:
    """Parse a worker's message; a malformed one comes out empty, which the stream refuses as a violation of its protocol."""
    try:
        return parse_request(worker_pb2.WorkRequest, raw)
    except FoliotError:
        return worker_pb2.WorkRequest()


class _Passing:
    """One call on its way: what is noted of it whatever happens."""

    __slots__ = ("_clock", "_context", "_holding", "_method", "_room", "_started", "metadata", "status")

    def __init__(self, method: MethodDescriptor, context: ServicerContext, clock: Clock) -> None:
        self._method = method
        self._context = context
        self._clock = clock
        self._started = clock.monotonic()
        self.metadata = context.invocation_metadata() or ()
        self._room: Room | None = None
        self._holding: tuple[Rooms, int] | None = None
        self.status = "CANCELLED"
        """How it ended, as gRPC names it; the caller hung up unless something else is said."""

    def enter(self, room: Room) -> None:
        """Take a place, until the end. Raises FoliotError OVERLOADED."""
        room.enter()
        self._room = room

    def hold(self, rooms: Rooms, size: int) -> None:
        """Hold a request of so many bytes, until the end. Raises FoliotError OVERLOADED."""
        rooms.hold(size)
        self._holding = rooms, size

    def span(self) -> Any:
        """Open the call's span, under the caller's."""
        return tracer.start_as_current_span(
            self._method.full_name,
            context=extract_metadata(self.metadata),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        )

    async def fail(self, error: Exception) -> NoReturn:
        """End the call with the status of what was raised."""
        failure = to_foliot_error(error, method=self._method.full_name, clock=self._clock)
        self.status = failure.code.name
        await abort(self._context, failure)

    def end(self) -> None:
        """Count the call, and leave its place to another."""
        if self._room is not None:
            self._room.leave()
        if self._holding is not None:
            rooms, size = self._holding
            rooms.let_go(size)
        duration_s = self._clock.monotonic() - self._started
        method = self._method.full_name
        _CALLS.add(1, method, self.status)
        _DURATION.observe(duration_s, method)
        log.debug("api.call_ended", method=method, status=self.status, duration_s=duration_s)
