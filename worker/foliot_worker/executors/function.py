"""Calls of registered handlers: async ones in the event loop, the others in threads.

Theory of operation of async handlers. A task for each call would cost more than most of the rest of a small call, so calls share
*lanes*. A lane is one asyncio task that takes calls from a queue and drives each coroutine itself. Most small
handlers never suspend: they begin and end within one turn of the lane, and the next one follows in the same turn. One that does
suspend keeps its lane to itself until it ends, and other lanes see to the queue. So a handler always sees a current task
of its own while it waits (which is what `asyncio.timeout` and cancellation work on), and there are as many tasks as
suspended calls. Each call runs in its own copy of the context variables, which costs next to nothing.

Threads cannot be ended from outside: a handler in a thread that was asked to stop sees `ctx.cancelled`; when the grace is over
its attempt is reported as ended and the thread is left to itself.
"""

from __future__ import annotations

import asyncio
import traceback
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any, Final, cast

import msgspec

from foliot.kit.clock import Clock
from foliot.v1.spec_pb2 import FunctionWork
from foliot.v1.worker_pb2 import Result
from foliot_worker.attempt import CANCELLED, FAILED, NON_RETRYABLE, OUTPUT_BYTES_MAX, SUCCEEDED, Attempt
from foliot_worker.executors.threads import Threads
from foliot_worker.runner import Host
from foliot_worker.sdk import Context, NonRetryable, Registered, Services

_BURST_MAX: Final = 256
"""Calls that a lane makes before it lets the event loop turn: about 2 ms of small handlers."""

_TRACEBACK_FRAMES: Final = 20
"""Innermost frames kept of a traceback; the outer ones are mostly ours."""


class _Call:
    """A handler's call: what the executor keeps in `Attempt.state`."""

    __slots__ = ("host", "lane", "registered", "reported", "timer")

    def __init__(self, registered: Registered, host: Host) -> None:
        self.registered = registered
        self.host = host
        self.lane: asyncio.Task[None] | None = None
        """The lane it suspended, or None: it has not begun, or runs in a thread."""
        self.timer: asyncio.TimerHandle | None = None
        """When its thread is given up."""
        self.reported = False


