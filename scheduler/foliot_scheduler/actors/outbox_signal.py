"""The signal from who fills the outbox to who empties it, within one replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foliot.kit.clock import Clock


class OutboxSignal:
    """Says that something may be due to be sent. It coalesces, and only saves waiting: the outbox itself is PostgreSQL's."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Say that something may be due."""
        self._event.set()

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Wait until something may be due, for so long at most, and take note of it."""
        if not self._event.is_set():
            timer = asyncio.create_task(clock.sleep(seconds), name="webhooks.poll")
            timer.add_done_callback(self._time_out)
            try:
                await self._event.wait()
            finally:
                # Or its end, which comes after this wait's, would cut the next one short.
                timer.remove_done_callback(self._time_out)
                timer.cancel()
        self._event.clear()

    def _time_out(self, _: asyncio.Task[None]) -> None:
        self._event.set()
