"""What tasks do in a simulation, and what they write down of it: the only evidence that the checker believes.

How long an attempt takes and how it ends follows from its task, its number, and the manner that the task's input names.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from foliot.v1 import spec_pb2
from foliot.v1.worker_pb2 import Result
from foliot_scheduler.core.types import TaskId
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot_worker.attempt import Attempt
    from foliot_worker.checkpoints import CheckpointSaver
    from foliot_worker.runner import Host
    from tests.simulation.virtual import VirtualClock

SUCCEEDED: Final = spec_pb2.OUTCOME_SUCCEEDED
FAILED: Final = spec_pb2.OUTCOME_FAILED
CANCELLED: Final = spec_pb2.OUTCOME_CANCELLED

MANNERS: Final[dict[str, tuple[tuple[float, ...], tuple[spec_pb2.Outcome.ValueType, ...]]]] = {
    "plain": ((0.001, 0.01, 0.2, 1.0, 7.0), (*(SUCCEEDED,) * 6, FAILED, spec_pb2.OUTCOME_NON_RETRYABLE)),
    "failing": ((0.001, 0.01, 0.2), (*(FAILED,) * 5, SUCCEEDED, SUCCEEDED, spec_pb2.OUTCOME_NON_RETRYABLE)),
    "slow": ((1.0, 6.0, 20.0), (SUCCEEDED,)),
    "stubborn": ((1.0, 1.0, 1.0, 45.0), (SUCCEEDED,)),
    "saving": ((2.0, 7.0), (*(SUCCEEDED,) * 2, FAILED)),
}
"""How long attempts take in seconds, and how they end. `slow` ones run into their timeouts, `stubborn` ones heed no wish to stop,
`saving` ones write checkpoints."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the body of an attempt wrote down, in the order and at the time of the world, not of any process."""

    at: float
    worker: str
    task_id: TaskId
    attempt: int
    token: int
    what: str
    """start, end:OUTCOME, asked to stop, or saved."""
    checkpoint: str = ""
    """What it began with, or saved."""


class Nature(NamedTuple):
    """What an attempt will do if nobody stops it."""

    takes_s: float
    outcome: spec_pb2.Outcome.ValueType


def nature(task_id: bytes, attempt: int, manner: str) -> Nature:
    """Say what an attempt will do."""
    dice = Dice(int.from_bytes(task_id[-8:], "big") ^ attempt)
    durations, outcomes = MANNERS[manner]
    return Nature(dice.pick(durations), dice.pick(outcomes))


class Bodies:
    """Runs attempts by waiting, and writes down what they did."""

    def __init__(
        self, worker: str, clock: VirtualClock, dice: Dice, checkpoints: CheckpointSaver, note: Callable[[Evidence], None]
    ) -> None:
        """Take the worker's name and time, what saves checkpoints, and who takes the evidence."""
        self._worker = worker
        self._clock = clock
        self._dice = dice
        self._checkpoints = checkpoints
        self._evidence = note
        self._ends: dict[int, asyncio.TimerHandle] = {}

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor`."""
        lease = attempt.lease
        manner = _manner(attempt)
        takes_s, outcome = nature(lease.task_id, lease.attempt, manner)
        attempt.started_at_us = self._clock.now_us()
        self._note(attempt, "start", lease.checkpoint_json)
        host.watch(attempt)
        loop = asyncio.get_running_loop()
        self._ends[attempt.token] = loop.call_later(takes_s, self._end, attempt, host, outcome)
        attempt.state = host
        if manner == "saving":
            for number in (1, 2, 3):
                loop.call_later(takes_s * number / 4.0, self._save, attempt, number)

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """See `Executor`: it ends within its grace, sooner or later."""
        handle = self._ends.get(attempt.token)
        if handle is None:
            return
        self._note(attempt, "asked to stop")
        if _manner(attempt) == "stubborn":
            return
        handle.cancel()
        loop = asyncio.get_running_loop()
        left_s = min(grace_s, max(0.0, handle.when() - loop.time())) * self._dice.fraction()
        self._ends[attempt.token] = loop.call_later(left_s, self._end, attempt, attempt.state, CANCELLED)

    async def close(self) -> None:
        """See `Executor`."""
        for handle in self._ends.values():
            handle.cancel()

    def _save(self, attempt: Attempt, number: int) -> None:
        if attempt.token in self._ends:
            text = json.dumps([attempt.number, number])
            saved = self._checkpoints.save(attempt.token, text)
            saved.add_done_callback(partial(self._note_saved, attempt, text))

    def _note_saved(self, attempt: Attempt, text: str, saved: asyncio.Future[None]) -> None:
        if saved.exception() is None:
            self._note(attempt, "saved", text)

    def _end(self, attempt: Attempt, host: Host, outcome: spec_pb2.Outcome.ValueType) -> None:
        del self._ends[attempt.token]
        self._note(attempt, f"end:{spec_pb2.Outcome.Name(outcome)}")
        now_us = self._clock.now_us()
        error = "" if outcome == SUCCEEDED else "it went wrong"
        ended = Result(token=attempt.token, outcome=outcome, error=error, output=attempt.token.to_bytes(8, "big"))
        ended.started_at_us, ended.ended_at_us = attempt.started_at_us, now_us
        host.report([ended])

    def _note(self, attempt: Attempt, what: str, checkpoint: str = "") -> None:
        lease, at = attempt.lease, asyncio.get_running_loop().time()
        self._evidence(Evidence(at, self._worker, TaskId(lease.task_id), lease.attempt, attempt.token, what, checkpoint))


def _manner(attempt: Attempt) -> str:
    work = attempt.plan.work
    assert isinstance(work, spec_pb2.FunctionWork)
    return str(json.loads(work.input_json)) if work.input_json else "plain"
