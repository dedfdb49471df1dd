"""Maintenance: keeps partitions ahead of the ids, and the history within its retention.

Hourly, on the leader. Nothing of it is urgent except today's partition in a new database, so partitions come at once when a term
begins and the rest after a while drawn at random: replicas that were started together do not work together. A failure is told
once and tried again, more and more slowly; it never ends the term, because what is late here costs disk, not work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from foliot.kit.backoff import Backoff
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.term_loop import TermLoop
from foliot_scheduler.store import partitions
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.partitions import PartitionReport, RetentionSettings
from foliot_scheduler.store.pool import Pool, translated

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership

JITTER: Final = 0.1
"""By what share a pause is shortened at most, so that loops of one age drift apart."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """When maintenance is done. Raises ValueError for what makes no sense."""

    retention: RetentionSettings = field(default_factory=RetentionSettings)
    """How long things are kept."""

    every_s: float = 3600.0
    """Seconds between two rounds: partitions are a day long, so an hour is soon enough to make and to drop them."""

    again_s: float = 60.0
    """Seconds until the next round when one has left something to do: long enough for the read that was in the way to end."""

    stagger_s: float = 600.0
    """A term's first full round comes up to so many seconds after its beginning: a new leader has better things to do."""

    def __post_init__(self) -> None:
        if not (0 < self.again_s <= self.every_s and self.stagger_s >= 0):
            raise ValueError(f"maintenance needs 0 < again_s <= every_s and stagger_s >= 0, not {self}")


class Store(Protocol):
    """What maintenance asks of PostgreSQL."""

    async def create_ahead(self, now_us: int) -> PartitionReport:
        """Make the partitions that are or soon will be needed; raises StoreError."""

    async def run_once(self, now_us: int, settings: RetentionSettings) -> PartitionReport:
        """Do all of it; raises StoreError."""


class PooledStore:
    """Maintenance over a connection of the pool, for as long as one round takes."""

    def __init__(self, pool: Pool) -> None:
        """Take the pool."""
        self._pool = pool

    async def create_ahead(self, now_us: int) -> PartitionReport:
        """See `Store`."""
        with translated("maintain the history"):
            async with self._pool.acquire() as conn:
                return await partitions.create_ahead(conn, now_us=now_us)

    async def run_once(self, now_us: int, settings: RetentionSettings) -> PartitionReport:
        """See `Store`."""
        with translated("maintain the history"):
            async with self._pool.acquire() as conn:
                return await partitions.run_once(conn, now_us=now_us, settings=settings)


class Maintenance(TermLoop):
    """Does the maintenance while this replica leads."""

    def __init__(self, *, store: Store, leadership: Leadership, clock: Clock, settings: MaintenanceSettings) -> None:
        """Take the store to maintain, where to learn whether to, the clock, and how often."""
        super().__init__("maintenance", leadership=leadership, clock=clock)
        self._store = store
        self._settings = settings
        self._backoff = Backoff(settings.again_s, settings.every_s, 2.0)
        self._failures = 0
        self._ahead = False
        """Whether this term's first, small round is done."""

    def begin_term(self) -> None:
        """Start with the partitions."""
        self._ahead = False
        self._failures = 0

    async def do_round(self) -> float:
        """Do what is due and return when to go on."""
        try:
            report = await self.run_once()
        except StoreError as error:
            self._failures += 1
            # The first of a row of failures says it all.
            tell = log.warning if self._failures == 1 else log.debug
            tell("maintenance.failed", reason=str(error), failures=self._failures)
            return self._settings.again_s + self._backoff.delay(self._failures, self._clock)
        if self._failures:
            log.info("maintenance.recovered", failures=self._failures)
            self._failures = 0
        first, self._ahead = not self._ahead, True
        if report.deferred:
            return self._settings.again_s
        if first:
            return self._settings.stagger_s * self._clock.random()
        return self._settings.every_s * (1 - JITTER * self._clock.random())

    async def run_once(self) -> PartitionReport:
        """Do a term's first round, partitions alone, or a full one; log what came of it. Raises StoreError."""
        now_us = self._clock.now_us()
        if self._ahead:
            report = await self._store.run_once(now_us, self._settings.retention)
        else:
            report = await self._store.create_ahead(now_us)
        if report.left_in_default:
            # Worth a person's attention: the day's rows will be deleted one by one, which is slow.
            log.warning("maintenance.left_in_default", partitions=report.left_in_default)
        if report != PartitionReport():
            log.info(
                "maintenance.done",
                created=len(report.created),
                moved=report.moved,
                dropped=report.dropped,
                kept=report.kept,
                deleted=dict(report.deleted),
                deferred=report.deferred,
            )
        return report
