"""The worker's connection: finds the leader, carries the Work stream, and comes back whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from foliot.client import Client
from foliot.kit.backoff import Backoff
from foliot.kit.clock import Clock
from foliot.kit.errors import from_rpc_error
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter
from foliot.v1.worker_pb2 import WorkRequest, WorkResponse
from foliot.v1.worker_pb2_grpc import WorkerServiceStub
from foliot_worker.actions import Actions
from foliot_worker.dispatcher import Dispatcher
from foliot_worker.session import STOP_GRACE_S
from foliot_worker.stream_state import RemoteProtocolError, StreamState

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[WorkRequest, WorkResponse]

_log = get_logger(__name__)

QUIET_FAILURES: Final = 8
"""Failures in a row that are no warning yet: with the reconnects' backoff they are over in a few seconds."""

_STREAMS = Counter("foliot_worker_streams_total", unit="streams", description="Work streams that this worker opened.")

_BACKOFF: Final = Backoff(initial_s=0.05, max_s=2.0)
"""Full jitter, so that a fleet does not come back in step; short, since leases run out meanwhile."""

_REFUSED_BACKOFF: Final = Backoff(initial_s=1.0, max_s=30.0)
"""For a worker whose credential is refused: it may become good (a token's time begins, keys of its issuer are fetched), but
asking does not make it so, and every question costs the scheduler a look."""

_REFUSALS: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

_CHANNEL_FAILURES_MAX: Final = 3
"""After so many failures in a row the channel is thrown away: name resolution and a wedged connection get a fresh start."""

_REDIRECTS_MAX: Final = 3
"""Redirects followed in a row without a pause: two replicas that disagree on who leads must not be run round in."""


class _StreamEndedError(Exception):
    """The stream is over; the text says why."""


