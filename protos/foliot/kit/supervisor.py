"""The owner of a process's root parts: starts them in order, ends the process when one ends, stops them in reverse.

A root part is eternal: when one ends by itself the process has no business going on half alive, and the supervisor ends
it for the service manager to start again. It restarts nothing itself: recovery is the start-up path.

An orderly end has four phases with a deadline each (see `StopDeadlines`): stop intake, drain, cancel, hard exit. After
a failure the first two are left out, since draining may need the very part that failed.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

from foliot.kit.clock import Clock, SystemClock
from foliot.kit.lifecycle import Part, PartFailedError
from foliot.kit.logs import get_logger

_log = get_logger(__name__)

EXIT_OK: Final = 0
"""Stopped because it was asked to, with everything closed."""

EXIT_FAILED: Final = 1
"""A part failed, or the end was not an orderly one."""


@dataclass(frozen=True, slots=True)
class StopDeadlines:
    """How long each phase of the end may take; together 30 s, after which the process ends whatever it was doing."""

    stop_intake: timedelta = timedelta(seconds=2)
    """For refusing new work: closing ports and telling peers takes a round trip."""

    drain: timedelta = timedelta(seconds=20)
    """For bringing accepted work to a safe end; what runs longer is given up and retried elsewhere."""

    cancel: timedelta = timedelta(seconds=8)
    """For cancelling tasks and closing connections, the embedded database included. Past it comes the hard exit."""

    @property
    def total(self) -> timedelta:
        """All phases together."""
        return self.stop_intake + self.drain + self.cancel


def exit_hard() -> NoReturn:
    """End the process at once with status 1, without closing anything: the last phase."""
    sys.stderr.flush()
    os._exit(EXIT_FAILED)


class Supervisor:
    """Runs root parts until one fails or a stop is asked for. `hard_exit` must not return; tests put in their own."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        deadlines: StopDeadlines | None = None,
        hard_exit: Callable[[], NoReturn] = exit_hard,
    ) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._deadlines = StopDeadlines() if deadlines is None else deadlines
        self._hard_exit = hard_exit
        self._stop_asked = asyncio.Event()

    def request_stop(self) -> None:
        """Ask for an orderly end; asking again changes nothing. Legal before `run`."""
        self._stop_asked.set()

    async def run(self, parts: Sequence[Part], *, on_ready: Callable[[], None] | None = None) -> None:
        """Start the parts in order, call `on_ready`, wait, stop the parts in reverse order.

        Returns after a stop that was asked for. Raises, once everything is stopped: what a part's start raised, what
        `on_ready` raised, or `PartFailedError` when a part ended by itself.
        """
        started: list[Part] = []
        try:
            await self._start(parts, started)
            if on_ready is not None and not self._stop_asked.is_set():
                on_ready()
            await self._wait_for_end(started)
        except BaseException:
            await self._stop(started, orderly=False)
            raise
        await self._stop(started, orderly=True)

    async def _start(self, parts: Sequence[Part], started: list[Part]) -> None:
        """Start what can be started before a stop is asked for; a start that hangs is cancelled by the request."""
        stop_asked = asyncio.create_task(self._stop_asked.wait(), name="supervisor.stop_asked")
        try:
            for part in parts:
                if self._stop_asked.is_set():
                    return
                start = asyncio.create_task(part.start(), name=f"supervisor.start.{part.name}")
                try:
                    await asyncio.wait({start, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not start.done():
                        start.cancel()
                        await asyncio.wait({start})
                if not start.cancelled():
                    await start
                    started.append(part)
        finally:
            stop_asked.cancel()

    async def _wait_for_end(self, parts: Sequence[Part]) -> None:
        """Return when a stop is asked for, raise `PartFailedError` when a part has failed."""
        stop_asked = asyncio.create_task(self._stop_asked.wait(), name="supervisor.stop_asked")
        ends = [asyncio.create_task(part.wait_ended(), name=f"supervisor.watch.{part.name}") for part in parts]
        try:
            await asyncio.wait({stop_asked, *ends}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stop_asked, *ends):
                task.cancel()
            await asyncio.gather(stop_asked, *ends, return_exceptions=True)
        for part in parts:
            if part.failure is not None:
                _log.error("supervisor.part_failed", part=part.name, exc_info=part.failure)
                raise part.failure

    async def _stop(self, parts: Sequence[Part], *, orderly: bool) -> None:
        """Go through the phases with the parts that have started, the last one first."""
        in_reverse = parts[::-1]
        if orderly:
            await self._phase("stop_intake", _each(in_reverse, "stop_intake"), self._deadlines.stop_intake)
            await self._phase("drain", _each(in_reverse, "drain"), self._deadlines.drain)
        if not await self._phase("cancel", _each(in_reverse, "stop"), self._deadlines.cancel, cancel_late=False):
            self._hard_exit()

    async def _phase(self, name: str, work: Coroutine[None, None, None], limit: timedelta, *, cancel_late: bool = True) -> bool:
        """Answer whether the work of a phase was done within its limit; if not, it is cancelled, or left as it is."""
        task = asyncio.create_task(work, name=f"supervisor.{name}")
        alarm = asyncio.create_task(self._clock.sleep(limit.total_seconds()), name="supervisor.alarm")
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        if task.done():
            await task
            return True
        _log.warning("supervisor.deadline_passed", phase=name, limit_s=limit.total_seconds())
        if cancel_late:
            task.cancel()
            await asyncio.wait({task})
        return False


async def _each(parts: Sequence[Part], phase: str) -> None:
    """Take parts through a phase one after another; one that raises must not keep the others from their turn."""
    for part in parts:
        step: Callable[[], Coroutine[None, None, None]] = getattr(part, phase)
        try:
            await step()
        except Exception:  # noqa: BLE001 -- logged here, where it is handled
            _log.exception("supervisor.stop_step_failed", part=part.name, phase=phase)


async def run_until_signalled(
    parts: Sequence[Part],
    *,
    on_ready: Callable[[], None],
    deadlines: StopDeadlines | None = None,
    keep_watchdog: bool = False,
) -> int:
    """Run the parts of a daemon until SIGTERM or SIGINT, or until one fails; answer the process's exit status.

    The first signal stops the parts in order (status 0). A second one, or 30 s, ends the process at once with
    status 1, even when the event loop hangs. A part that ends by itself gives status 1 and is in the log. What a
    part's start raises comes out, for the command to explain. Call it from the main thread.

    `keep_watchdog` lets the 30 s run on after the parts have stopped: for a command that ends next, and whose end may
    hang on a thread that does not (the event loop waits for those of its executor).
    """
    deadlines = StopDeadlines() if deadlines is None else deadlines
    supervisor = Supervisor(deadlines=deadlines)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def on_first(received: signal.Signals) -> None:
        _log.info("supervisor.stop_asked", signal=received.name)
        # The loop's handlers need a loop that turns. These two do not: a plain handler runs between any two bytecodes,
        # and the watchdog is a thread of its own that also writes where the process was stuck.
        for one in signals:
            loop.remove_signal_handler(one)
            signal.signal(one, lambda *_: exit_hard())
        faulthandler.dump_traceback_later(deadlines.total.total_seconds(), exit=True, file=sys.__stderr__ or 2)
        supervisor.request_stop()

    before = {one: signal.getsignal(one) for one in signals}
    for one in signals:
        loop.add_signal_handler(one, on_first, one)
    try:
        await supervisor.run(parts, on_ready=on_ready)
    except PartFailedError:
        return EXIT_FAILED
    else:
        return EXIT_OK
    finally:
        if not keep_watchdog:
            faulthandler.cancel_dump_traceback_later()
        for one in signals:
            loop.remove_signal_handler(one)
            signal.signal(one, before[one] or signal.SIG_DFL)
