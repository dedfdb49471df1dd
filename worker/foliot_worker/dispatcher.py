"""Joins the session, which decides, and the runner, which runs: carries out actions, brings facts, keeps the time.

All of it runs in the event loop's thread and without awaiting, so no two facts ever meet half done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from foliot.kit.clock import Clock
from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter, Gauge
from foliot.v1.worker_pb2 import Hello, Resources, Result, WorkRequest, WorkResponse
from foliot_worker.actions import NOTHING, Actions
from foliot_worker.checkpoints import CheckpointSaver
from foliot_worker.plans import Kind
from foliot_worker.runner import Executor, Runner
from foliot_worker.session import Session
from foliot_worker.stream_state import StreamState

_log = get_logger(__name__)

_STALE = Counter(
    "foliot_worker_results_stale_total",
    unit="results",
    description="Results that the scheduler refused because the lease had ended.",
)
_STOPPED = Counter(
    "foliot_worker_attempts_stopped_total",
    unit="attempts",
    description="Attempts that were stopped because their lease no longer counted or the worker was ending.",
)
_HELD = Gauge("foliot_worker_leases", unit="leases", description="Leases that this worker holds.")
_RUNNING = Gauge("foliot_worker_attempts_running", unit="attempts", description="Attempts that run on this worker.")

_IDLE_TICK_S = 60.0
"""How long the time keeper sleeps when the session names no deadline; anything that changes that wakes it."""


class Dispatcher:
    """The one owner of a worker's session and runner. `resources` is asked when a heartbeat is due."""

    def __init__(
        self,
        hello: Hello,
        *,
        concurrency: int,
        clock: Clock,
        resources: Callable[[], Resources],
    ) -> None:
        self._session = Session(hello, concurrency=concurrency)
        self._clock = clock
        self._resources = resources
        self._runner: Runner | None = None
        self._armed = 0.0
        self._alarm: asyncio.Future[None] | None = None
        """What the time keeper waits for; rung before its time when an earlier deadline comes up."""
        self._sayable = asyncio.Event()
        self._closed = asyncio.Event()
        self.checkpoints = CheckpointSaver(self._submit_checkpoint)
        self.steer: Callable[[Actions], None] | None = None
        """Set by the link while a stream is open: takes actions that name a redirect or a reason to hang up."""

    def attach(self, executors: Mapping[Kind, Executor]) -> None:
        """Give it the executors, which may need its checkpoints; once, before anything else."""
        self._runner = Runner(executors, clock=self._clock, finished=self.finished)

    # ---- the stream's side

    @property
    def state(self) -> StreamState:
        """Where the stream stands."""
        return self._session.state

    def opened(self) -> None:
        """See `Session.opened`."""
        self._session.opened(self._clock.monotonic())
        self._after()

    def broken(self) -> None:
        """See `Session.broken`."""
        self._session.broken()
        self._after()

    def received(self, message: WorkResponse) -> None:
        """Take a message. Raises `RemoteProtocolError`."""
        self._carry_out(self._session.received(message, self._clock.monotonic()))

    def next_message(self) -> WorkRequest | None:
        """Take the next thing to say, to be sent at once; None if there is nothing."""
        message = self._session.next_message(self._clock.monotonic())
        if message is None:
            self._sayable.clear()
            if self._session.state is StreamState.CLOSED:
                self._closed.set()
        return message

    async def wait_sayable(self) -> None:
        """Wait until `next_message` is worth asking. May wake up for nothing."""
        await self._sayable.wait()

    # ---- the work's side

    def finished(self, results: Sequence[Result]) -> None:
        """Take results of ended attempts."""
        self._carry_out(self._session.finished(results, self._clock.monotonic()))

    def leave(self) -> None:
        """See `Session.leave`."""
        self._carry_out(self._session.leave(self._clock.monotonic()))

    def abandon(self, *, grace_s: float) -> None:
        """See `Session.abandon`."""
        self._carry_out(self._session.abandon(self._clock.monotonic(), grace_s=grace_s))

    async def wait_closed(self) -> None:
        """Wait until the session has left and holds nothing."""
        await self._closed.wait()

    async def keep_time(self) -> None:
        """Tell the session the time whenever it asked to be told; for ever."""
        while True:
            now = self._clock.monotonic()
            self._armed = min(self._session.next_deadline(), now + _IDLE_TICK_S)
            self._alarm = alarm = asyncio.get_running_loop().create_future()
            pause = asyncio.create_task(self._clock.sleep(self._armed - now), name="worker.pause")
            pause.add_done_callback(partial(_ring, alarm))
            try:
                await alarm
            finally:
                pause.cancel()
            now = self._clock.monotonic()
            if now >= self._session.next_deadline():
                self._carry_out(self._session.tick(now, now_us=self._clock.now_us(), resources=self._resources()))
            _HELD.set(self._session.held)
            _RUNNING.set(self._session.running)

    async def close(self) -> None:
        """Stop everything that runs, at once."""
        if self._runner is not None:
            await self._runner.close()

    # ---- inside

    def _submit_checkpoint(self, token: int, checkpoint_json: str) -> int | None:
        sequence = self._session.checkpoint(token, checkpoint_json)
        self._after()
        return sequence

    def _carry_out(self, actions: Actions) -> None:
        if actions is not NOTHING:
            runner = self._runner
            assert runner is not None, "attach() comes first"
            for stop in actions.stop:
                _STOPPED.add()
                runner.stop(stop.token, stop.grace_s)
            if actions.start:
                runner.start(actions.start)
            if actions.stale:
                _STALE.add(len(actions.stale))
                _log.warning("worker.results_stale", count=len(actions.stale))
            if actions.checkpoints:
                self.checkpoints.settle(actions.checkpoints)
            if self.steer is not None and (actions.redirect is not None or actions.hang_up):
                self.steer(actions)
        self._after()

    def _after(self) -> None:
        """Wake whoever may have something to do now; cheap, as it follows every fact."""
        if self._session.sayable:
            self._sayable.set()
        if self._session.state is StreamState.CLOSED:
            self._closed.set()
        if self._alarm is not None and self._session.next_deadline() < self._armed:
            _ring(self._alarm)


def _ring(alarm: asyncio.Future[None], _pause: asyncio.Task[None] | None = None) -> None:
    if not alarm.done():
        alarm.set_result(None)
