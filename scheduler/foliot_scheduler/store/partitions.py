"""Daily partitions and retention: what keeps the history bounded without long statements.

Theory of operation. Ids are UUIDv7, which begin with the millisecond of creation, so a day (in UTC) is a range of ids, and
each partitioned table has one partition for each day, named like `task_history_20261120`. They are made some days ahead; rows
without a partition go to the table's default partition, so nothing ever fails for want of one. A day that is older than the
retention is dropped whole, by its tables, unless something live still refers to it; then it waits. What lies outside of the
partitions is deleted row by row, a batch at a time.

Adding or dropping a partition keeps others out of the table, the journal among them. It takes milliseconds, but *waiting* for
it would hold up everybody who comes after, for as long as the slowest read takes. So it waits for a lock only as long as nobody
minds, gives up, and is tried again by the next call. Each step is a transaction of its own, and every step looks again whether
it is still to be done: two replicas may be at it at once.

Must not know when it is called (actors.maintenance) and takes the time as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import asyncpg

from foliot.kit.ids import format_uuid
from foliot_scheduler.core.types import HOUR, Micros, Span
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

DAYS_AHEAD: Final = 3
"""How many days after today have partitions: maintenance may fail over a long weekend before rows go to the default."""

IDEMPOTENCY_KEPT: Final = Span(24 * HOUR)
"""How long answers are kept for repeated requests; the contract says it, and commit.sql takes keys over after it."""

DELIVERIES_KEPT: Final = Span(7 * 24 * HOUR)
"""How long deliveries to webhooks are kept after their end: for people to look into what went wrong last week."""

BATCH_ROWS: Final = 10_000
"""Rows that one statement deletes or moves: some 0.1 s of work, which is how long the journal may have to wait for such a row."""

BATCHES_MAX: Final = 100
"""Statements that delete from one table in one call, so that a backlog of one table does not keep the others waiting."""

_LOCK_WAIT: Final = "100ms"
"""How long to wait for a lock while the journal may wait behind us; its callers take it for a slow commit."""

_CHANGE_TIMEOUT: Final = "1500ms"
"""How long one statement may take while others are kept out: less than the 2 s for which a leader trusts its last commit."""

_ROWS_TIMEOUT: Final = "5s"
"""How long one statement may take that keeps nobody out."""

_ID_BYTES: Final = 16
_MS_BYTES: Final = 6
_EPOCH: Final = date(1970, 1, 1)

_GIVEN_UP: Final = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError)

_SQL: Final = Queries("queries/partitions.sql")

T = TypeVar("T")


class PartitionedTable(NamedTuple):
    """A table with a partition for each day."""

    name: str
    key: str
    """The column that holds the id its partitions are bounded by."""


TABLES: Final = (
    PartitionedTable("task_history", "id"),
    PartitionedTable("run_history", "id"),
    PartitionedTable("attempt", "task_id"),
    PartitionedTable("task_log", "task_id"),
    PartitionedTable("checkpoint", "task_id"),
)
"""All partitioned tables of the schema. Names come from here alone, which is why they may be put into statements."""

_ROW_WISE: Final = ("fire", "fire_span", "job_version", "job", "worker", "api_key", "audit_record")
"""Tables whose rows are deleted one by one after the retention; in this order, as a job goes after its versions."""


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long the history is kept. Raises ValueError for what makes no sense."""

    history: timedelta = timedelta(days=30)
    """How long after their creation ended tasks and runs are kept, with attempts, logs and checkpoints, and how long after the
    fact decided due times, deleted jobs, replaced versions, workers that left, API keys that ended and audit records. Days go
    as a whole, so up to a day longer; at least a day."""

    rollups: timedelta = timedelta(days=400)
    """How long what ended by minute is kept: a year can be compared with the one before. At least as long as the history."""

    def __post_init__(self) -> None:
        if self.history < timedelta(days=1):
            raise ValueError(f"history is kept for a day at least, not {self.history}")
        if self.rollups < self.history:
            raise ValueError(f"rollups are kept for as long as the history at least, not {self.rollups}")


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """What one call did; partitions by their names."""

    created: tuple[str, ...] = ()
    moved: int = 0
    """Rows that were moved out of default partitions into new ones."""
    left_in_default: tuple[str, ...] = ()
    """Partitions that were not made, because the default partition holds more than BATCH_ROWS rows of their day. Those rows are
    found as any other, and deleted row by row when their time comes."""
    dropped: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Partitions older than the retention that something live refers to."""
    deleted: Mapping[str, int] = field(default_factory=dict)
    """Rows that were deleted one by one, by table; tables without any are left out."""
    deferred: tuple[str, ...] = ()
    """Partitions and tables where something is left to do: others were in the way, or it was too much for one call."""


@dataclass(slots=True)
class _Progress:
    """A report being written."""

    created: list[str] = field(default_factory=list)
    moved: int = 0
    left: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    deleted: dict[str, int] = field(default_factory=dict)
    deferred: list[str] = field(default_factory=list)

    def report(self) -> PartitionReport:
        return PartitionReport(
            created=tuple(self.created),
            moved=self.moved,
            left_in_default=tuple(self.left),
            dropped=tuple(self.dropped),
            kept=tuple(self.kept),
            deleted=self.deleted,
            deferred=tuple(self.deferred),
        )


def partition_name(table: PartitionedTable, day: date) -> str:
    """Name the partition of a day."""
    return f"{table.name}_{day:%Y%m%d}"


def day_of(instant: Micros) -> date:
    """The day of an instant, in UTC."""
    return _EPOCH + timedelta(microseconds=instant)


def day_bounds(day: date) -> tuple[bytes, bytes]:
    """The ids of a day: from the first, which belongs to it, to the second, which does not."""
    return _first_id(day), _first_id(day + timedelta(days=1))


def lowest_id(instant: Micros) -> bytes:
    """Return the lowest id that something created at an instant, or later, can have."""
    return (instant // 1_000).to_bytes(_MS_BYTES, "big") + bytes(_ID_BYTES - _MS_BYTES)


def _first_id(day: date) -> bytes:
    return lowest_id(Micros((day - _EPOCH).days * 24 * HOUR))


async def create_ahead(conn: Connection, *, now_us: int) -> PartitionReport:
    """Make the partitions from yesterday to DAYS_AHEAD days after today that are not there. Raises StoreError and its kin.

    Yesterday's, because tasks created before midnight end after it.
    """
    progress = _Progress()
    with translated("create partitions"):
        await _create_ahead(conn, Micros(now_us), progress)
    return progress.report()


async def run_once(conn: Connection, *, now_us: int, settings: RetentionSettings) -> PartitionReport:
    """Make partitions ahead, drop those of days gone by, and delete rows that have had their time.

    `now_us` is in microseconds since the epoch. Raises StoreError and its kin; whatever was done until then stays done. The
    connection must not be in a transaction.
    """
    progress = _Progress()
    with translated("maintain the history"):
        await _create_ahead(conn, Micros(now_us), progress)
        now = Micros(await conn.fetchval(_SQL["earlier_clock"], now_us))
        cutoff = Micros(now - settings.history // timedelta(microseconds=1))
        await _drop_before(conn, cutoff, progress)
        for table in TABLES:
            await _delete(conn, f"{table.name}_default", (lowest_id(cutoff), cutoff), progress)
        for name in _ROW_WISE:
            await _delete(conn, name, (cutoff,), progress)
        await _delete(conn, "failed_dependent", (lowest_id(cutoff),), progress)
        await _delete(conn, "rollup", (Micros(now - settings.rollups // timedelta(microseconds=1)),), progress)
        await _delete(conn, "webhook_delivery_history", (Micros(now - DELIVERIES_KEPT),), progress)
        await _delete(conn, "idempotency", (Micros(now - IDEMPOTENCY_KEPT),), progress)
    return progress.report()


async def _create_ahead(conn: Connection, now: Micros, progress: _Progress) -> None:
    today = day_of(now)
    # Today's first: it is the one that is missed at once.
    days = [today + timedelta(days=ahead) for ahead in (0, -1, *range(1, DAYS_AHEAD + 1))]
    for table in TABLES:
        existing = {row["name"] for row in await conn.fetch(_SQL["partitions_of"], table.name)}
        for day in days:
            name = partition_name(table, day)
            if name in existing:
                continue
            moved = await _attempt(conn, _CHANGE_TIMEOUT, name, partial(_create, conn, table, day, progress), progress)
            if moved is not None:
                progress.created.append(name)
                progress.moved += moved


async def _create(conn: Connection, table: PartitionedTable, day: date, progress: _Progress) -> int | None:
    """Make a day's partition and return how many rows it took over; None: there is none to be made."""
    name = partition_name(table, day)
    lower, upper = day_bounds(day)
    names = {
        "table": table.name,
        "key": table.key,
        "partition": name,
        "lower": format_uuid(lower),
        "upper": format_uuid(upper),
    }
    await conn.execute(_SQL["lock_changes"])
    if name in {row["name"] for row in await conn.fetch(_SQL["partitions_of"], table.name)}:
        return None  # another replica was faster
    await conn.execute(_SQL["lock_for_attaching"].format(**names))
    strays: int = await conn.fetchval(_SQL["count_strays"].format(**names), lower, upper, BATCH_ROWS + 1)
    if strays > BATCH_ROWS:
        progress.left.append(name)
        return None
    await conn.execute(_SQL["create_partition"].format(**names))
    if strays:
        await conn.execute(_SQL["move_strays"].format(**names), lower, upper)
    await conn.execute(_SQL["attach_partition"].format(**names))
    return strays


