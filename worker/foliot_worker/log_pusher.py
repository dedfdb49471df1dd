"""Sends log lines to the scheduler, on calls of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc
import grpc.aio

from foliot.client import Client
from foliot.kit.backoff import Backoff
from foliot.kit.clock import Clock
from foliot.kit.errors import from_rpc_error
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter
from foliot.v1.worker_pb2 import PushLogsRequest, TaskLogLine
from foliot.v1.worker_pb2_grpc import WorkerServiceStub
from foliot_worker.logs import LogBuffer

_log = get_logger(__name__)

_PUSHED = Counter("foliot_worker_log_lines_total", unit="lines", description="Log lines of tasks that were sent.")

LINES_MAX: Final = 1_000
"""The contract's limit of lines in one message."""

_MESSAGE_BYTES: Final = 1024 * 1024
_MESSAGES_MAX: Final = 8
"""Messages in one call: what a call holds is sent again if the call fails."""

_PAUSE_S: Final = 0.05
"""Between calls, so that a task that writes a line at a time costs 20 calls a second and not a thousand. A person who watches
does not see it."""

_DRAIN_S: Final = 2.0
"""How long a stop waits for the last lines; they matter less than a quick end."""

_CALL_TIMEOUT_S: Final = 10.0
_BACKOFF: Final = Backoff(initial_s=0.1, max_s=5.0)

_GIVEN_UP: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED})
"""Statuses that sending the same lines again would meet again."""


class LogPusher(Part):
    """Empties a buffer into `PushLogs` calls, at any replica that answers. A call that failed is repeated.

    Lines are numbered, so those that had arrived are not stored twice.
    """

    def __init__(self, buffer: LogBuffer, client: Client, addresses: Sequence[str], *, clock: Clock) -> None:
        super().__init__("worker.logs")
        self._buffer = buffer
        self._client = client
        self._addresses = list(addresses)
        self._clock = clock
        # Drawn: each worker stays with one replica, and many spread over all of them.
        self._turn = int(clock.random() * len(self._addresses))
        self._channel: grpc.aio.Channel | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """See `Part.run`."""
        while True:
            await self._buffer.wait_lines()
            self._idle.clear()
            messages = self._take()
            failures = 0
            while not await self._push(messages):
                failures += 1
                await self._next_replica()
                await self._clock.sleep(_BACKOFF.delay(failures, self._clock))
            if not len(self._buffer):
                self._idle.set()
            await self._clock.sleep(_PAUSE_S)

    async def drain(self) -> None:
        """Wait a little for the last lines to go out."""
        idle = asyncio.create_task(self._wait_idle(), name="worker.logs_idle")
        limit = asyncio.create_task(self._clock.sleep(_DRAIN_S), name="worker.logs_limit")
        try:
            await asyncio.wait({idle, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            limit.cancel()

    async def on_stop(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close(None)

    async def _wait_idle(self) -> None:
        while len(self._buffer):
            self._idle.clear()
            await self._idle.wait()
        await self._idle.wait()

    def _take(self) -> list[PushLogsRequest]:
        messages: list[PushLogsRequest] = []
        while len(messages) < _MESSAGES_MAX:
            lines: list[TaskLogLine] = self._buffer.take(count_max=LINES_MAX, bytes_max=_MESSAGE_BYTES)
            if not lines:
                break
            messages.append(PushLogsRequest(lines=lines))
        return messages

    async def _push(self, messages: Sequence[PushLogsRequest]) -> bool:
        """Answer whether the lines are done with: stored, or refused for good."""
        if self._channel is None:
            self._channel = self._client.open_channel(self._addresses[self._turn % len(self._addresses)])
        stub = WorkerServiceStub(self._channel)
        try:
            await stub.PushLogs(iter(messages), metadata=self._client.metadata(), timeout=_CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            _log.warning("worker.logs_not_pushed", code=failure.code.name, error=failure.message)
            return failure.code in _GIVEN_UP
        _PUSHED.add(sum(len(message.lines) for message in messages))
        return True

    async def _next_replica(self) -> None:
        self._turn += 1
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close(None)
