"""Child processes of `foliot up`: a gateway and workers of their own, so that no component slows or breaks another."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from foliot.kit.backoff import Backoff
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foliot.kit.clock import Clock

DRAIN_S = 2.0
"""How long a child may take to drain at the end of `foliot up`; then its work is given up, to be done again after a new start."""

log = get_logger(__name__)


class ChildProcess(Part):
    """A `foliot` command in a process of its own, started again when it ends by itself."""

    def __init__(self, name: str, arguments: Sequence[str], *, environ: Mapping[str, str], clock: Clock, critical: bool) -> None:
        """Take the command line after `foliot`; a critical child's end while starting, with status 2, ends `foliot up` too."""
        super().__init__(name)
        self._arguments = tuple(arguments)
        self._environ = dict(environ)
        self._clock = clock
        self._critical = critical
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff(0.2, 5.0, 2.0)

    async def on_start(self) -> None:
        """Start the process, if that was not done ahead."""
        await self.spawn()

    async def spawn(self) -> None:
        """Start the process ahead of the part, so that it loads while others start."""
        if self._process is None:
            await self._spawn()

    async def run(self) -> None:
        """Start it again whenever it ends."""
        failures = 0
        while True:
            assert self._process is not None
            began = self._clock.monotonic()
            status = await self._process.wait()
            if self._critical and status == 2:  # noqa: PLR2004 - bad configuration, said on standard error: trying again is vain
                raise ChildFailedError(self.name, status)
            failures = failures + 1 if self._clock.monotonic() - began < self._backoff.max_s else 1
            log.warning("up.child_ended", child=self.name, status=status)
            await self._clock.sleep(self._backoff.delay(failures, self._clock))
            await self._spawn()

    async def stop_intake(self) -> None:
        """Ask the process to drain."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def drain(self) -> None:
        """Wait until the process has drained."""
        if self._process is not None:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._process.wait()
            except TimeoutError:
                log.warning("up.child_killed", child=self.name, after_s=DRAIN_S)

    async def on_stop(self) -> None:
        """End the process, by force if it has not drained."""
        await self.kill()

    async def kill(self) -> None:
        """End the process by force, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "foliot_gateway.cli.child",
            str(os.getpid()),
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )


class Launch(Part):
    """Starts children ahead of the parts before them, and ends those whose own turn never came."""

    def __init__(self, children: Sequence[ChildProcess]) -> None:
        super().__init__("launch")
        self._children = children

    async def on_start(self) -> None:
        """Start every child's process."""
        for child in self._children:
            await child.spawn()

    async def run(self) -> None:
        """Nothing more to do."""
        await run_forever()

    async def on_stop(self) -> None:
        """End what is left."""
        for child in self._children:
            await child.kill()


class ChildFailedError(Exception):
    """A child cannot run as it is configured."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} ended with status {status}")


def child_environ() -> dict[str, str]:
    """The environment for children: ours, without our own FOLIOT_ options, which they are given as flags."""
    kept = ("FOLIOT_LOG_FORMAT", "FOLIOT_SECRET_")
    return {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_") or name.startswith(kept)}
