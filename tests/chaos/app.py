"""The worker program of a chaos run: functions that write down what happens to them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from foliot.kit.clock import SystemClock
from foliot_worker import Context, Worker
from tests.chaos.evidence import END, FAILED, FOLDER_VARIABLE, SAVED, START, STOPPED, SUCCEEDED, Notebook

worker = Worker()

_clock = SystemClock()
_notebook = Notebook(Path(os.environ[FOLDER_VARIABLE]))


class PlannedFailureError(Exception):
    """A body fails because it was asked to."""


@dataclass
class Work:
    """What a body is asked to do."""

    seconds: float = 0.0
    fail_first: int = 0
    """How many attempts fail."""
    steps: int = 0
    """How many checkpoints are saved on the way."""


def _note(context: Context, what: str, *, note: str = "", value: int = -1) -> None:
    _notebook.write(
        what=what,
        at=_clock.now_us() / 1e6,
        monotonic=_clock.monotonic(),
        task=context.task_id,
        attempt=context.attempt,
        pid=os.getpid(),
        token=context._attempt.token,
        run=context.run_id,
        note=note,
        value=value,
    )


@worker.task("chaos.work")
async def work(context: Context, given: Work) -> str:
    """Take some time, save checkpoints, fail as often as asked; answer the lease's token, so that a result says whose it is."""
    seen = context.last_checkpoint
    step = -1 if seen is None else int(seen)
    _note(context, START, value=step)
    try:
        while step + 1 < given.steps:
            step += 1
            await _clock.sleep(given.seconds / given.steps)
            await context.checkpoint(step)
            _note(context, SAVED, value=step)
            # Half-way: so the attempts that fail leave something for the next to go on from.
            if context.attempt <= given.fail_first and step >= given.steps // 2:
                raise PlannedFailureError("half-way")
        if not given.steps:
            await _clock.sleep(given.seconds)
        if context.attempt <= given.fail_first:
            raise PlannedFailureError("as asked")
    except asyncio.CancelledError:
        _note(context, END, note=STOPPED)
        raise
    except BaseException:
        _note(context, END, note=FAILED)
        raise
    _note(context, END, note=SUCCEEDED)
    return str(context._attempt.token)
