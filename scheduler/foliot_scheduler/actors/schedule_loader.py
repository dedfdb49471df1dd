"""The schedule loader: brings jobs into the leader's memory before they are due.

Theory of operation. Schedules far in the future stay in PostgreSQL. Twice a minute the loader reads the jobs that fire before a
horizon some way ahead and that the leader does not know yet, and posts them. Each round reads on from the horizon of the last:
a job that is not in memory was not changed in this term, so one that fires before that horizon was read then.

What must not happen is that an old row becomes the truth: the leader would decide a due time a second time. Between the read and
the moment its command is applied, everything may change. Within a term that is harmless by one rule: *a job in memory is the
truth, and never leaves the memory while the term lasts*. A job that the leader changed meanwhile, or created, or deleted, is in
its memory since then, and JobsDue leaves it alone; one that is not in memory has not changed since the term began, so its row is
as good as at the time of the read. Between terms nothing holds: another leader may have moved the job on while this replica
waited to lead again. So a row is posted only to the very term in which its reading began; `_post` looks, and nothing can come
between its look and the mailbox, as it does not await.

(A deposed leader that does not know it yet may read the new leader's rows. Its commits are fenced, so that changes nothing.)
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from foliot.kit.errors import FoliotError
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.term_loop import TermLoop
from foliot_scheduler.core.commands import JobsDue
from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import schedules
from foliot_scheduler.store.clock import read_clock
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.pool import Connection, Pool, Row, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.core.model import Job
    from foliot_scheduler.core.types import JobId

JITTER: Final = 0.1
"""By what share a pause is shortened at most, so that it does not keep in step with what else happens each half minute."""

CHUNK: Final = 50
"""Jobs that are converted before others on the event loop get their turn. A spec of a few tasks takes about 0.1 ms."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLoaderSettings:
    """When and how far schedules are read ahead. Raises ValueError for what makes no sense."""

    every_s: float = 30.0
    """Seconds between two rounds."""

    ahead_s: float = 90.0
    """How far ahead to read, in seconds: three rounds, so that two in a row may fail before a job fires late."""

    retry_s: float = 2.0
    """Seconds until the next round after one that failed."""

    def __post_init__(self) -> None:
        if not 0 < self.retry_s <= self.every_s < self.ahead_s:
            raise ValueError(f"reading ahead needs 0 < retry_s <= every_s < ahead_s, not {self}")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one round did."""

    seen: int
    """Jobs that fire in the span it read."""
    loaded: int
    """Those that the leader did not know and was given."""
    horizon: Micros
    """Every job that fires before it is in the leader's memory, or will be when its mailbox is empty."""
    complete: bool
    """False: the term ended or the leader was overloaded, and the horizon is that of the round before."""


class DueReader(Protocol):
    """Reads schedules, all in one connection."""

    async def read_clock(self) -> Micros:
        """Read the store's time, which the leader fires by; raises StoreError."""

    def due_jobs(self, *, since: Micros, until: Micros) -> AsyncGenerator[list[JobId], None]:
        """Read the ids of jobs that fire within a span, earliest first, in pages; raises StoreError."""

    async def read_jobs(self, ids: Sequence[JobId]) -> Sequence[Row]:
        """Read jobs with the spec of their version; raises StoreError."""


class Schedules(Protocol):
    """Where schedules are read from."""

    def reading(self) -> AbstractAsyncContextManager[DueReader]:
        """Lend a reader for one round; raises StoreError."""


class PooledSchedules:
    """Reads schedules over a connection of the pool."""

    def __init__(self, pool: Pool, shard: int) -> None:
        """Take the pool and the shard whose jobs are read."""
        self._pool = pool
        self._shard = shard

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[DueReader]:
        """See `Schedules`."""
        with translated("read schedules"):
            conn = await self._pool.acquire()
        try:
            yield _ConnectionReader(conn, self._shard)
        finally:
            with translated("read schedules"):
                await self._pool.release(conn)


