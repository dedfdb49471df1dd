"""One event loop on which many processes live in virtual time: none waits, and each can be stopped, thawed or killed.

The loop never sleeps: when nothing is ready, its clock jumps to the next timer. Every callback belongs to the process in whose
context it was made. Those of a stopped process are put aside and run when it is thawed, late, as after a SIGSTOP; those of a
killed one do not run any more: no `finally`, no farewell (until the story is over, and all that is left of it unwinds).

A story is some hundred thousand callbacks, so what each of them costs here decides how many stories are told in an hour:
asyncio's own loop, with a selector that never selects, took twice as long.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

from foliot.kit.clock import UuidSequence
from tests.unit.core.dice import Dice

T = TypeVar("T")

START_US = 1_795_176_000_000_000
"""2026-11-20 12:00:00 UTC."""

TURN_S = 1e-6
"""What a turn of the loop takes at least: code that looks at the time again and again sees it pass, as everywhere."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)

NOBODY: Final = contextvars.Context()
"""For callbacks of the world's own, which go on whatever becomes of the process that caused them."""


def current_process() -> Process | None:
    """Answer whose callback runs."""
    return _PROCESS.get()


class Process:
    """What can be stopped and killed as one."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.stopped = False
        self.runs = True
        """Whether its callbacks run: it is alive, and not stopped."""
        self.on_death: list[Callable[[], None]] = []
        """What others notice when it dies: its connections break."""
        self._put_aside: list[Delivery] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
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
        self.runs = False

    def thaw(self) -> None:
        """Let it go on, with everything that became due meanwhile."""
        self.stopped = False
        self.runs = self.alive
        put_aside, self._put_aside = self._put_aside, []
        for delivery in put_aside:
            self.loop.deliver_late(delivery)

    def kill(self) -> None:
        """End it at once."""
        self.alive = self.runs = False
        for notice in self.on_death:
            notice()
        self.on_death = []

    def haunt(self) -> None:
        """Let what is left of it run, so that it can unwind; for the end of a story only."""
        self.alive, self._tasks = True, []
        self.thaw()

    def put_aside(self, delivery: Delivery) -> None:
        """Keep a callback until it may run; those of a dead process are never asked for."""
        self._put_aside.append(delivery)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Leave the end of a task to whoever waits for it."""
        self._tasks.remove(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def failure(self) -> BaseException | None:
        """What a task of it ended with that it should not have."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        self._tasks = [task for task in self._tasks if not task.done()]
        return None


class Delivery(asyncio.TimerHandle):
    """A callback on its way, which can be cancelled until it runs."""

    __slots__ = ("arguments", "callback", "context", "due", "process")

    callback: Callable[..., object] | None
    """None once it is cancelled."""

    def __init__(
        self, callback: Callable[..., object], arguments: tuple[Any, ...], context: contextvars.Context, due: float
    ) -> None:
        # The base class takes notes for debugging, several times as long as all of this.
        self.callback = callback
        self.arguments = arguments
        self.context = context
        self.due = due
        self.process = context.get(_PROCESS)

    def cancel(self) -> None:
        """See the base class."""
        self.callback = None
        self.arguments = ()

    def cancelled(self) -> bool:
        """See the base class."""
        return self.callback is None

    def when(self) -> float:
        """See the base class."""
        return self.due


class _Task(asyncio.Task[T]):
    """A task with its number for a hash: a group that fails goes through a set of its tasks, in the same order each time."""

    def __init__(self, number: int, work: Coroutine[Any, Any, T], **more: Any) -> None:
        self._number = number  # first: its hash is asked for as it is made
        super().__init__(work, **more)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. What has to do with sockets, threads and signals does not work."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.turns = 0
        self.errors: list[dict[str, Any]] = []
        """What no callback should have raised."""
        self.set_exception_handler(lambda _, error: self.errors.append(error))
        self._due: deque[Delivery] = deque()
        self._timers: list[tuple[float, int, Delivery]] = []
        """A heap, by time and then in the order in which they were made."""
        self._timers_made = 0
        self._tasks_made = 0
        # Asked for each future: without a detour through Python.
        self.get_debug = bool  # type: ignore[method-assign]  # bool() is False
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]

    def time(self) -> float:
        """Seconds since the story began."""
        return self.seconds

    def is_running(self) -> bool:
        """See the base class."""
        return asyncio._get_running_loop() is self

    def create_task(  # type: ignore[override]  # no factories
        self, work: Coroutine[Any, Any, T], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        """See the base class."""
        self._tasks_made += 1
        return _Task(self._tasks_made, work, loop=self, name=name, context=context)

    def call_soon(  # type: ignore[override]  # one signature for every callback
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """See the base class; the callback runs when its process does."""
        delivery = Delivery(callback, args, contextvars.copy_context() if context is None else context, self.seconds)
        self._due.append(delivery)
        return delivery

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """See the base class; the callback runs when its process does."""
        delivery = Delivery(callback, args, contextvars.copy_context() if context is None else context, when)
        self._timers_made = made = self._timers_made + 1
        heappush(self._timers, (when, made, delivery))
        return delivery

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """See the base class."""
        return self.call_at(self.seconds + delay, callback, *args, context=context)

    def deliver_late(self, delivery: Delivery) -> None:
        """Run a callback that was put aside."""
        self._due.append(delivery)

    def run_until_complete(self, future: Coroutine[Any, Any, T]) -> T:  # type: ignore[override]
        """See the base class."""
        awaited = self.create_task(future)
        asyncio._set_running_loop(self)
        try:
            self._turn_until(awaited.done)
        finally:
            asyncio._set_running_loop(None)
        return awaited.result()

    def _turn_until(self, over: Callable[[], bool]) -> None:
        """Let the time pass until something is due, run all that is, and so on."""
        due, timers = self._due, self._timers
        while not over():
            self.turns += 1
            now = self.seconds + TURN_S
            if not due:
                while timers and timers[0][2].callback is None:
                    heappop(timers)
                assert timers, "everybody waits, and nothing will happen"
                now = max(now, timers[0][0])
            self.seconds = now
            while timers and timers[0][0] <= now:
                due.append(heappop(timers)[2])
            for _ in range(len(due)):  # what these make due comes next, a moment later
                delivery = due.popleft()
                callback = delivery.callback
                if callback is None:
                    continue
                process = delivery.process
                if process is not None and not process.runs:
                    process.put_aside(delivery)
                    continue
                try:
                    delivery.context.run(callback, *delivery.arguments)
                except Exception as error:  # noqa: BLE001 - whatever it is, no callback should
                    self.errors.append({"message": "a callback failed", "exception": error})


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the garbage until the end: what it finds then does not depend on what else the process has done before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if enabled:
            gc.enable()


class _Draws:
    """The one method of `random.Random` that ids need."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def getrandbits(self, bits: int) -> int:
        return self._dice.number(0, (1 << bits) - 1)


class VirtualClock:
    """A process's clock: the loop's time, on a wall clock that may be wrong and may be set."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self._dice = Dice(seed)
        self._uuids = UuidSequence(_Draws(Dice(seed + 1)))  # type: ignore[arg-type]
        self.skew_us = 0

    def now(self) -> datetime:
        """See `Clock.now`."""
        return _EPOCH + timedelta(microseconds=self.now_us())

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return START_US + round(self.loop.seconds * 1e6) + self.skew_us

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.loop.seconds

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        if seconds <= 0:
            await _GIVE_WAY
            return
        woken: asyncio.Future[None] = self.loop.create_future()
        handle = self.loop.call_later(seconds, _wake, woken)
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


class _GiveWay:
    """Awaiting it gives way to others once, as `asyncio.sleep(0)` does."""

    def __await__(self) -> Generator[None, None, None]:
        return iter((None,))  # type: ignore[return-value]  # any iterator will do, and this one is C


_GIVE_WAY: Final = _GiveWay()