class Link(Part):
    """Keeps a stream to the leader while the process lives.

    `client` opens channels and names the credentials, `addresses` are the replicas known from the start. On a stop it takes no
    more leases, lets attempts end for `stop_grace_s` seconds, then stops them and gives their leases back.
    """

    def __init__(
        self, dispatcher: Dispatcher, client: Client, addresses: Sequence[str], *, clock: Clock, stop_grace_s: float
    ) -> None:
        super().__init__("worker.link")
        self._dispatcher = dispatcher
        self._client = client
        self._addresses = list(addresses)
        self._clock = clock
        self._stop_grace_s = stop_grace_s
        self._turn = 0
        self._hint = ""
        self._redirects = 0
        self._failures = 0
        self._channel: grpc.aio.Channel | None = None
        self._channel_address = ""
        self._welcomed = asyncio.Event()
        self._steered: asyncio.Future[Actions] | None = None
        dispatcher.steer = self._steer

    async def wait_welcomed(self) -> None:
        """Wait until a scheduler has welcomed the worker for the first time."""
        await self._welcomed.wait()

    async def run(self) -> None:
        """See `Part.run`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._dispatcher.keep_time(), name="worker.time")
            tasks.create_task(self._stay_connected(), name="worker.connection")

    async def stop_intake(self) -> None:
        """Say goodbye and give back what has not started."""
        self._dispatcher.leave()

    async def drain(self) -> None:
        """Let attempts end, for the grace; then stop them. Returns when all is told to the scheduler."""
        closed = asyncio.create_task(self._dispatcher.wait_closed(), name="worker.wait_closed")
        grace = asyncio.create_task(self._clock.sleep(self._stop_grace_s), name="worker.stop_grace")
        try:
            await asyncio.wait({closed, grace}, return_when=asyncio.FIRST_COMPLETED)
            if not closed.done():
                self._dispatcher.abandon(grace_s=STOP_GRACE_S)
                await closed
        finally:
            closed.cancel()
            grace.cancel()

    async def on_stop(self) -> None:
        """Close the channel and stop what still runs."""
        await self._dispatcher.close()
        await self._drop_channel()

    # ---- connections

    async def _stay_connected(self) -> None:
        while self._dispatcher.state is not StreamState.CLOSED:
            address = self._hint or self._addresses[self._turn % len(self._addresses)]
            followed_hint, self._hint = bool(self._hint), ""
            refused = False
            try:
                await self._converse(await self._channel_to(address))
            except (_StreamEndedError, RemoteProtocolError) as error:
                _log.info("worker.stream_ended", address=address, reason=str(error))
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                refused = failure.code in _REFUSALS
                # The first failures of a start are its ordinary course: a scheduler started at the same time is not there yet.
                tell = _log.warning if refused or self._failures >= QUIET_FAILURES else _log.info
                tell("worker.stream_failed", address=address, code=failure.code.name, error=failure.message)
            self._failures += 1
            if self._hint:
                continue
            if not followed_hint:
                self._turn += 1
            if self._failures % _CHANNEL_FAILURES_MAX == 0:
                await self._drop_channel()
            await self._clock.sleep((_REFUSED_BACKOFF if refused else _BACKOFF).delay(self._failures, self._clock))
        await run_forever()

    async def _converse(self, channel: grpc.aio.Channel) -> None:
        """Carry one stream to its end, which is always raised."""
        _STREAMS.add()
        call = WorkerServiceStub(channel).Work(None, metadata=self._client.metadata())
        self._steered = asyncio.get_running_loop().create_future()
        self._dispatcher.opened()
        writer = asyncio.create_task(self._write(call), name="worker.writer")
        reader = asyncio.create_task(self._read(call), name="worker.reader")
        try:
            ends: set[asyncio.Future[Any]] = {reader, self._steered}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._steered.done():
                await reader  # raises why it ended
            self._follow(self._steered.result())
        finally:
            self._steered = None
            call.cancel()
            for task in (writer, reader):
                task.cancel()
            # What the two raise now is only the cancellation, or what the reader has said already.
            await asyncio.gather(writer, reader, return_exceptions=True)
            self._dispatcher.broken()

    async def _read(self, call: _Call) -> None:
        dispatcher = self._dispatcher
        while True:
            try:
                message = await call.read()
            except asyncio.CancelledError:
                # gRPC raises this, too, when the server cancels the call, as one that shuts down does.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise _StreamEndedError("the scheduler cancelled it") from None
            if not isinstance(message, WorkResponse):  # gRPC's mark of the end
                raise _StreamEndedError("the scheduler ended it")
            dispatcher.received(message)
            if not self._welcomed.is_set() or self._failures:
                self._note_progress()

    async def _write(self, call: _Call) -> None:
        dispatcher = self._dispatcher
        # A write that fails means that the stream is over, which the reader learns with the reason.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                message = dispatcher.next_message()
                if message is not None:
                    await call.write(message)
                elif dispatcher.state is StreamState.CLOSED:
                    await call.done_writing()
                    return
                else:
                    await dispatcher.wait_sayable()

    def _note_progress(self) -> None:
        if self._dispatcher.state is StreamState.WORKING:
            self._failures = self._redirects = 0
            if not self._welcomed.is_set():
                self._welcomed.set()
            _log.info("worker.welcomed", address=self._channel_address)

    def _steer(self, actions: Actions) -> None:
        if self._steered is not None and not self._steered.done():
            self._steered.set_result(actions)

    def _follow(self, actions: Actions) -> None:
        """Raise the end of a stream that is to be given up, and remember where to go next."""
        if actions.hang_up:
            raise _StreamEndedError(actions.hang_up)
        if actions.redirect:
            self._redirects += 1
            if self._redirects <= _REDIRECTS_MAX:
                self._hint = actions.redirect
            else:
                self._redirects = 0
        raise _StreamEndedError(f"redirected to {actions.redirect or 'no one yet'}")

    async def _channel_to(self, address: str) -> grpc.aio.Channel:
        """Answer the channel to an address, the present one if it leads there."""
        if self._channel is None or self._channel_address != address:
            await self._drop_channel()
            self._channel = self._client.open_channel(address)
            self._channel_address = address
        return self._channel

    async def _drop_channel(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)
