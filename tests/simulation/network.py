"""Streams between workers and replicas: in order, late, cut without a word, and broken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from foliot.kit.errors import FoliotError
from foliot.v1.worker_pb2 import WorkRequest, WorkResponse
from tests.simulation.virtual import NOBODY

if TYPE_CHECKING:
    from tests.simulation.virtual import Process, VirtualLoop
    from tests.unit.core.dice import Dice

KEEPALIVE_S: Final = 15.0
"""How long a silent connection lives: a ping every 10 s, answered within 5 (the server's and the client's options)."""

END: Final = object()

Serve = Callable[["ServerSide"], Awaitable[None]]


def broken(text: str) -> grpc.aio.AioRpcError:
    """What gRPC raises on a stream that is gone."""
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, nothing, nothing, details=f"simulated: {text}", debug_error_string=""
    )


class Pipe:
    """One direction of a stream."""

    def __init__(self, loop: VirtualLoop, dice: Dice, link: Callable[[], bool]) -> None:
        self._loop = loop
        self._dice = dice
        self._link = link
        self._arrived: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._last = 0.0
        self._held: deque[Any] = deque()
        """Sent while the link was cut: delivered when it heals, as TCP does."""
        self.ended = False

    def send(self, message: Any) -> None:
        """Put a message on its way."""
        self._held.append(message)
        self.pump()

    def pump(self) -> None:
        """Deliver what is held back, if the link is whole."""
        while self._held and self._link():
            self._last = max(self._last, self._loop.seconds + 0.0002 + self._dice.fraction() * 0.002)
            self._loop.call_at(self._last, self._arrive, self._held.popleft(), context=NOBODY)

    def _arrive(self, message: Any) -> None:
        self._arrived.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def read(self) -> Any:
        """Wait for a message; END, which is none, once the other side is gone and everything was read."""
        while not self._arrived:
            if self.ended:
                return END
            self._waiting = self._loop.create_future()
            await self._waiting
        return self._arrived.popleft()

    def end(self) -> None:
        """Nothing more arrives."""
        self.ended = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class ServerSide:
    """The context that the servicer reads and writes by."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> object:
        """See gRPC."""
        message: object = await self._stream.up.read()
        return message

    async def write(self, message: WorkResponse) -> None:
        """See gRPC."""
        if self._stream.over:
            raise asyncio.CancelledError
        self._stream.down.send(WorkResponse.FromString(message.SerializeToString()))


class ClientSide:
    """The call that a worker's link reads and writes by."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> object:
        """See gRPC."""
        message = await self._stream.down.read()
        if message is END:
            raise broken("the stream has ended")
        return message

    async def write(self, message: WorkRequest) -> None:
        """See gRPC."""
        if self._stream.over:
            raise asyncio.InvalidStateError
        self._stream.up.send(WorkRequest.FromString(message.SerializeToString()))

    async def done_writing(self) -> None:
        """See gRPC."""
        self._stream.up.send(END)

    def cancel(self) -> bool:
        """See gRPC."""
        self._stream.hang_up()
        return True


class Stream:
    """One Work stream."""

    def __init__(self, network: Network, worker: Process, replica: Process, address: str) -> None:
        self.network = network
        self.ends = (worker.name, address)
        self.over = False
        self.up = Pipe(network.loop, network.dice, lambda: self.ends not in network.cuts)
        self.down = Pipe(network.loop, network.dice, lambda: self.ends[::-1] not in network.cuts)
        self.handler: asyncio.Task[Any] | None = None
        self.silent_since: float | None = None

    @property
    def whole(self) -> bool:
        """Whether messages get through both ways."""
        return self.ends not in self.network.cuts and self.ends[::-1] not in self.network.cuts

    def hang_up(self) -> None:
        """End the stream for both sides; the server's handler is cancelled, as gRPC does."""
        if self.over:
            return
        self.over = True
        self.network.streams.discard_stream(self)
        self.up.end()
        self.down.end()
        if self.handler is not None:
            self.handler.cancel()

    def pump(self) -> None:
        """Go on after a cut has healed."""
        self.up.pump()
        self.down.pump()


class _Open(list["Stream"]):
    """The streams that are open, in the order of their beginnings."""

    def discard_stream(self, stream: Stream) -> None:
        if stream in self:
            self.remove(stream)


@dataclass
class Listener:
    """A replica that takes streams."""

    process: Process
    serve: Serve


@dataclass
class Network:
    """Who can reach whom."""

    loop: VirtualLoop
    dice: Dice
    listeners: dict[str, Listener] = field(default_factory=dict)
    cuts: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of who says something and who does not hear it, without a word; a worker and an address."""
    streams: _Open = field(default_factory=_Open)

    def heal(self) -> None:
        """Mend every link."""
        self.cuts.clear()
        for stream in list(self.streams):
            stream.pump()

    def watch(self) -> None:
        """Break the streams whose link was cut for longer than a keepalive lasts; to be called once a second."""
        for stream in list(self.streams):
            if stream.whole:
                stream.silent_since = None
            elif stream.silent_since is None:
                stream.silent_since = self.loop.seconds
            elif self.loop.seconds - stream.silent_since > KEEPALIVE_S:
                stream.hang_up()

    def open(self, worker: Process, address: str) -> ClientSide:
        """Open a stream; one to nobody ends at once."""
        listener = self.listeners.get(address)
        if listener is None or not listener.process.alive:
            raise broken("nobody listens")
        stream = Stream(self, worker, listener.process, address)
        self.streams.append(stream)
        for process in (worker, listener.process):
            process.on_death.append(stream.hang_up)
        stream.handler = listener.process.spawn(self._serve(listener, stream), "work")
        return ClientSide(stream)

    @staticmethod
    async def _serve(listener: Listener, stream: Stream) -> None:
        try:
            await listener.serve(ServerSide(stream))
        except Exception as error:
            stream.hang_up()
            if not isinstance(error, FoliotError):
                raise
        else:
            # What was written last still arrives.
            stream.network.loop.call_later(0.01, stream.hang_up)


class Channel:
    """A worker's channel to one address: as much of one as a stub's constructor and the link ask for."""

    def __init__(self, network: Network, worker: Process, address: str) -> None:
        self._open = lambda *_, **__: network.open(worker, address)

    def unary_unary(self, *_: object, **__: object) -> None:
        """Not used by the link."""

    def stream_unary(self, *_: object, **__: object) -> None:
        """Not used by the link."""

    def stream_stream(self, *_: object, **__: object) -> Callable[..., ClientSide]:
        """See gRPC."""
        return self._open

    async def close(self, _grace: float | None) -> None:
        """See gRPC."""


class WorkerClient:
    """As much of `foliot.client.Client` as a link asks for."""

    def __init__(self, network: Network, worker: Process) -> None:
        self._network = network
        self._worker = worker

    def open_channel(self, address: str) -> Channel:
        """See `Client`."""
        return Channel(self._network, self._worker, address)

    def metadata(self) -> tuple[()]:
        """See `Client`."""
        return ()
