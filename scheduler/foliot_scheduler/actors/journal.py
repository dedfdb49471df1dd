"""Group commit: what the engine decided becomes durable, then leaves.

Theory of operation. While one commit runs the engine goes on, and whatever it decides gathers; the next commit takes all of it,
so batches form by themselves under load and a single task never waits for one to fill. Before a commit begins, what the event
loop has in hand already may still join it: a commit costs the leader more than a request does, and of many callers that wait for
one another's commits, each would otherwise pay for its own. Replies, leases and acknowledgements leave only after the commit
that made them true. A commit that fails or is fenced ends the term: nothing leaves, the engine's state is dropped, and the next
leader starts from what PostgreSQL holds.

When nothing is to be written the journal still proves now and then that it leads (the *pulse*): heartbeats are confirmed only
within `TRUST_S` after a proof was sent, so a leader that was frozen cannot keep workers believing in leases that another leader
has given away.

Each proof also brings PostgreSQL's time, and that is what the term goes by, carried on by the monotonic clock in between: due
times and the starts of attempts mean the same to every leader, whatever the clocks of their hosts say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter, Histogram
from foliot_scheduler.actors.store_clock import StoreClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot.kit.clock import Clock
    from foliot_scheduler.core.effects import Effects, WriteSet
    from foliot_scheduler.core.types import Micros

TRUST_S = 2.0
"""How long after sending a commit that succeeded the leader believes in its term; CoreSettings.takeover_grace allows for it."""

PULSE_S = 0.5
"""How often an idle leader proves its term: four chances before trust runs out."""

GATHER_TURNS_QUIET = 6
"""Turns of the event loop without anything new after which a commit begins: a request that has arrived needs about as many to
reach the engine. With 32 callers of SubmitTask each commit takes ten tasks instead of two, and a quarter more end in a second."""

GATHER_TURNS_MAX = 60
"""Turns after which it begins in any case: some milliseconds, when each has something to do."""

_COMMITS = Counter("foliot_journal_commits_total", unit="commits", description="Commits that PostgreSQL took, pulses left out.")
_COMMIT_SECONDS = Histogram("foliot_journal_commit_seconds", unit="seconds", description="How long commits took.")
_TASKS_WRITTEN = Counter("foliot_journal_tasks_total", unit="rows", description="Task rows in commits: new, changed and ended.")

log = get_logger(__name__)

Encoded = TypeVar("Encoded")
"""A commit as the writer wants it."""


class Writer(Protocol[Encoded]):
    """Where commits go: the store's Committer, or a faulty one in simulations."""

    def encode(self, writes: WriteSet) -> Encoded:
        """Take the rows as they stand now."""

    async def commit(self, encoded: Encoded) -> None:
        """Make them durable; raises Fenced or StoreUnavailable."""

    async def pulse(self) -> Micros:
        """Prove the term and renew it, and answer the store's time; raises Fenced or StoreUnavailable."""


class Journal(Generic[Encoded]):
    """Commits what the engine decides, in order, one commit at a time."""

    def __init__(
        self,
        *,
        writer: Writer[Encoded],
        take: Callable[[], Effects],
        release: Callable[[Effects], None],
        clock: Clock,
    ) -> None:
        """Take where commits go, where effects come from (`take`: once for each commit), and who sends them off after it."""
        self._writer = writer
        self._take = take
        self._release = release
        self._clock = clock
        self._stirred = asyncio.Event()
        """Set when there may be something to take, or it is time for a pulse."""
        self._noted = False
        """Whether there may be something to take."""
        self._pulse: asyncio.TimerHandle | None = None
        """None when it has rung, and a pulse is due."""
        self._pulsed_at = float("-inf")
        self._trusted_until = float("-inf")
        self._sent_at: float | None = None
        """When the commit or pulse under way was sent; None while there is none."""
        self._sent_rows = 0
        self._took_s = 0.0
        """How long the last one took."""
        self._took_rows = 0
        self._store_clock = StoreClock(clock)

    @property
    def trusted(self) -> bool:
        """Whether the leader may still speak for its term without asking PostgreSQL."""
        return self._clock.monotonic() < self._trusted_until

    def now_us(self) -> Micros:
        """Answer the store's time, as of the latest proof."""
        return self._store_clock.now_us()

    @property
    def pace(self) -> tuple[float, int]:
        """How long the commit under way has taken by now, in seconds, or the last one if that took longer; and its rows."""
        if self._sent_at is not None:
            so_far_s = self._clock.monotonic() - self._sent_at
            if so_far_s > self._took_s:
                return so_far_s, self._sent_rows
        return self._took_s, self._took_rows

    def notify(self) -> None:
        """Say that there is something to take; may be said more often than there is."""
        self._noted = True
        self._stirred.set()

    async def run(self) -> None:
        """Commit for ever; raises Fenced or StoreUnavailable when the term is over."""
        try:
            while True:
                await self._stirred.wait()
                if self._noted:
                    await self._gather()
                self._stirred.clear()
                await self._commit()
                if self._pulse is None or self._clock.monotonic() - self._pulsed_at >= PULSE_S:
                    await self.prove()
        finally:
            if self._pulse is not None:
                self._pulse.cancel()

    async def _commit(self) -> None:
        effects = self._take()
        if effects.writes:
            encoded = self._writer.encode(effects.writes)
            sent_at = self._begin(len(effects.writes.tasks))
            await self._writer.commit(encoded)
            self._trusted_until = sent_at + TRUST_S
            self._note_took(sent_at)
            _COMMITS.add()
            _COMMIT_SECONDS.observe(self._took_s)
            _TASKS_WRITTEN.add(len(effects.writes.tasks))
        self._release(effects)

    async def prove(self) -> None:
        """Prove the term; once before the first command is taken, so that the time is known."""
        sent_at = self._begin(0)
        store_us = await self._writer.pulse()
        self._note_took(sent_at)
        self._store_clock.set(store_us, asked_at=sent_at)
        self._trusted_until = sent_at + TRUST_S
        self._pulsed_at = sent_at
        if self._pulse is not None:
            self._pulse.cancel()
        self._pulse = asyncio.get_running_loop().call_later(PULSE_S, self._ring)

    def _ring(self) -> None:
        self._pulse = None
        self._stirred.set()

    def _begin(self, rows: int) -> float:
        """Note that a commit or pulse is sent now, and return when that is."""
        self._sent_at, self._sent_rows = self._clock.monotonic(), rows
        return self._sent_at

    def _note_took(self, sent_at: float) -> None:
        """Note that it has ended well."""
        self._took_s, self._took_rows = self._clock.monotonic() - sent_at, self._sent_rows
        self._sent_at = None

    async def _gather(self) -> None:
        """Give way to the loop while that brings more to commit; a lone request waits a few dozen microseconds for it."""
        quiet = 0
        for _ in range(GATHER_TURNS_MAX):
            self._noted = False
            await self._clock.sleep(0)
            quiet = 0 if self._noted else quiet + 1
            if quiet == GATHER_TURNS_QUIET:
                return
        self._noted = False
