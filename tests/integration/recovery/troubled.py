"""A whole replica in the process of the test, on a database that is to have trouble, and somebody who calls it."""

from __future__ import annotations

import gc
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError, from_rpc_error
from foliot.kit.settings import HostPort
from foliot.v1 import task_pb2, task_pb2_grpc
from foliot_scheduler.app import SchedulerApp
from foliot_scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLL_S = 0.02

WITHIN_S = 45.0
"""How long anything may take: far more than it needs on a busy machine."""

REFUSALS = {ErrorReason.NO_LEADER, ErrorReason.DATABASE_UNAVAILABLE, ErrorReason.OVERLOADED}


class Caller:
    """Submits tasks by their names and remembers which were acknowledged."""

    def __init__(self, app: SchedulerApp, client: Client, channel: grpc.aio.Channel) -> None:
        self._app = app
        self._client = client
        self._once = task_pb2_grpc.TaskServiceStub(channel)
        self.acknowledged: dict[str, str] = {}
        """Ids by names."""

    @property
    def epoch(self) -> int:
        """Of the replica's term; 0 while it does not lead."""
        return self._app.leadership.epoch

    async def wait_leading(self) -> None:
        """Wait until the replica leads."""
        await self._app.leadership.wait_leading()

    async def submit(self, name: str) -> None:
        """Submit a task as clients do: again and again, under one idempotency key, until it is acknowledged."""
        answer = await self._client.tasks.SubmitTask(_wish(name), timeout=WITHIN_S)
        self.acknowledged[name] = answer.task.id

    async def submit_once(self, name: str, *, key: str = "") -> None:
        """Submit a task and do not try again. Raises FoliotError."""
        try:
            answer = await self._once.SubmitTask(_wish(name, key), timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        self.acknowledged[name] = answer.task.id

    async def read_once(self, task_id: str) -> None:
        """Read a task and do not try again. Raises FoliotError."""
        try:
            await self._once.GetTask(task_pb2.GetTaskRequest(task_id=task_id), timeout=WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def wait_refused(self, prefix: str) -> FoliotError:
        """Submit tasks, each once, until one is refused; return the refusal, which says when to come back."""
        numbers = itertools.count()
        while (refusal := await self._refusal_of(f"{prefix}-{next(numbers)}")) is None:
            await SystemClock().sleep(POLL_S)
        assert refusal.reason in REFUSALS, refusal
        assert refusal.retry_after_s, refusal
        return refusal

    async def _refusal_of(self, name: str) -> FoliotError | None:
        try:
            await self.submit_once(name)
        except FoliotError as error:
            return error
        return None


def _wish(name: str, key: str = "") -> task_pb2.SubmitTaskRequest:
    wish = task_pb2.SubmitTaskRequest(idempotency_key=key)
    wish.task.spec.name = name
    wish.task.spec.command.line = "true"
    return wish


@asynccontextmanager
async def replica(database_url: str) -> AsyncIterator[Caller]:
    """Run a replica that leads."""
    thresholds = gc.get_threshold()
    settings = SchedulerSettings(database_url=database_url, grpc=HostPort("127.0.0.1", 0))
    try:
        async with SchedulerApp(settings, database_url=lambda: database_url) as app:
            await app.leadership.wait_leading()
            address = str(app.address)
            async with Client([address]) as client, grpc.aio.insecure_channel(address) as channel:
                yield Caller(app, client, channel)
    finally:
        gc.set_threshold(*thresholds)