class _ConnectionReader:
    def __init__(self, conn: Connection, shard: int) -> None:
        self._conn = conn
        self._shard = shard

    async def read_clock(self) -> Micros:
        return await read_clock(self._conn)

    def due_jobs(self, *, since: Micros, until: Micros) -> AsyncGenerator[list[JobId], None]:
        return schedules.due_jobs(self._conn, self._shard, since=since, until=until)

    async def read_jobs(self, ids: Sequence[JobId]) -> Sequence[Row]:
        return await schedules.read_jobs(self._conn, ids)


class ScheduleLoader(TermLoop):
    """Reads schedules ahead while this replica leads."""

    def __init__(
        self,
        *,
        store: Schedules,
        leadership: Leadership,
        clock: Clock,
        job_from_row: Callable[[Row], Job],
        settings: ScheduleLoaderSettings,
    ) -> None:
        """Take where schedules are, the door to the leader, the clock, how rows become jobs, and how often."""
        super().__init__("schedule_loader", leadership=leadership, clock=clock)
        self._store = store
        self._job_from_row = job_from_row
        self._settings = settings
        self._horizon = Micros(0)
        self._failures = 0

    def begin_term(self) -> None:
        """Read everything that is due, from the beginning of time: nothing of it is in the new leader's memory."""
        self._horizon = Micros(0)
        self._failures = 0

    async def do_round(self) -> float:
        """Read ahead once and return when to go on."""
        try:
            report = await self.run_once()
        except StoreError as error:
            self._failures += 1
            tell = log.warning if self._failures == 1 else log.debug
            tell("schedule_loader.failed", reason=str(error), failures=self._failures)
            return self._settings.retry_s
        if self._failures:
            log.info("schedule_loader.recovered", failures=self._failures)
            self._failures = 0
        if report.loaded:
            log.debug("schedule_loader.loaded", seen=report.seen, loaded=report.loaded)
        if not report.complete:
            return self._settings.retry_s
        return self._settings.every_s * (1 - JITTER * self._clock.random())

    async def run_once(self) -> LoadReport:
        """Read the jobs that fire before the new horizon, and post those that the leader does not know. Raises StoreError."""
        epoch = self._leadership.epoch
        since = self._horizon
        seen = loaded = 0
        async with self._store.reading() as reader:
            until = Micros(await reader.read_clock() + round(self._settings.ahead_s * 1_000_000))
            async with contextlib.aclosing(reader.due_jobs(since=since, until=until)) as pages:
                async for page in pages:
                    seen += len(page)
                    unknown = [job_id for job_id in page if not self._leadership.knows_job(job_id)]
                    if not unknown:
                        continue
                    jobs = await self._convert(await reader.read_jobs(unknown))
                    if not self._post(JobsDue(jobs), epoch):
                        return LoadReport(seen, loaded, since, complete=False)
                    loaded += len(jobs)
        if until <= since:  # the clock was set back
            return LoadReport(seen, loaded, since, complete=True)
        if self._leadership.epoch != epoch:
            return LoadReport(seen, loaded, since, complete=False)
        # Not before the last page: an earlier one may end among jobs of one instant.
        self._horizon = until
        return LoadReport(seen, loaded, until, complete=True)

    async def _convert(self, rows: Sequence[Row]) -> list[Job]:
        jobs: list[Job] = []
        for number, row in enumerate(rows, start=1):
            try:
                jobs.append(self._job_from_row(row))
            except Exception:  # a row that this version of the code cannot read must not keep all others from firing
                log.exception("schedule_loader.unreadable_job", job_id=format_uuid(row["id"]))
            if number % CHUNK == 0:
                await self._clock.sleep(0)
        return jobs

    def _post(self, command: JobsDue, epoch: int) -> bool:
        """Give the leader jobs, if the term is still the one they were read in and it takes them. Must not await."""
        if self._leadership.epoch != epoch:
            return False
        try:
            self._leadership.post(command)
        except FoliotError as error:  # overloaded, or stopping
            log.debug("schedule_loader.refused", reason=error.reason.name)
            return False
        return True
