"""The elector: waits to lead, leads, and starts over.

Theory of operation. A replica waits for the shard's lock on a connection of its own, and commits on that same connection while it
leads: losing the one is losing the other. A process that is stopped keeps its connection, so each waiting replica also watches
how long the leader has been silent, by PostgreSQL's clock, and has PostgreSQL end the connection of one that is stalled. The
epoch fences what a leader does that wakes up afterwards. A term ends only by ending everything it had; the next one starts from
what PostgreSQL holds, as the first did.

A replica that is to stop hands over: it takes no more commands, commits and answers what it took, ends its term, and only then
gives the lock away, by name and not by closing its connection, so that the next leader begins at once. It does not stand again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from foliot.kit.backoff import Backoff
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.leader import LeaderTerm, Term
from foliot_scheduler.store import election
from foliot_scheduler.store.errors import Fenced, SchemaError, StoreError, StoreUnavailable
from foliot_scheduler.store.pool import translated

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.store.commit import EncodedCommit

STALLED_AFTER_S = 5.0
"""A leader silent for so long is replaced. It proves its term twice a second; ten misses in a row are no hiccup."""

STABLE_S = 3.0
"""After so long a term counts as a success. On a full disk one can be begun, and ends with its first commit: each such end makes
the next pause longer, because a term that is begun loads the whole live state."""

WATCH_EVERY_S = 0.5
"""How often a waiting replica looks who leads."""

SHARD = 0
"""The shard this replica stands for; there is one so far, and every live table names it."""

log = get_logger(__name__)


class Establish(Protocol):
    """Makes a term's parts, once its epoch is taken."""

    async def __call__(self, conn: Connection[Record], term: Term) -> LeaderTerm[EncodedCommit]:
        """Load the live state over the connection and return the term, ready to run."""


class Standby(Protocol):
    """Keeps ready what a term needs, while another replica leads."""

    async def warm_up(self, conn: Connection[Record]) -> None:
        """Get ready on the connection that waits for the lock; done again before each wait. Raises StoreError."""

    def cool_down(self) -> None:
        """Let go of what was kept ready."""


class Connect(Protocol):
    """Opens connections outside of the pool."""

    async def __call__(self) -> Connection[Record]:
        """Open one; raises StoreUnavailable."""


