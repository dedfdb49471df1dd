"""What a leader does now and then besides deciding: a loop that lives as long as the process and works while it leads.

Theory of operation. Such a part is not made anew for each term: it waits to lead, does its first round at once, and then a round
after each pause that a round asks for. It looks once a second whether its term is still the same one; a new term starts with a
first round again, because what the part knew of the old one is worth nothing. A round that is under way when the term ends is
not cut off: it finds out by the epoch, before it acts on the leader's memory, or by PostgreSQL, where it may do no harm.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final

from foliot.kit.lifecycle import Part

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership

TERM_CHECK_S: Final = 1.0
"""How often to look whether the term is over: how late the first round of a new term may be."""


class TermLoop(Part):
    """Does rounds of work while this replica leads."""

    def __init__(self, name: str, *, leadership: Leadership, clock: Clock) -> None:
        """Take the part's name, where it learns whether it leads, and the clock that it pauses by."""
        super().__init__(name)
        self._leadership = leadership
        self._clock = clock

    @abc.abstractmethod
    def begin_term(self) -> None:
        """Forget what was known of the term before."""

    @abc.abstractmethod
    async def do_round(self) -> float:
        """Do the work once and return the seconds until it is to be done again. What can be expected to fail is handled here."""

    async def run(self) -> None:
        """Do rounds for ever, while leading."""
        while True:
            await self._leadership.wait_leading()
            epoch = self._leadership.epoch
            if not epoch:
                continue  # it ended before we woke
            self.begin_term()
            while self._leadership.epoch == epoch:
                pause = await self.do_round()
                await self._pause(pause, epoch)

    async def _pause(self, seconds: float, epoch: int) -> None:
        until = self._clock.monotonic() + seconds
        while self._leadership.epoch == epoch:
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(min(left, TERM_CHECK_S))
