"""Downloaded executables."""

from __future__ import annotations

import asyncio
from typing import cast

from foliot.kit.clock import Clock
from foliot.v1.spec_pb2 import BinaryWork
from foliot.v1.worker_pb2 import Result
from foliot_worker.attempt import CANCELLED, FAILED, NON_RETRYABLE, Attempt
from foliot_worker.executors.downloads import DownloadError, Downloads
from foliot_worker.executors.programs import Program, Programs
from foliot_worker.runner import Host


class BinaryExecutor:
    """Fetches executables and runs them. `downloads` belongs to it and is closed with it; `programs` does not."""

    def __init__(self, downloads: Downloads, programs: Programs, *, clock: Clock) -> None:
        self._downloads = downloads
        self._programs = programs
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._fetching: dict[int, asyncio.Task[Result | None]] = {}

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor.start`. The timeout counts from here: the download is part of the attempt."""
        attempt.started_at_us = self._clock.now_us()
        host.watch(attempt)
        task = self._loop.create_task(self._run(attempt, host), name="worker.binary")
        self._fetching[attempt.token] = task
        task.add_done_callback(lambda ended: self._ended(attempt, host, ended))

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """See `Executor.stop`."""
        task = self._fetching.get(attempt.token)
        if task is not None:
            task.cancel()
        self._programs.stop(attempt, grace_s)

    async def close(self) -> None:
        """See `Executor.close`."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._downloads.close()

    async def _run(self, attempt: Attempt, host: Host) -> Result | None:
        """Start the program, or answer why it cannot be."""
        work = cast("BinaryWork", attempt.plan.work)
        digest = work.sha256.lower()
        try:
            with self._downloads.kept(digest):
                path = await self._downloads.fetch(work.url, digest)
                program = Program(arguments=(path, *work.arguments), environment=work.environment)
                # Synchronous, and the task's last step: no cancellation comes between.
                self._programs.start(attempt, host, program)
        except DownloadError as error:
            return attempt.result(FAILED if error.retryable else NON_RETRYABLE, self._clock.now_us(), error=str(error))
        return None

    def _ended(self, attempt: Attempt, host: Host, task: asyncio.Task[Result | None]) -> None:
        del self._fetching[attempt.token]
        # A task that is cancelled before its first step never runs any of its code: so it is judged from outside.
        if task.cancelled():
            host.report([attempt.result(CANCELLED, self._clock.now_us(), error="it was stopped")])
        else:
            failed = task.result()
            if failed is not None:
                host.report([failed])
