"""Child processes of `foliot up`: a gateway and workers of their own, so that no component slows or breaks another."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from foliot.kit.backoff import Backoff
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foliot.kit.clock import Clock

_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans below this process become its children."""

DRAIN_S = 2.0
"""How long a child may take to drain at the end of `foliot up`; then its work is given up, to be done again after a new start."""

log = get_logger(__name__)


class ChildProcess(Part):
    """A `foliot` command in a process of its own, started again when it ends by itself."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        clock: Clock,
        critical: bool,
        api_key: str | None = None,
    ) -> None:
        """Take the command line after `foliot`; a critical child's end while starting, with status 2, ends `foliot up` too.

        `api_key` is told through a pipe: the environment that a process began with can be read by what it runs.
        """
        super().__init__(name)
        self._arguments = tuple(arguments)
        self._environ = dict(environ)
        self._clock = clock
        self._critical = critical
        self._api_key = api_key or ""
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff(0.2, 5.0, 2.0)
        self._stopping = False

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
            if self._stopping:
                await run_forever()  # its end was asked for
            if self._critical and status == 2:  # noqa: PLR2004 - bad configuration, said on standard error: trying again is vain
                raise ChildFailedError(self.name, status)
            failures = failures + 1 if self._clock.monotonic() - began < self._backoff.max_s else 1
            log.warning("up.child_ended", child=self.name, status=status)
            await self._clock.sleep(self._backoff.delay(failures, self._clock))
            if not self._stopping:
                await self._spawn()

    async def stop_intake(self) -> None:
        """Ask the process to drain, and do not start it again."""
        self._stopping = True
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
        self._stopping = True
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
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._api_key.encode("ascii"))
        self._process.stdin.close()


class Launch(Part):
    """Starts children ahead of the parts before them, and ends those whose own turn never came."""

    def __init__(self, children: Sequence[ChildProcess]) -> None:
        super().__init__("launch")
        self._children = children

    async def on_start(self) -> None:
        """Start every child's process."""
        adopt_orphans()
        for child in self._children:
            await child.spawn()

    async def run(self) -> None:
        """Nothing more to do."""
        await run_forever()

    async def on_stop(self) -> None:
        """End what is left: children, and commands that a worker which had to be killed left behind."""
        for child in self._children:
            await child.kill()
        end_orphans()


def adopt_orphans() -> None:
    """Become the parent of what children leave behind: the commands of a worker are in sessions of their own, and outlive it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill every session whose leader has become our child: what was adopted, and nothing that we started ourselves here."""
    for pid in _children_of(os.getpid()):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == pid and not _is_postgres(pid):
                os.killpg(pid, signal.SIGKILL)


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name may hold anything but ends with the last parenthesis; the parent's id is the second field after it.
            if int(entry.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
    return found


def _is_postgres(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("postgres")
    return False


class ChildFailedError(Exception):
    """A child cannot run as it is configured."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} ended with status {status}")


def child_environ() -> dict[str, str]:
    """The environment for children: ours, without our own FOLIOT_ options, which they are given as flags."""
    kept = ("FOLIOT_LOG_FORMAT", "FOLIOT_SECRET_")
    return {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_") or name.startswith(kept)}
