"""Where this replica stands: whether it leads. The one door to the leader's term for everybody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from foliot_scheduler.actors.leader import LeaderTerm, no_leader

if TYPE_CHECKING:
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import JobId, TaskId


class Leadership:
    """Holds the term while this replica leads. Only the elector sets it."""

    def __init__(self) -> None:
        self._term: LeaderTerm[Any] | None = None
        self._elected = asyncio.Event()
        self._handing_over = False

    @property
    def leading(self) -> bool:
        """Whether this replica leads, and goes on leading: not any more from when it begins to hand over."""
        return self._term is not None and not self._handing_over

    @property
    def epoch(self) -> int:
        """The epoch of this replica's term; 0 while it does not lead."""
        return 0 if self._term is None else self._term.term.epoch

    def begin(self, term: LeaderTerm[Any]) -> None:
        """Lead from now on."""
        self._term = term
        self._elected.set()

    def end(self) -> None:
        """Lead no more."""
        self._term = None
        self._elected.clear()

    async def wait_leading(self) -> None:
        """Wait until this replica leads."""
        await self._elected.wait()

    async def execute(self, command: Command) -> Reply:
        """Have a command applied and committed by this replica's term. Raises FoliotError NO_LEADER or OVERLOADED."""
        if self._term is None:
            raise no_leader()
        return await self._term.execute(command)

    def post(self, command: Command) -> None:
        """Give a command whose reply nobody waits for. Raises FoliotError NO_LEADER or OVERLOADED."""
        if self._term is None:
            raise no_leader()
        self._term.post(command)

    def observe(self) -> None:
        """Bring the leader's metrics up to date, if this replica leads."""
        if self._term is not None:
            self._term.observe()

    def knows_job(self, job_id: JobId) -> bool:
        """Whether the job is in the leader's memory."""
        return self._term is not None and self._term.knows_job(job_id)

    def knows_task(self, task_id: TaskId) -> bool:
        """Whether the task is live in the leader's memory."""
        return self._term is not None and self._term.knows_task(task_id)

    async def drain(self) -> None:
        """Bring the term, if any, to a safe end: no more commands, everything taken committed. The elector then gives it away."""
        self._handing_over = True
        if self._term is not None:
            await self._term.drain()