async def _drop_before(conn: Connection, cutoff: Micros, progress: _Progress) -> None:
    """Drop the days that were over at the cutoff, oldest first."""
    days: dict[date, list[PartitionedTable]] = {}
    for table in TABLES:
        for row in await conn.fetch(_SQL["partitions_of"], table.name):
            day = _day_of_partition(table, row["name"], row["bounds"])
            if day is not None and day < day_of(cutoff):
                days.setdefault(day, []).append(table)
    for day, tables in sorted(days.items()):
        await _drop_day(conn, day, tables, progress)


def _day_of_partition(table: PartitionedTable, name: str, bounds: str) -> date | None:
    """The day a partition is for; None for one that is not ours, which its bounds prove: data is not dropped for its name."""
    try:
        day = date.fromisoformat(name.removeprefix(f"{table.name}_"))
    except ValueError:
        return None
    lower, upper = day_bounds(day)
    ours = f"FOR VALUES FROM ('{format_uuid(lower)}') TO ('{format_uuid(upper)}')"
    return day if name == partition_name(table, day) and bounds == ours else None


async def _drop_day(conn: Connection, day: date, tables: list[PartitionedTable], progress: _Progress) -> None:
    """Drop a day's partitions, or keep them for what is live."""
    names = [partition_name(table, day) for table in tables]
    ask = partial(conn.fetchval, _SQL["is_waited_for"], *day_bounds(day))
    waited_for = await _attempt(conn, _ROWS_TIMEOUT, names[0], ask, progress)
    if waited_for is None:
        return
    if waited_for:
        progress.kept += names
        return
    for table, name in zip(tables, names, strict=True):
        dropped = await _attempt(conn, _CHANGE_TIMEOUT, name, partial(_drop, conn, table, day), progress)
        if dropped is not None:
            (progress.dropped if dropped else progress.kept).append(name)