class Elector(Part):
    """Stands for election for as long as the process lives."""

    def __init__(
        self,
        *,
        connect: Connect,
        pool: Pool[Record],
        establish: Establish,
        standby: Standby | None = None,
        leadership: Leadership,
        clock: Clock,
        replica: str,
        address: str,
    ) -> None:
        """Take where connections come from, how a term is made, where to announce it, and this replica's name and address."""
        super().__init__("elector")
        self._connect = connect
        self._pool = pool
        self._establish = establish
        self._standby = standby
        self._leadership = leadership
        self._clock = clock
        self._replica = replica
        self._address = address
        self._backoff = Backoff(0.05, 2.0, 2.0)
        self._failures = 0
        """Since this replica last led for a while."""
        self._leave_asked = asyncio.Event()
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Stand for election until asked to leave, then hand over and stand no more."""
        standing = asyncio.create_task(self._stand_again_and_again(), name="elector.stand")
        leaving = asyncio.create_task(self._leave_asked.wait(), name="elector.leave_asked")
        try:
            await asyncio.wait({standing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not standing.done():
                await self._leadership.drain()
        finally:
            standing.cancel()
            leaving.cancel()
            await asyncio.wait({standing, leaving})
            self._left.set()
        if not standing.cancelled():
            standing.result()
        await run_forever()

    async def drain(self) -> None:
        """Hand over: returns when the term is over, with what it took committed, and the lock is another's to take."""
        self._leave_asked.set()
        await self._left.wait()

    async def _stand_again_and_again(self) -> None:
        """Stand for election for ever; what ends a term is logged here, once."""
        while True:
            try:
                await self._stand()
            except Fenced as error:
                log.warning("elector.deposed", reason=str(error))
            except StoreUnavailable as error:
                log.warning("elector.database_unavailable", reason=str(error))
            except SchemaError as error:
                log.warning("elector.schema_mismatch", reason=str(error))  # the schema watch ends this replica
            except StoreError as error:
                # What the leader held and what PostgreSQL holds differ: the next term starts from the latter.
                log.exception("elector.commit_refused", reason=str(error))
            self._failures += 1
            await self._clock.sleep(self._backoff.delay(self._failures, self._clock))

    async def _stand(self) -> None:
        """Wait for the lock and lead once. Whatever happens, the connection is closed: that is what gives the lock away."""
        conn = await self._connect()
        try:
            await election.ensure_row(conn, SHARD)
            watch = asyncio.create_task(self._watch_leader(), name="elector.watch")
            try:
                await self._get_ready(conn)
                while not await election.wait_for_lock(conn, SHARD):
                    if watch.done():
                        watch.result()
                    await self._get_ready(conn)
            finally:
                watch.cancel()
                await asyncio.wait([watch])
            await self._lead(conn)
        finally:
            if self._standby is not None:
                self._standby.cool_down()
            conn.terminate()

    async def _get_ready(self, conn: Connection[Record]) -> None:
        if self._standby is not None:
            await self._standby.warm_up(conn)

    async def _lead(self, conn: Connection[Record]) -> None:
        """Become leader, in this order, and lead until the term is over."""
        # 1. The epoch: from here on the leader before can commit nothing, and what it had committed is there to be read.
        epoch, elected_at = await election.take_epoch(conn, SHARD)
        term = Term(epoch, elected_at, self._replica, self._address)
        # 2. The live state, which nobody can change any more. Loading much takes long: who waits must see that it goes on.
        alive = asyncio.create_task(self._stay_alive(epoch), name="elector.stay_alive")
        try:
            leader = await self._establish(conn, term)
        finally:
            alive.cancel()
            await asyncio.wait([alive])
        # 3. Only then callers and workers: they must find the state whole.
        await election.announce(conn, SHARD, epoch, leader=self._replica, address=self._address)
        self._leadership.begin(leader)
        began = self._clock.monotonic()
        log.info("elector.elected", epoch=epoch, replica=self._replica)
        try:
            await _unwrap(leader)
        except asyncio.CancelledError:
            await _resign(conn, epoch)
            raise
        finally:
            self._leadership.end()
            if self._clock.monotonic() - began >= STABLE_S:
                self._failures = 0

    async def _stay_alive(self, epoch: int) -> None:
        """Renew the term while it is being prepared, over another connection than the one that prepares it."""
        while True:
            try:
                with translated("renew the term"):
                    conn = await self._pool.acquire()
                try:
                    await election.renew(conn, SHARD, epoch)
                finally:
                    await self._pool.release(conn)
            except StoreError as error:
                log.debug("elector.renew_failed", reason=str(error))  # the term itself will find out, and is logged then
            await self._clock.sleep(WATCH_EVERY_S)

    async def _watch_leader(self) -> None:
        """Have a stalled leader's connection ended."""
        while True:
            try:
                with translated("watch who leads"):
                    conn = await self._pool.acquire()
                try:
                    seen = await election.read_leadership(conn, SHARD)
                    if (
                        # Asked only then: to look for who holds the lock, PostgreSQL stops all that take locks for a moment.
                        seen is not None
                        and seen.silent_s > STALLED_AFTER_S
                        and await election.end_stalled(conn, SHARD, silent_s=STALLED_AFTER_S)
                    ):
                        log.warning("elector.ended_stalled_leader", leader=seen.leader)
                finally:
                    await self._pool.release(conn)
            except StoreError as error:
                log.debug("elector.watch_failed", reason=str(error))  # waiting for the lock fails too, and is logged there
            await self._clock.sleep(WATCH_EVERY_S)


async def _unwrap(leader: LeaderTerm[EncodedCommit]) -> None:
    """Run a term; its loops' first error comes out bare, as one error ends it all."""
    try:
        await leader.run()
    except ExceptionGroup as group:  # not `except*`: before Python 3.11.4 what is raised in there is wrapped in a group again
        expected, bugs = group.split(StoreError)
        if expected is None or bugs is not None:
            raise
        raise expected.exceptions[0] from group


async def _resign(conn: Connection[Record], epoch: int) -> None:
    """Give the lock away, and say that nobody leads unless the next one has begun already."""
    try:
        async with asyncio.timeout(1.0):
            await election.release_lock(conn, SHARD)
            await election.resign(conn, SHARD, epoch)
    except (StoreError, TimeoutError) as error:
        log.debug("elector.resign_failed", reason=str(error))
