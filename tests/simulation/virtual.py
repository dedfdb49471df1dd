"""One event loop on which many processes live in virtual time: none waits, and each can be stopped, thawed or killed.

The loop never sleeps: when nothing is ready, its clock jumps to the next timer. Every callback belongs to the process in whose
context it was made. Those of a stopped process are put aside and run when it is thawed, late, as after a SIGSTOP; those of a
killed one do not run any more: no `finally`, no farewell (until the story is over, and all that is left of it unwinds).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from foliot.kit.clock import UuidSequence
from tests.unit.core.dice import Dice

START_US = 1_795_176_000_000_000
"""2026-11-20 12:00:00 UTC."""

TURN_S = 1e-6
"""What a turn of the loop takes at least: code that looks at the time again and again sees it pass, as everywhere."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Process:
    """What can be stopped and killed as one."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.stopped = False
        self.on_death: list[Callable[[], None]] = []
        """What others notice when it dies: its connections break."""
        self._put_aside: list[_Delivery] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[Any]:
        """Start a task that belongs to it."""
        context = contextvars.copy_context()
        context.run(_PROCESS.set, self)
        task = self.loop.create_task(work, name=f"{self.name}.{name}", context=context)
        self._tasks.append(task)
        return task

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function run as soon as the process runs."""
        context = contextvars.copy_context()
        context.run(_PROCESS.set, self)
        self.loop.call_soon(function, *arguments, context=context)

    def stop(self) -> None:
        """Freeze it."""
        self.stopped = True

    def thaw(self) -> None:
        """Let it go on, with everything that became due meanwhile."""
        self.stopped = False
        put_aside, self._put_aside = self._put_aside, []
        for delivery in put_aside:
            self.loop.deliver_late(delivery)

    def kill(self) -> None:
        """End it at once."""
        self.alive = False
        for notice in self.on_death:
            notice()
        self.on_death = []

    def haunt(self) -> None:
        """Let what is left of it run, so that it can unwind; for the end of a story only."""
        self.alive, self._tasks = True, []
        self.thaw()

    def admit(self, delivery: _Delivery) -> bool:
        """Say whether a callback may run now; one of a stopped process is put aside, and so is one of a dead one."""
        runs = self.alive and not self.stopped
        if not runs:
            self._put_aside.append(delivery)
        return runs

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Leave the end of a task to whoever waits for it."""
        self._tasks.remove(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def failure(self) -> BaseException | None:
        """What a task of it ended with that it should not have."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None


class _Delivery:
    """A callback on its way, which can be cancelled until it runs."""

    __slots__ = ("_arguments", "_callback", "context", "handle")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...], context: contextvars.Context | None) -> None:
        self._callback = callback
        self._arguments = arguments
        self.context = contextvars.copy_context() if context is None else context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.handle is not None and self.handle.cancelled():
            return
        process = _PROCESS.get()
        if process is None or process.admit(self):
            self._callback(*self._arguments)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self.seconds = 0.0
        self.errors: list[dict[str, Any]] = []
        """What no callback should have raised."""
        self.set_exception_handler(lambda _, error: self.errors.append(error))

    def time(self) -> float:
        """Seconds since the story began."""
        return self.seconds

    def select(self, timeout: float | None) -> list[object]:
        """Stand in for a selector: let the time pass at once."""
        assert timeout is not None, "everybody waits, and nothing will happen"
        self.seconds += max(timeout, TURN_S)
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def call_soon(  # type: ignore[override]  # one signature for every callback
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """See the base class; the callback runs when its process does."""
        delivery = _Delivery(callback, args, context)
        delivery.handle = super().call_soon(delivery, context=delivery.context)
        return delivery.handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """See the base class; the callback runs when its process does."""
        delivery = _Delivery(callback, args, context)
        delivery.handle = handle = super().call_at(when, delivery, context=delivery.context)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """See the base class."""
        return self.call_at(self.seconds + delay, callback, *args, context=context)

    def deliver_late(self, delivery: _Delivery) -> None:
        """Run a callback that was put aside."""
        super().call_soon(delivery, context=delivery.context)


class _Draws:
    """The one method of `random.Random` that ids need."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def getrandbits(self, bits: int) -> int:
        return self._dice.number(0, (1 << bits) - 1)


class VirtualClock:
    """A process's clock: the loop's time, on a wall clock that may be wrong and may be set."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self._loop = loop
        self._dice = Dice(seed)
        self._uuids = UuidSequence(_Draws(Dice(seed + 1)))  # type: ignore[arg-type]
        self.skew_us = 0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return _EPOCH + timedelta(microseconds=self.now_us())

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return START_US + round(self._loop.seconds * 1e6) + self.skew_us

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._loop.seconds

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        woken: asyncio.Future[None] = self._loop.create_future()
        handle = self._loop.call_later(max(seconds, 0.0), _wake, woken)
        try:
            await woken
        finally:
            handle.cancel()

    def random(self) -> float:
        """See `Clock.random`."""
        return self._dice.fraction()

    def random_bytes(self, count: int) -> bytes:
        """See `Clock.random_bytes`."""
        return bytes(self._dice.number(0, 255) for _ in range(count))

    def uuid7(self) -> bytes:
        """See `Clock.uuid7`."""
        return self._uuids.next(self.now_us() // 1_000)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
