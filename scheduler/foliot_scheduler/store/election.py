"""Who leads: the lock, the epoch, and what followers may read of them.

The lock is a session's: PostgreSQL gives it to the next replica the moment its holder's connection is gone. The epoch is what
fences: it grows by one with each term, every commit proves it, and taking it waits for the old leader's commit under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from foliot_scheduler.store.errors import Fenced
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.core.types import Micros

LOCK_WAIT_S = 10
"""How long one wait for the lock lasts before it begins anew. A waiting statement holds back the clean-up of dead rows in the
whole database, so it must not wait for days; the lock's queue makes the short gap harmless."""

ANSWER_WITHIN_S = 5.0
"""How long a host may be silent before it counts as dead: a connection to one that is gone without a word never breaks by itself.
As long as others wait before they replace a leader that does not prove its term."""

EPOCH_WITHIN_S = 20.0
"""How long taking the epoch may wait for the old leader's commit under way, which gives up after 15 s itself."""

_SQL = Queries("queries/election.sql")


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads a shard, as PostgreSQL has it."""

    epoch: int
    leader: str
    """Empty: nobody does."""
    address: str
    elected_at: Micros
    silent_s: float
    """How long ago the leader last proved its term, by PostgreSQL's clock."""


async def ensure_row(conn: Connection, shard: int) -> None:
    """Make the shard's row if it was never led."""
    with translated("prepare the election"):
        await conn.execute(_SQL["ensure_row"], shard, timeout=ANSWER_WITHIN_S)


async def wait_for_lock(conn: Connection, shard: int) -> bool:
    """Wait up to LOCK_WAIT_S for the shard's lock, and return whether it is ours. It is held until the connection closes."""
    with translated("wait for the leader's lock"):
        await conn.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'", timeout=ANSWER_WITHIN_S)
        try:
            await conn.execute(_SQL["wait_for_lock"], shard, timeout=LOCK_WAIT_S + ANSWER_WITHIN_S)
            ours = True
        except asyncpg.LockNotAvailableError:
            ours = False
        # Not after any other error: the connection may have nobody at its other end.
        await conn.execute("SET lock_timeout = 0", timeout=ANSWER_WITHIN_S)
        return ours


async def take_epoch(conn: Connection, shard: int) -> tuple[int, Micros]:
    """Begin a term and return its epoch and beginning; waits for the commits of the term before."""
    with translated("begin a term"):
        row = await conn.fetchrow(_SQL["take_epoch"], shard, timeout=EPOCH_WITHIN_S)
    assert row is not None, "ensure_row comes first"
    return row["epoch"], row["elected_at"]


async def announce(conn: Connection, shard: int, epoch: int, *, leader: str, address: str) -> None:
    """Say who leads and where; raises Fenced when the term is over."""
    with translated("announce the term"):
        proven = await conn.fetchval(_SQL["announce"], shard, epoch, leader, address, timeout=ANSWER_WITHIN_S)
    if proven is None:
        raise Fenced(f"epoch {epoch} of shard {shard} is over")


async def renew(conn: Connection, shard: int, epoch: int) -> Micros:
    """Prove a term, and answer PostgreSQL's time; raises Fenced when the term is over."""
    with translated("renew the term"):
        proven_at: Micros | None = await conn.fetchval(_SQL["renew"], shard, epoch, timeout=ANSWER_WITHIN_S)
    if proven_at is None:
        raise Fenced(f"epoch {epoch} of shard {shard} is over")
    return proven_at


async def release_lock(conn: Connection, shard: int) -> None:
    """Give the shard's lock to whoever waits for it, at once; the epoch's holder must commit nothing any more."""
    with translated("release the leader's lock"):
        await conn.execute(_SQL["release_lock"], shard, timeout=ANSWER_WITHIN_S)


async def resign(conn: Connection, shard: int, epoch: int) -> None:
    """Say that a term was left in good order, if no other has begun since."""
    with translated("resign"):
        await conn.execute(_SQL["resign"], shard, epoch, timeout=ANSWER_WITHIN_S)


async def read_leadership(conn: Connection, shard: int) -> Leadership | None:
    """Return who leads; None for a shard that was never led."""
    with translated("read who leads"):
        row = await conn.fetchrow(_SQL["read_leadership"], shard)
    return None if row is None else Leadership(**dict(row))


async def end_stalled(conn: Connection, shard: int, *, silent_s: float) -> bool:
    """End the session that holds the lock if its leader has been silent for so many seconds; return whether it was."""
    with translated("end a stalled leader"):
        return bool(await conn.fetch(_SQL["end_stalled"], shard, silent_s))
