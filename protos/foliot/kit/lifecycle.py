"""The one way in which long-lived parts start, run and stop.

A part owns one named task that runs for ever: its end, by return or by exception, is a failure that the owner is told
of (`wait_ended`) and that ends the daemon. A part lives once; what must live again (the leader's parts, each term) is
made anew. Parts that own other parts start and stop them in their own `on_start` and `on_stop`, or hold them with
`async with` inside `run`.

The phases of an orderly end, in order; only the first two are optional, and the supervisor gives each a deadline:

    stop_intake   refuse new work (close a port, a mailbox, ask for no more leases)
    drain         bring accepted work to a safe end (commit, acknowledge, let attempts finish)
    stop          cancel the task, then `on_stop`: close connections and files
"""

from __future__ import annotations

import abc
import asyncio
import enum
from types import TracebackType
from typing import Self


class PartFailedError(Exception):
    """A part ended that should have run for ever; the cause is what it raised, or nothing if it returned."""

    def __init__(self, name: str) -> None:
        super().__init__(f"part {name} ended by itself")
        self.name = name


class PartStoppedError(Exception):
    """What was waited for cannot happen any more: the part was stopped first."""


class _Phase(enum.Enum):
    NEW = enum.auto()
    STARTING = enum.auto()
    STARTED = enum.auto()
    STOPPED = enum.auto()


class Part(abc.ABC):
    """A long-lived part of a process; `name` is for logs and task lists and stands for the class's name if empty.

    `async with part:` starts and stops it, and raises `PartFailedError` at the end if it had failed meanwhile.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name or type(self).__name__
        self._phase = _Phase.NEW
        self._task: asyncio.Task[None] | None = None
        self._failure: PartFailedError | None = None
        self._stop_asked = False
        # Set when `start` has come to its end, well or not, or never will.
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopped = asyncio.Event()

    # ---- for subclasses

    @abc.abstractmethod
    async def run(self) -> None:
        """Do the part's work for ever. It is cancelled by `stop`."""

    async def on_start(self) -> None:  # noqa: B027 -- optional
        """Open what `run` needs. The part counts as started when this returns; if it raises, clean up first."""

    async def on_stop(self) -> None:  # noqa: B027 -- optional
        """Close what `on_start` opened. Called once, after `run` has ended, if `on_start` had succeeded."""

    async def stop_intake(self) -> None:  # noqa: B027 -- optional
        """Refuse new work from now on. Called on a started part at most once by a supervisor."""

    async def drain(self) -> None:  # noqa: B027 -- optional
        """Wait until accepted work is safe. `run` still goes on. Cancelled when its deadline passes."""

    # ---- for owners

    @property
    def running(self) -> bool:
        """Whether it has started and neither ended nor been asked to stop."""
        return self._phase is _Phase.STARTED and not self._stop_asked and not self._ended.is_set()

    @property
    def failure(self) -> PartFailedError | None:
        """Why it ended by itself, if it did."""
        return self._failure

    async def start(self) -> None:
        """Start the part. Raises what `on_start` raises, and RuntimeError if it was started or stopped before."""
        if self._phase is not _Phase.NEW:
            raise RuntimeError(f"part {self.name} was started or stopped before: a part lives once")
        self._phase = _Phase.STARTING
        try:
            await self.on_start()
        except BaseException:
            self._phase = _Phase.STOPPED
            self._stopped.set()
            self._ended.set()
            raise
        else:
            self._phase = _Phase.STARTED
            self._task = asyncio.create_task(self._run_guarded(), name=self.name)
        finally:
            self._settled.set()

    async def stop(self) -> None:
        """Cancel the part's task, wait for its end and close what it holds; what `on_stop` raises comes out.

        Legal at any time: before start (the part can then not be started any more) and again, when it waits for the
        first call to finish. The part itself must not call it.
        """
        if self._phase is _Phase.NEW:
            self._phase = _Phase.STOPPED
            self._settled.set()
            self._ended.set()
            self._stopped.set()
            return
        if self._task is not None and self._task is asyncio.current_task():
            raise RuntimeError(f"part {self.name} cannot stop itself: it returns or raises instead")
        if self._stop_asked:
            await self._stopped.wait()
            return
        self._stop_asked = True
        await self._settled.wait()
        if self._task is None:  # on_start failed and has cleaned up
            return
        try:
            self._task.cancel()
            await asyncio.wait([self._task])
        finally:
            try:
                await self.on_stop()
            finally:
                self._phase = _Phase.STOPPED
                self._ended.set()
                self._stopped.set()

    async def wait_started(self) -> None:
        """Wait until the part has started. Raises `PartStoppedError` if it was stopped, or failed to start, instead."""
        await self._settled.wait()
        if self._task is None:
            raise PartStoppedError(self.name)

    async def wait_ended(self) -> None:
        """Wait until the part has ended. Raises `PartFailedError` if it ended by itself, returns if it was stopped."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()
        # A failure must not go unseen; but it must not hide what the body raised either.
        if error is None and self._failure is not None:
            raise self._failure

    async def _run_guarded(self) -> None:
        try:
            await self.run()
        except asyncio.CancelledError:
            # Cancelled by someone else than `stop`: as much a failure as any other end.
            if not self._stop_asked:
                self._failure = PartFailedError(self.name)
            raise
        except Exception as error:  # noqa: BLE001 -- kept and raised again by wait_ended
            # An error while stopping is a failure too: it may have kept the part from cleaning up.
            self._failure = PartFailedError(self.name)
            self._failure.__cause__ = error
        else:
            if not self._stop_asked:
                self._failure = PartFailedError(self.name)
        finally:
            self._ended.set()


async def run_forever() -> None:
    """Wait until cancelled: the `run` of a part whose work is done by what it opened in `on_start`."""
    await asyncio.get_running_loop().create_future()
