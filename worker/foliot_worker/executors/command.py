"""Shell lines."""

from __future__ import annotations

from typing import cast

from foliot.v1.spec_pb2 import CommandWork
from foliot_worker.attempt import Attempt
from foliot_worker.executors.programs import Program, Programs
from foliot_worker.runner import Host


class CommandExecutor:
    """Runs shell lines with `/bin/sh -c`. `programs` belongs to it and is closed with it."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor.start`."""
        work = cast("CommandWork", attempt.plan.work)
        program = Program(line=work.line, environment=work.environment, working_directory=work.working_directory)
        self._programs.start(attempt, host, program)

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """See `Executor.stop`."""
        self._programs.stop(attempt, grace_s)

    async def close(self) -> None:
        """See `Executor.close`."""
        await self._programs.close()
