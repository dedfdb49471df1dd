"""A gRPC channel over several replicas, for generated stubs: finds one that answers, repeats, translates errors.

`Following` stands in for a channel: stubs are constructed on it as on any other. What is repeated, and why that is safe,
is said in `foliot.client`, which is the face of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message

from foliot.kit.backoff import Backoff
from foliot.kit.clock import Clock
from foliot.kit.errors import ErrorReason, FoliotError, from_rpc_error, server_cancelled
from foliot.kit.ids import format_uuid
from foliot.kit.telemetry import inject_metadata

# A fail-over takes tens of milliseconds, so the first pauses are short.
_BACKOFF: Final = Backoff(initial_s=0.05, max_s=2.0)

# What is added to the delay that an overloaded scheduler told: drawn anew each time, so that those who were refused together
# do not come back together, and growing, because it may tell every caller the same.
_OVERLOAD_BACKOFF: Final = Backoff(initial_s=0.5, max_s=8.0)

KEY_FIELD: Final = "idempotency_key"
"""The field of creating requests whose repetition does nothing new."""

REPEATED: Final = "repeated"
"""Metadata entry, "true", of an error of a call that was sent before and may have had its effect then."""

NEW_KEY_ENTRY: Final = "foliot-new-key"
"""Metadata entry of the first try of a call whose idempotency key was made for it: nobody can have used the key before, so it
need not be looked up. Repetitions go without it."""

_NEW_KEY: Final = ((NEW_KEY_ENTRY, "1"),)

_SENT_ONCE: Final = frozenset({"/foliot.v1.AccessService/CreateApiKey"})
"""Methods whose repetition would do twice what is wanted once, and that no idempotency key makes safe."""

MetadataEntries = tuple[tuple[str, str], ...]


class _Replica:
    """One address, with its channel (opened when first used) and the callables made on it."""

    def __init__(self, address: str, open_channel: Callable[[str], grpc.aio.Channel]) -> None:
        self.address = address
        self._open_channel = open_channel
        self._channel: grpc.aio.Channel | None = None
        self._callables: dict[tuple[str, str], Callable[..., Any]] = {}

    def callable(self, kind: str, method: str, serialize: object, deserialize: object) -> Callable[..., Any]:
        found = self._callables.get((kind, method))
        if found is None:
            if self._channel is None:
                self._channel = self._open_channel(self.address)
            found = getattr(self._channel, kind)(method, serialize, deserialize)
            self._callables[kind, method] = found
        return found

    async def close(self) -> None:
        self._callables.clear()
        if self._channel is not None:
            await self._channel.close(None)


class Replicas:
    """All addresses, and which of them calls go to."""

    def __init__(self, addresses: Sequence[str], open_channel: Callable[[str], grpc.aio.Channel], clock: Clock) -> None:
        self._all = [_Replica(address, open_channel) for address in addresses]
        # Any replica takes any call: drawn, so that many clients that were given the same list spread over it.
        self._index = int(clock.random() * len(self._all)) if len(self._all) > 1 else 0
        self._closed = False

    @property
    def current(self) -> _Replica:
        """The replica that calls go to at present. Raises RuntimeError once closed."""
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._all[self._index]

    def leave(self, failed: _Replica) -> None:
        """Go on to the next address, unless another call that failed there has done so already."""
        if self._all[self._index] is failed:
            self._index = (self._index + 1) % len(self._all)

    async def close(self) -> None:
        """Close every channel; closing again does nothing."""
        if not self._closed:
            self._closed = True
            for replica in self._all:
                await replica.close()


class Following:
    """What the generated stubs take for a channel: makes callables that find a replica, repeat and translate errors.

    Calls carry `entries` and the current trace, and end after `timeout_s` seconds unless they say otherwise. `waits` says
    whether those that are refused because too much work waits are repeated.
    """

    def __init__(self, replicas: Replicas, entries: MetadataEntries, timeout_s: float, clock: Clock, *, waits: bool) -> None:
        self.replicas = replicas
        self.timeout_s = timeout_s
        self.clock = clock
        self.waits = waits
        self._entries = entries

    def with_metadata(self, entries: MetadataEntries) -> Following:
        """Answer another of the same replicas whose calls carry other entries."""
        return Following(self.replicas, entries, self.timeout_s, self.clock, waits=self.waits)

    def metadata(self, further: Iterable[tuple[str, Any]] = ()) -> tuple[tuple[str, Any], ...]:
        """Join the client's entries with a call's own, which win."""
        own = tuple(further or ())
        named = {key for key, _ in own}
        return tuple(entry for entry in (*self._entries, *inject_metadata()) if entry[0] not in named) + own

    # The four methods of a channel that stubs call, with gRPC's names and parameters.

    def unary_unary(self, method: str, *, response_deserializer: Any, **_: object) -> _UnaryMethod:
        """See `_UnaryMethod`."""
        return _UnaryMethod(self, method, response_deserializer)

    def unary_stream(self, method: str, *, response_deserializer: Any, **_: object) -> _WatchMethod:
        """See `_WatchMethod`."""
        return _WatchMethod(self, method, response_deserializer)

    def stream_unary(self, method: str, **codecs: Any) -> _StreamMethod:
        """See `_StreamMethod`."""
        return _StreamMethod(self, "stream_unary", method, codecs)

    def stream_stream(self, method: str, **codecs: Any) -> _StreamMethod:
        """See `_StreamMethod`."""
        return _StreamMethod(self, "stream_stream", method, codecs)


class _Attempts:
    """The repetitions of one call: where the next goes, how long it may take, how long to pause before it."""

    def __init__(self, following: Following, timeout_s: float | None) -> None:
        self._replicas = following.replicas
        self._clock = following.clock
        self._limit_s = following.timeout_s if timeout_s is None else timeout_s
        self._deadline = self._clock.monotonic() + self._limit_s
        self._failures = 0
        self._waits = following.waits
        self._refusals = 0
        self.replica = self._replicas.current

    @property
    def remaining_s(self) -> float:
        return max(0.0, self._deadline - self._clock.monotonic())

    def progressed(self) -> None:
        """Count from the start again: the call works."""
        self._failures = self._refusals = 0
        self._deadline = self._clock.monotonic() + self._limit_s

    async def wait_next(self, error: FoliotError) -> None:
        """Pause, and go on to the next address where this one failed. Raises the error if it is final, or no time is left."""
        if self._waits and error.reason is ErrorReason.OVERLOADED:
            # Any other replica would ask the same leader.
            self._refusals += 1
            if self._failures:
                error.metadata[REPEATED] = "true"
            await self._pause(error, (error.retry_after_s or 0.0) + _OVERLOAD_BACKOFF.delay(self._refusals, self._clock))
            return
        if error.code is not grpc.StatusCode.UNAVAILABLE:
            if self._failures:
                error.metadata[REPEATED] = "true"
            raise error
        self._failures += 1
        self._replicas.leave(self.replica)
        await self._pause(error, max(error.retry_after_s or 0.0, _BACKOFF.delay(self._failures, self._clock)))

    async def _pause(self, error: FoliotError, pause_s: float) -> None:
        if pause_s >= self.remaining_s:
            raise error
        await self._clock.sleep(pause_s)
        self.replica = self._replicas.current


def _serialized(request: Message, clock: Clock) -> tuple[bytes, bool]:
    """Serialize a request once for all repetitions, with an idempotency key if it should have one and has none; say whether so.

    The key is appended: the joined encodings of two messages are the encoding of the merged message (Protocol Buffers,
    "Encoding", last one wins). So the caller's message stays as it is, and a large one is not copied.
    """
    payload = request.SerializeToString()
    if KEY_FIELD not in request.DESCRIPTOR.fields_by_name or getattr(request, KEY_FIELD):
        return payload, False
    key_only = type(request)(**{KEY_FIELD: format_uuid(clock.uuid7())})
    return payload + key_only.SerializeToString(), True


class _Call(Protocol):
    """What is awaited or iterated of gRPC's call objects."""

    def __await__(self) -> Any: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def cancel(self) -> bool: ...


