"""The private stack of the demonstration: `foliot up` in a process of its own, and the proof that nothing of it is left.

The demonstration makes itself the reaper of orphans (prctl(2), PR_SET_CHILD_SUBREAPER): whatever `foliot up` started and did
not end becomes a child of this process, so that looking at one's children is enough to know that all is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from foliot.kit.settings import HostPort
from foliot_gateway.cli.children import child_environ

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from foliot.kit.clock import Clock

READY_WITHIN_S: Final = 60.0
"""From starting `foliot up` to its ready line; on a slow disk the database alone is created in 10 s."""

STOP_WITHIN_S: Final = 15.0
"""From SIGTERM to the end; `foliot up` itself gives its children 2 s and the database 8 s."""

GONE_WITHIN_S: Final = 3.0
"""How long what died with its parent may take to be gone."""

_GONE_POLL_S: Final = 0.02
_LOG_TAIL_LINES: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


class StackError(Exception):
    """The private stack did not start, ended by itself, or did not end when it was asked to."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stack listens."""

    http: HostPort
    chadburn_http: HostPort
    grpc: HostPort

    @classmethod
    def free(cls) -> Addresses:
        """Find three ports of 127.0.0.1 that nobody listens on.

        Another process may take one before the stack does; the start then fails and names it.
        """
        return cls(*(HostPort("127.0.0.1", port) for port in free_ports(3)))


def free_ports(count: int) -> list[int]:
    """Return as many different ports of 127.0.0.1 that were free a moment ago."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class PrivateStack:
    """A stack of one's own as an async context manager: ready when entered, gone when left.

    `folder` holds its data and the log of what it wrote; `app` is the worker program. Entering raises StackError when it is not
    ready in time; leaving raises it when something had to be killed.
    """

    def __init__(self, folder: Path, app: str, *, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        self.addresses = Addresses.free()
        self._folder = folder
        self._app = app
        self._clock = clock
        self._environ = {**child_environ(), **(environ or {})}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log_path(self) -> Path:
        """The file that holds what the stack wrote to standard error."""
        return self._folder / "up.log"

    async def __aenter__(self) -> Self:
        """Start it and wait for its ready line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _adopt_orphans(adopt=True)
        try:
            await self._start()
        except BaseException:
            with suppress(StackError):
                await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it and look that nothing is left; an error of the stop never hides the one that led here."""
        try:
            await self._stop()
        except StackError:
            if error is None:
                raise

    async def wait_ended(self) -> None:
        """Wait for the end that should not come by itself; raises StackError when it does."""
        assert self._process is not None
        status = await self._process.wait()
        raise StackError(f"foliot up ended by itself with status {status}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Quote the stack's last words."""
        try:
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:]) or "  (it wrote nothing)"

    async def _start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "foliot_gateway.cli.child",  # it ends when we do, however we do
                str(os.getpid()),
                *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environ,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise StackError(f"foliot up was not ready within {READY_WITHIN_S:g} s:\n{self.log_tail()}") from None
        if b" is ready" not in line:
            status = await self._process.wait()
            raise StackError(f"foliot up did not start, it ended with status {status}:\n{self.log_tail()}")

    def _arguments(self) -> Sequence[str]:
        return (
            "up",
            *("--data-dir", str(self._folder / "data")),
            *("--http", str(self.addresses.http)),
            *("--chadburn-http", str(self.addresses.chadburn_http)),
            *("--grpc", str(self.addresses.grpc)),
            *("--workers", "1"),
            *("--app", self._app),
        )

    async def _stop(self) -> None:
        """Ask it to end, end it by force if it does not, and kill what it left behind; the last two raise StackError."""
        wrong: list[str] = []
        try:
            if self._process is not None and self._process.returncode is None:
                self._process.terminate()
                try:
                    async with asyncio.timeout(STOP_WITHIN_S):
                        await self._process.wait()
                except TimeoutError:
                    wrong.append(f"foliot up did not end within {STOP_WITHIN_S:g} s of SIGTERM")
                    self._process.kill()
                    await self._process.wait()
            wrong += await self._end_orphans()
        finally:
            _adopt_orphans(adopt=False)
        if wrong:
            raise StackError("; ".join(wrong) + f":\n{self.log_tail()}")

    async def _end_orphans(self) -> list[str]:
        """Wait until no process of the stack is left; kill those that stay and answer what they are."""
        patience = self._clock.monotonic() + GONE_WITHIN_S
        while left := _children():
            if self._clock.monotonic() > patience:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return [f"still running after the end: {name} (process {pid})" for pid, name in left.items()]
            await self._clock.sleep(_GONE_POLL_S)
        return []


def _children() -> dict[int, str]:
    """Answer the running children of this process with their names; ended ones that nobody waits for are reaped."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # "pid (name) state ppid …": the name may hold anything, so what follows it is found from the right.
            head, _, tail = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue  # it ended in this moment
        state, parent = tail.split()[:2]
        if int(parent) != os.getpid():
            continue
        pid = int(entry.name)
        if state == "Z":
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        else:
            found[pid] = head.partition("(")[2]
    return found


def _adopt_orphans(*, adopt: bool) -> None:
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)