async def _drop(conn: Connection, table: PartitionedTable, day: date) -> bool | None:
    """Drop one partition unless something live refers to its day; None: it is gone already."""
    name = partition_name(table, day)
    await conn.execute(_SQL["lock_changes"])
    if name not in {row["name"] for row in await conn.fetch(_SQL["partitions_of"], table.name)}:
        return None
    # Locked before it is asked: a task of that day that is being retried is live by then, or its commit waits.
    await conn.execute(_SQL["lock_for_dropping"].format(table=table.name))
    if await conn.fetchval(_SQL["is_alive"], *day_bounds(day)):
        return False
    await conn.execute(_SQL["drop_partition"].format(partition=name))
    if table.name == "task_history":
        await conn.execute(_SQL["forget_counts"], (day - _EPOCH).days)
    return True


async def _delete(conn: Connection, table: str, limits: tuple[object, ...], progress: _Progress) -> None:
    """Delete what a table has from before the limits, batch by batch."""
    statement = _SQL[f"delete_{table}"]
    for _ in range(BATCHES_MAX):
        gone: int | None = await _attempt(
            conn, _ROWS_TIMEOUT, table, partial(conn.fetchval, statement, *limits, BATCH_ROWS), progress
        )
        if gone is None:
            return
        if gone:
            progress.deleted[table] = progress.deleted.get(table, 0) + gone
        if gone < BATCH_ROWS:
            return
    progress.deferred.append(table)


async def _attempt(conn: Connection, limit: str, what: str, work: Callable[[], Awaitable[T]], progress: _Progress) -> T | None:
    """Do one step in a transaction, or give up, leave nothing of it, and note what is left to do."""
    try:
        async with conn.transaction():
            await conn.execute(_SQL["limit_waiting"], _LOCK_WAIT, limit)
            return await work()
    except _GIVEN_UP:
        progress.deferred.append(what)
        return None