class FunctionExecutor:
    """Calls handlers; see the module's theory of operation. `concurrency` bounds the threads."""

    def __init__(
        self,
        functions: Mapping[str, Registered],
        services: Services,
        *,
        clock: Clock,
        concurrency: int,
    ) -> None:
        self._functions = functions
        self._services = services
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._threads = Threads(concurrency, name="foliot-handler")
        self._from_threads: deque[tuple[_Call, Result]] = deque()
        self._woken_by_thread = False
        self._queue: deque[Attempt] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        # Lanes that are about to look at the queue: neither parked nor suspended in a call.
        self._awake = 0
        self._closing = False
        # Results of the current turn, for one report.
        self._ended: list[Result] = []
        self._host: Host | None = None

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor.start`."""
        self._host = host
        # A name that is not registered is found by the lane: it cannot be reported from here.
        registered = self._functions.get(cast("FunctionWork", attempt.plan.work).function)
        if registered is None or registered.is_async:
            attempt.state = None if registered is None else _Call(registered, host)
            self._queue.append(attempt)
            if not self._awake:
                self._wake_lane()
        else:
            attempt.state = _Call(registered, host)
            self._start_in_thread(attempt)

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """See `Executor.stop`."""
        call: _Call | None = attempt.state
        if call is None:
            return  # a lane is about to find that it cannot run
        if call.registered.is_async:
            if call.lane is not None:
                # A handler may take its time over it, or even go on: then it holds its slot, and nothing is reported.
                call.lane.cancel()
        elif call.timer is None and not call.reported:
            call.timer = self._loop.call_later(grace_s, self._give_up, attempt, call)

    async def close(self) -> None:
        """See `Executor.close`."""
        self._closing = True
        for lane in self._lanes:
            lane.cancel()
        if self._lanes:
            await asyncio.wait(self._lanes)
        self._threads.close()

    # ---- async handlers

    def _wake_lane(self) -> None:
        """Have one lane more look at the queue."""
        self._awake += 1
        while self._idle:
            parked = self._idle.pop()
            if not parked.done():
                parked.set_result(None)
                return
        lane = self._loop.create_task(self._run_lane(), name="worker.function_lane")
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    async def _run_lane(self) -> None:
        while not self._closing:
            try:
                await self._drain_queue()
                await self._park()
            except asyncio.CancelledError:
                # Meant for a call that had just ended, unless the executor closes.
                if self._closing:
                    raise
                _forget_cancellation()

    async def _park(self) -> None:
        parked: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(parked)
        self._awake -= 1
        try:
            await parked
        finally:
            if parked.cancelled():  # nobody woke it, so nobody counted it
                self._awake += 1

    async def _drain_queue(self) -> None:
        """Make the calls that wait until there are none."""
        queue = self._queue
        now_us = self._clock.now_us
        started_at_us = now_us()
        burst = 0
        while True:
            if not queue:
                self._flush()  # fills the queue again, as it frees slots
                if not queue:
                    return
            if self._closing:
                return
            attempt = queue.popleft()
            attempt.started_at_us = started_at_us
            variables = copy_context()
            try:
                coroutine = self._begin(attempt)
                first = variables.run(coroutine.send, None)
            except StopIteration as end:
                result = self._succeeded(attempt, end.value)
            except BaseException as error:  # noqa: BLE001 -- whatever a handler raises is its attempt's failure
                result = self._failed(attempt, error)
            else:
                result = await self._finish_suspended(attempt, coroutine, first, variables)
            # The end of one call is the start of the next, which saves a reading of the clock.
            started_at_us = now_us()
            result.ended_at_us = started_at_us
            self._ended.append(result)
            burst += 1
            if burst >= _BURST_MAX:
                burst = 0
                self._flush()
                await _turn()
                started_at_us = now_us()

    def _begin(self, attempt: Attempt) -> Coroutine[Any, Any, object]:
        call: _Call | None = attempt.state
        if call is None:
            raise NonRetryable("this worker has no such function")
        if attempt.stop_reason is not None:
            raise asyncio.CancelledError
        return cast("Coroutine[Any, Any, object]", call.registered.call(Context(attempt, self._services)))

    async def _finish_suspended(
        self, attempt: Attempt, coroutine: Coroutine[Any, Any, object], first: object, variables: Variables
    ) -> Result:
        """Drive a call that has suspended to its end, leaving the queue to other lanes."""
        call: _Call = attempt.state
        call.lane = asyncio.current_task()
        call.host.watch(attempt)
        self._flush()
        self._awake -= 1
        # Two for one: where calls tend to suspend, the lanes that begin them double with each turn of the loop.
        while self._awake < min(2, len(self._queue)):
            self._wake_lane()
        try:
            value = await _rest(coroutine, first, variables)
        except GeneratorExit:
            raise  # the event loop is being torn down
        except BaseException as error:  # noqa: BLE001 -- as above
            result = self._failed(attempt, error)
        else:
            result = self._succeeded(attempt, value)
        finally:
            call.lane = None
            self._awake += 1
            _forget_cancellation()
        return result

    def _flush(self) -> None:
        if self._ended and self._host is not None:
            ended, self._ended = self._ended, []
            self._host.report(ended)

    # ---- handlers in threads

    def _start_in_thread(self, attempt: Attempt) -> None:
        call: _Call = attempt.state
        attempt.started_at_us = self._clock.now_us()
        call.host.watch(attempt)
        context = Context(attempt, self._services)
        self._threads.submit(lambda: self._call_in_thread(attempt, call, context))

    def _call_in_thread(self, attempt: Attempt, call: _Call, context: Context) -> None:
        """Run in a thread of the pool."""
        try:
            result = self._succeeded(attempt, copy_context().run(call.registered.call, context))
        except BaseException as error:  # noqa: BLE001 -- as above
            result = self._failed(attempt, error)
        result.ended_at_us = self._clock.now_us()
        self._from_threads.append((call, result))
        # One wake-up for all that end before the loop turns: each costs a system call. The flag is cleared before the queue
        # is emptied, so what is put in after that wakes the loop again.
        if not self._woken_by_thread and not self._loop.is_closed():
            self._woken_by_thread = True
            self._loop.call_soon_threadsafe(self._threads_ended)

    def _threads_ended(self) -> None:
        self._woken_by_thread = False
        results: list[Result] = []
        while self._from_threads:
            call, result = self._from_threads.popleft()
            if call.timer is not None:
                call.timer.cancel()
            if not call.reported:
                call.reported = True
                results.append(result)
        if results and self._host is not None:
            self._host.report(results)

    def _give_up(self, attempt: Attempt, call: _Call) -> None:
        if call.reported:
            return
        call.reported = True
        # Its thread is lost for as long as the handler goes on; others must not wait for it.
        self._threads.replace_one()
        error = "the handler did not stop; its thread was left behind"
        call.host.report([attempt.result(CANCELLED, self._clock.now_us(), error=error)])

    # ---- results

    def _succeeded(self, attempt: Attempt, value: object) -> Result:
        """Make the result without its end; `ended_at_us` is the caller's."""
        output = b""
        if value is not None:
            try:
                output = msgspec.json.encode(value)
            except (TypeError, ValueError) as error:
                return attempt.result(FAILED, 0, error=f"the returned value is not JSON: {error}")
            if len(output) > OUTPUT_BYTES_MAX:
                return attempt.result(NON_RETRYABLE, 0, error=f"the returned value has over {OUTPUT_BYTES_MAX} bytes")
        # The way of nearly every task: made directly, not by `attempt.result`.
        return Result(token=attempt.token, outcome=SUCCEEDED, output=output, started_at_us=attempt.started_at_us)

    def _failed(self, attempt: Attempt, error: BaseException) -> Result:
        """Make the result of an exception without its end."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        if isinstance(error, asyncio.CancelledError) and (attempt.stop_reason is not None or self._closing):
            return attempt.result(CANCELLED, 0, error="it was stopped")
        outcome = NON_RETRYABLE if isinstance(error, NonRetryable) else FAILED
        lines = traceback.format_exception(error, limit=-_TRACEBACK_FRAMES)
        tail = "".join(lines).encode(errors="replace")[-OUTPUT_BYTES_MAX:]
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return attempt.result(outcome, 0, error=f"{name}: {_message(error)}", error_output=tail)


def _message(error: BaseException) -> str:
    """Answer an exception's text, even if asking for it fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- a user's __str__
        return "(its text cannot be read)"


def _forget_cancellation() -> None:
    """Clear the cancellations that a lane's call has used up, so that they do not count for the next."""
    lane = asyncio.current_task()
    while lane is not None and lane.cancelling():
        lane.uncancel()


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, object], first: object, variables: Variables) -> Generator[Any, Any, object]:
    """Pass on what a coroutine waits for, beginning with `first`, and drive it in its own context variables."""
    waits_for = first
    while True:
        step: Callable[[], object]
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 -- the coroutine decides what to do with it
            step = _thrower(coroutine, error)
        else:
            step = _sender(coroutine, sent)
        try:
            waits_for = variables.run(step)
        except StopIteration as end:
            return end.value


def _sender(coroutine: Coroutine[Any, Any, object], value: object) -> Callable[[], object]:
    return lambda: coroutine.send(value)


def _thrower(coroutine: Coroutine[Any, Any, object], error: BaseException) -> Callable[[], object]:
    return lambda: coroutine.throw(error)


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let the event loop turn once."""
    yield
