"""PostgreSQL's time within one process: what all replicas go by, whatever the clocks of their hosts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core.types import Micros

if TYPE_CHECKING:
    from foliot.kit.clock import Clock


class StoreClock:
    """PostgreSQL's time as of its latest word, carried on by the monotonic clock in between."""

    def __init__(self, clock: Clock) -> None:
        """Take the clock of this process; the time means nothing before the first word."""
        self._clock = clock
        self._ahead_us = 0
        """PostgreSQL's time less the monotonic clock."""

    def set(self, store_us: Micros, *, asked_at: float) -> None:
        """Note what PostgreSQL has just answered to who asked at `asked_at`, by the monotonic clock."""
        # It read its clock some time between; the middle is wrong by half of the round trip at most.
        self._ahead_us = store_us - round((asked_at + self._clock.monotonic()) / 2 * 1e6)

    def now_us(self) -> Micros:
        """Answer the time, in microseconds since the epoch."""
        return Micros(self._ahead_us + round(self._clock.monotonic() * 1e6))
