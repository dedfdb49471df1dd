"""Runs attempts: hands each to the executor of its kind, bounds its time, and gathers its result.

The runner knows no leases beyond those that run; the session decides which do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from foliot.kit.clock import Clock
from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter
from foliot.v1.worker_pb2 import Lease, Result
from foliot_worker.attempt import FAILED, NON_RETRYABLE, TIMED_OUT, Attempt, StopReason
from foliot_worker.plans import Kind, PlanError, Plans
from foliot_worker.session import STOP_GRACE_S

_log = get_logger(__name__)

_ENDED = Counter(
    "foliot_worker_attempts_total",
    unit="attempts",
    description="Attempts that ended on this worker, by outcome.",
    labels=("outcome",),
)
_OUTCOME_NAMES: Final = ("unspecified", "succeeded", "failed", "timed_out", "non_retryable", "cancelled", "lost")


class Host(Protocol):
    """What an executor may ask of the runner."""

    def report(self, results: Sequence[Result]) -> None:
        """Take the results of ended attempts. Not to be called from within `Executor.start`."""

    def watch(self, attempt: Attempt) -> None:
        """Stop the attempt when its timeout has passed since now."""


class Executor(Protocol):
    """Runs attempts of one kind of work."""

    def start(self, attempt: Attempt, host: Host) -> None:
        """Begin an attempt; it is to be reported exactly once, whatever happens. Does not raise for what the task did."""

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """Ask a started attempt to end, and end it by force after `grace_s` seconds. Legal again, with another grace."""

    async def close(self) -> None:
        """Stop all that still runs, at once, and free what is held."""


class Runner:
    """Owns the attempts that run on this worker. `finished` takes results, possibly several at once."""

    def __init__(
        self,
        executors: Mapping[Kind, Executor],
        *,
        clock: Clock,
        finished: Callable[[Sequence[Result]], None],
    ) -> None:
        self._executors = executors
        self._clock = clock
        self._finished = finished
        self._plans = Plans()
        self._attempts: dict[int, Attempt] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def attempts(self) -> Mapping[int, Attempt]:
        """What runs, by token."""
        return self._attempts

    def start(self, leases: Sequence[Lease]) -> None:
        """Start attempts in this order."""
        unfit: list[Result] = []
        attempts, executors, plan_of = self._attempts, self._executors, self._plans.plan
        for lease in leases:
            try:
                plan = plan_of(lease.spec)
                executor = executors[plan.kind]
            except (PlanError, KeyError) as error:
                unfit.append(self._unfit(lease, error))
                continue
            attempt = Attempt(lease, plan)
            attempts[attempt.token] = attempt
            executor.start(attempt, self)
        if unfit:
            # Not now: the caller is in the middle of starting others.
            self._loop.call_soon(self._finished, unfit)

    def stop(self, token: int, grace_s: float) -> None:
        """Stop an attempt whose result nobody wants; it is still reported when it has ended."""
        attempt = self._attempts.get(token)
        if attempt is not None:
            self._stop(attempt, StopReason.DROPPED, grace_s)

    def report(self, results: Sequence[Result]) -> None:
        """See `Host.report`."""
        attempts = self._attempts
        counts = [0] * len(_OUTCOME_NAMES)
        for result in results:
            attempt = attempts.pop(result.token)
            if attempt.timer is not None:
                attempt.timer.cancel()
                attempt.timer = None
            if attempt.stop_reason is StopReason.TIMED_OUT:
                result.outcome = TIMED_OUT
                result.error = f"ran longer than {attempt.plan.timeout_s:g} s"
            counts[result.outcome] += 1
        for outcome, count in enumerate(counts):
            if count:
                _ENDED.add(count, _OUTCOME_NAMES[outcome])
        self._finished(results)

    def watch(self, attempt: Attempt) -> None:
        """See `Host.watch`."""
        if attempt.timer is None:  # a binary is watched from its download on
            attempt.timer = self._loop.call_later(attempt.plan.timeout_s, self._time_out, attempt)

    async def close(self) -> None:
        """Stop everything at once; nothing is reported any more."""
        self._finished = _ignore
        for executor in dict.fromkeys(self._executors.values()):
            await executor.close()

    def _time_out(self, attempt: Attempt) -> None:
        self._stop(attempt, StopReason.TIMED_OUT, STOP_GRACE_S)

    def _stop(self, attempt: Attempt, reason: StopReason, grace_s: float) -> None:
        if attempt.stop_reason is not StopReason.DROPPED:
            attempt.stop_reason = reason
        self._executors[attempt.plan.kind].stop(attempt, grace_s)

    def _unfit(self, lease: Lease, error: Exception) -> Result:
        """Make the result of a lease that cannot run here at all."""
        _log.warning("worker.lease_unfit", error=str(error))
        now_us = self._clock.now_us()
        known = isinstance(error, PlanError)
        return Result(
            token=lease.token,
            outcome=NON_RETRYABLE if known else FAILED,
            error=str(error) if known else f"this worker runs no work of kind {error}",
            started_at_us=now_us,
            ended_at_us=now_us,
        )


def _ignore(_results: Sequence[Result]) -> None:
    """Take results that nobody waits for."""
