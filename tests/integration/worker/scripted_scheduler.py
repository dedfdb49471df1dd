"""A scheduler's side of the Work stream that does exactly what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from foliot.kit.errors import ErrorReason, FoliotError, abort
from foliot.v1 import worker_pb2, worker_pb2_grpc
from foliot.v1.worker_pb2 import WorkRequest, WorkResponse


class Stream:
    """One stream that a worker has opened."""

    def __init__(self, hello: worker_pb2.Hello, context: Any) -> None:
        self.hello = hello
        self._context = context
        self.arrived: asyncio.Queue[WorkRequest | None] = asyncio.Queue()
        self._over = asyncio.Event()
        self._error: FoliotError | None = None

    async def welcome(self, *, ttl_s: int = 30, interval_s: float = 10, dropped: Iterable[int] = ()) -> None:
        interval = Duration(seconds=int(interval_s), nanos=round(interval_s % 1 * 1e9))
        welcome = worker_pb2.Welcome(
            leader="s1", epoch=1, lease_ttl=Duration(seconds=ttl_s), heartbeat_interval=interval, dropped_tokens=dropped
        )
        await self.send(WorkResponse(welcome=welcome))

    async def lease(self, *leases: worker_pb2.Lease, batch: int = 1) -> None:
        await self.send(WorkResponse(leases=worker_pb2.LeaseBatch(batch=batch, leases=leases)))

    async def send(self, message: WorkResponse) -> None:
        await self._context.write(message)

    async def next(self, kind: str) -> Any:
        """Wait for the next message of a kind, passing over others; None once the worker has ended the stream."""
        while True:
            message = await self.arrived.get()
            if message is None:
                return None
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)

    async def results(self, count: int) -> list[worker_pb2.Result]:
        """Wait for as many results and confirm them."""
        found: list[worker_pb2.Result] = []
        while len(found) < count:
            message = await self.next("results")
            found.extend(message.results)
            await self.ack(*(result.token for result in message.results))
        return found

    async def ack(self, *tokens: int) -> None:
        await self.send(WorkResponse(result_ack=worker_pb2.ResultAck(tokens=tokens)))

    def end(self, error: FoliotError | None = None) -> None:
        """End the stream, with a status if an error is given."""
        self._error = error
        self._over.set()

    async def serve(self) -> None:
        reader = asyncio.create_task(self._read())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({reader, over}, return_when=asyncio.FIRST_COMPLETED)
            if self._error is not None:
                await abort(self._context, self._error)
        finally:
            reader.cancel()
            over.cancel()
            self.arrived.put_nowait(None)

    async def _read(self) -> None:
        while True:
            message = await self._context.read()
            if not isinstance(message, WorkRequest):  # gRPC's mark of the end
                return
            self.arrived.put_nowait(message)


class ScriptedScheduler:
    """Hands each stream that is opened to the test, and keeps the log lines."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.lines: list[worker_pb2.TaskLogLine] = []
        self.pushed = asyncio.Event()
        self.push_errors: list[FoliotError] = []
        self.metadata: dict[str, Any] = {}
        self.address = ""
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start("127.0.0.1:0")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, address: str) -> None:
        server = grpc.aio.server()
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(_served_by(self), server)
        port = server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        await server.start()
        self._server = server

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def stream(self) -> Stream:
        """Wait for the next stream that a worker opens."""
        return await self.streams.get()

    async def serve_work(self, context: Any) -> None:
        first = await context.read()
        self.metadata = dict(context.invocation_metadata())
        assert first.HasField("hello"), "hello is the first message"
        stream = Stream(first.hello, context)
        self.streams.put_nowait(stream)
        await stream.serve()

    async def serve_logs(
        self, request_iterator: AsyncIterator[worker_pb2.PushLogsRequest], context: Any
    ) -> worker_pb2.PushLogsResponse:
        lines = [line async for request in request_iterator for line in request.lines]
        if self.push_errors:
            await abort(context, self.push_errors.pop(0))
        self.lines.extend(lines)
        self.pushed.set()
        return worker_pb2.PushLogsResponse(stored=len(lines))


def _served_by(scheduler: ScriptedScheduler) -> worker_pb2_grpc.WorkerServiceServicer:
    """Make gRPC's face of it; the methods it lacks answer UNIMPLEMENTED."""

    class Served(worker_pb2_grpc.WorkerServiceServicer):
        async def Work(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
            await scheduler.serve_work(context)

        async def PushLogs(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
            return await scheduler.serve_logs(request_iterator, context)

    return Served()  # type: ignore[abstract]  # the base class answers for the rest


def unavailable() -> FoliotError:
    return FoliotError(ErrorReason.NO_LEADER, "no leader")
