"""What the session wants done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foliot.v1.worker_pb2 import Lease


@dataclass(frozen=True, slots=True)
class Stop:
    """An attempt to stop. No result of it is wanted, but its end is a fact to report to the session."""

    token: int
    grace_s: float
    """How long its program may take to end by itself before it is killed."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What is to be done, in this order: stops before starts, since both use the same slots."""

    stop: Sequence[Stop] = ()
    """Attempts to stop."""

    start: Sequence[Lease] = ()
    """Attempts to start, in this order."""

    forgotten: Sequence[int] = ()
    """Tokens whose results the scheduler has recorded."""

    stale: Sequence[int] = ()
    """Tokens whose results it refused."""

    checkpoints: Sequence[tuple[int, int, str]] = ()
    """Settled checkpoints: token, sequence, and the error, empty if it is durable."""

    redirect: str | None = None
    """Not None: close this stream and open one to the address; empty: to any replica, after a pause."""

    hang_up: str = ""
    """Not empty: close this stream for this reason and open another."""


NOTHING: Final = Actions()
"""No actions."""
