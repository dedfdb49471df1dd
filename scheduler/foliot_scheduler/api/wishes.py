"""Commands to the leader: how a wish is put, repeated and answered.

A command about something that is not in the leader's memory brings its row along. Between the look at that memory
and the engine's turn the thing may end or come back, so a wish that misses is put again with what PostgreSQL then
says; the engine itself always prefers its memory to a row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable
from typing import TYPE_CHECKING, Final, TypeVar

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import parse_uuid
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api.errors import refused
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.transitions import ENDED_TASK_STATES
from foliot_scheduler.core.types import TaskId

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.api.ports import LeaderPort
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.model import Job, Task
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.core.types import JobId

RecordT = TypeVar("RecordT")

SETTLE_PAUSES_S: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""How long to wait, time after time, for a commit under way that changes where a row is; a commit takes milliseconds."""


class Wishes:
    """Puts wishes to the leader."""

    def __init__(self, leader: LeaderPort, clock: Clock) -> None:
        self._leader = leader
        self._clock = clock

    async def grant(self, command: Command) -> Reply:
        """Have a wish granted. Raises FoliotError for a refusal."""
        reply = await self._leader.execute(command)
        if isinstance(reply, Refusal):
            raise refused(reply)
        return reply

    async def about_task(
        self,
        task_id: TaskId,
        read: Callable[[], Awaitable[Task | None]],
        command: Callable[[Task | None], Command],
    ) -> Reply:
        """Have a wish about a task granted. Raises FoliotError, NOT_FOUND among them.

        `read` gives the task as PostgreSQL has it. The leader knows every live task, so where it does not know one
        whose row is live, a commit that ends the task is under way, and the row is read again.
        """
        for pause_s in SETTLE_PAUSES_S:
            record = None
            if not self._leader.knows_task(task_id):
                record = await self._in_one_term(read)
                if record is None and not self._leader.knows_task(task_id):
                    raise not_found("task")
            if record is None or not record.is_live:
                reply = await self._leader.execute(command(record))
                if not isinstance(reply, Refusal):
                    return reply
                left_memory = reply.reason == "not_found" and record is None
                outdated = reply.reason == "version_conflict"
                if not left_memory and not outdated:
                    raise refused(reply)
                if left_memory and await read() is None:
                    raise not_found("task")  # it is live, in another project
            await self._clock.sleep(pause_s)
        raise no_leader()

    async def after_tasks(
        self,
        dependencies: Collection[TaskId],
        read: Callable[[Collection[TaskId]], Awaitable[dict[TaskId, TaskState]]],
        grant: Callable[[dict[TaskId, TaskState]], Awaitable[Reply]],
    ) -> Reply:
        """Have a wish granted that names tasks to wait for. Raises FoliotError, UNKNOWN_DEPENDENCY among them.

        `read` gives the states that PostgreSQL has of the project's tasks among those asked for; `grant` is told how those ended
        that are not live. As in `about_task`, one that only PostgreSQL takes for live is just ending, and is read again.
        """
        for pause_s in SETTLE_PAUSES_S:
            unknown = [task_id for task_id in dependencies if not self._leader.knows_task(task_id)]
            states = await read(unknown) if unknown else {}
            ended = {task_id: state for task_id, state in states.items() if state in ENDED_TASK_STATES}
            if all(task_id in ended or self._leader.knows_task(task_id) for task_id in states):
                try:
                    return await grant(ended)
                except FoliotError as error:
                    if error.reason is not ErrorReason.UNKNOWN_DEPENDENCY or not await read([_id_in(error)]):
                        raise
            await self._clock.sleep(pause_s)
        raise no_leader()

    async def about_job(
        self,
        job_id: JobId,
        read: Callable[[], Awaitable[Job | None]],
        command: Callable[[Job | None], Command],
    ) -> Reply:
        """Have a wish about a job granted; `read` gives the job as PostgreSQL has it. Raises as `about_task` does."""
        record = None
        if not self._leader.knows_job(job_id):
            record = await self._in_one_term(read)
            if record is None and not self._leader.knows_job(job_id):
                raise not_found("job")
        return await self.grant(command(record))

    async def _in_one_term(self, read: Callable[[], Awaitable[RecordT | None]]) -> RecordT | None:
        """Read a row for the leader of now: what was read in an earlier term of this replica may have changed since."""
        epoch = self._leader.epoch
        record = await read()
        if self._leader.epoch != epoch:
            raise no_leader()
        return record


def not_found(what: str) -> FoliotError:
    """The error for an id that nothing of the project has."""
    return FoliotError(ErrorReason.NOT_FOUND, f"no such {what}")


def _id_in(error: FoliotError) -> TaskId:
    return TaskId(parse_uuid(error.metadata["ids"]))


class KeyedLocks:
    """One lock for each key in use: who reads a thing, merges a change and writes it back does so one after the other."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the key's lock."""
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = (lock, users)
            else:
                del self._locks[key]
