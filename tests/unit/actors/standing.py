"""A replica's standing that a test decides: whether it leads, in which epoch, and what the leader takes."""

from __future__ import annotations

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.core.commands import Command
from foliot_scheduler.core.types import JobId


class StandIn(Leadership):
    """Leads when told to, and keeps what is posted."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self.posted: list[Command] = []
        self.known: set[JobId] = set()
        self.overloaded = False

    @property
    def epoch(self) -> int:
        return self._epoch

    def elect(self, epoch: int) -> None:
        """Begin a term."""
        self._epoch = epoch
        self._elected.set()

    def depose(self) -> None:
        """End it."""
        self._epoch = 0
        self._elected.clear()

    def knows_job(self, job_id: JobId) -> bool:
        return job_id in self.known

    def post(self, command: Command) -> None:
        if not self._epoch:
            raise no_leader()
        if self.overloaded:
            raise FoliotError(ErrorReason.OVERLOADED, "too much")
        self.posted.append(command)