async def answer_of(step: Awaitable[Any]) -> Any:
    """Await a step of a gRPC call and raise its failure as `FoliotError`."""
    try:
        return await step
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    except asyncio.CancelledError:
        # gRPC raises this, too, when the other side cancelled the call, as a server does that is shutting down.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise server_cancelled() from None


class _UnaryMethod:
    """A method with one request and one response."""

    def __init__(self, following: Following, method: str, deserialize: object) -> None:
        self._following = following
        self._method = method
        self._deserialize = deserialize

    async def __call__(
        self,
        request: Message,
        timeout: float | None = None,  # noqa: ASYNC109 -- the name that gRPC's callables use
        metadata: Iterable[tuple[str, Any]] = (),
    ) -> Any:
        following = self._following
        attempts = _Attempts(following, timeout)
        payload, key_is_new = _serialized(request, following.clock)
        entries = following.metadata(metadata)
        mark = _NEW_KEY if key_is_new else ()
        while True:
            send = attempts.replica.callable("unary_unary", self._method, None, self._deserialize)
            try:
                return await answer_of(send(payload, timeout=attempts.remaining_s, metadata=entries + mark))
            except FoliotError as error:
                if self._method in _SENT_ONCE:
                    raise
                if error.reason is not ErrorReason.OVERLOADED:
                    mark = ()  # it may have taken effect; what is refused has not
                await attempts.wait_next(error)


class _WatchMethod:
    """A method with one request and a stream of states: after a failure it is asked again from the present state.

    With a `timeout`, that is the deadline of the whole; without, it ends when no replica answered for the client's
    timeout.
    """

    def __init__(self, following: Following, method: str, deserialize: object) -> None:
        self._following = following
        self._method = method
        self._deserialize = deserialize

    async def __call__(
        self,
        request: Message,
        timeout: float | None = None,  # noqa: ASYNC109 -- the name that gRPC's callables use
        metadata: Iterable[tuple[str, Any]] = (),
    ) -> AsyncIterator[Any]:
        following = self._following
        attempts = _Attempts(following, timeout)
        payload, _ = _serialized(request, following.clock)
        entries = following.metadata(metadata)
        while True:
            send = attempts.replica.callable("unary_stream", self._method, None, self._deserialize)
            call: _Call = send(payload, timeout=None if timeout is None else attempts.remaining_s, metadata=entries)
            states = aiter(call)
            try:
                while True:
                    state = await answer_of(anext(states))
                    if timeout is None:
                        attempts.progressed()
                    yield state
            except StopAsyncIteration:
                return
            except FoliotError as error:
                await attempts.wait_next(error)
            finally:
                call.cancel()


class _StreamMethod:
    """A method that takes a stream, which cannot be repeated: gRPC's own callable at the present address."""

    def __init__(self, following: Following, kind: str, method: str, codecs: dict[str, Any]) -> None:
        self._following = following
        self._kind = kind
        self._method = method
        self._codecs = codecs

    def __call__(self, requests: object = None, timeout: float | None = None, metadata: Iterable[tuple[str, Any]] = ()) -> Any:
        replica = self._following.replicas.current
        open_stream = replica.callable(
            self._kind, self._method, self._codecs["request_serializer"], self._codecs["response_deserializer"]
        )
        return open_stream(requests, timeout=timeout, metadata=self._following.metadata(metadata))
