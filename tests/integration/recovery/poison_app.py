"""A worker program with a function that kills its worker, and one that does not."""

from __future__ import annotations

import os
import signal
from typing import Final

from foliot.kit.clock import SystemClock
from foliot_worker import Context, Worker

WORK_S: Final = 0.1
"""How long the innocent function works: long enough to be under way when its neighbour strikes."""

worker = Worker()


@worker.task("poison")
def poison(_: Context) -> None:
    """Kill the worker that runs this, as a crash of native code or the lack of memory would."""
    os.kill(os.getpid(), signal.SIGKILL)


@worker.task("innocent")
async def innocent(_: Context) -> None:
    """Work for a while."""
    await SystemClock().sleep(WORK_S)
