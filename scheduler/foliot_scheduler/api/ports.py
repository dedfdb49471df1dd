"""What the services need of the parts that the composition root gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import grpc.aio

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import JobId, TaskId

ServicerContext = grpc.aio.ServicerContext[Any, Any]
"""What gRPC gives a handler, of any messages."""


class LeaderPort(Protocol):
    """The leader's door, on every replica; it is open while the replica leads."""

    @property
    def leading(self) -> bool:
        """Whether this replica leads."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch of its term; 0 while it does not lead."""
        ...

    async def execute(self, command: Command) -> Reply:
        """Have a command carried out; the reply comes only after its commit. Raises FoliotError NO_LEADER or OVERLOADED."""
        ...

    def knows_job(self, job_id: JobId) -> bool:
        """Whether the job is in memory; otherwise its row goes along with commands about it."""
        ...

    def knows_task(self, task_id: TaskId) -> bool:
        """Whether the task is live; otherwise its row goes along with commands about it."""
        ...


class LeaderAddress(NamedTuple):
    """Where the replica that leads is reached."""

    replica: str
    address: str
    """Its host and port."""
    epoch: int


FindLeader = Callable[[], Awaitable[LeaderAddress | None]]
"""Reads who leads from PostgreSQL; None while nobody does. Raises StoreError."""


class ChangeHints(Protocol):
    """Tells watchers that something may have changed. A hint saves waiting; without any, they still find out by reading."""

    async def wait(self, ids: Collection[bytes], timeout_s: float) -> None:
        """Return when one of the tasks or runs may have changed, or after `timeout_s` at the latest."""
        ...


class NoHints:
    """No hints: waits for the whole time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def wait(self, ids: Collection[bytes], timeout_s: float) -> None:
        """See `ChangeHints.wait`."""
        await self._clock.sleep(timeout_s)


ServeWork = Callable[[ServicerContext, "Call"], Coroutine[None, None, None]]
"""Serves one Work stream to its end, for the caller, with `context.read()` (WorkRequest) and `context.write()` (WorkResponse).

Raises FoliotError. A message that is no valid protobuf is read as an empty WorkRequest.
"""
