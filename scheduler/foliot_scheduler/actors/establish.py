"""Makes a term's parts: the live state in an engine, and the writer of its commits.

Theory of operation. What takes time and needs no term is done while a replica waits for its turn: the connection of its commits
knows their statements, and another one is open to load from. When the turn comes, all that is left is to read the rows and make
objects of them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from foliot.kit.logs import get_logger
from foliot_scheduler.actors.leader import LeaderTerm, Term
from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.commit import Committer, EncodedCommit, prepare_commits
from foliot_scheduler.store.election import ANSWER_WITHIN_S
from foliot_scheduler.store.migrate import check_schema
from foliot_scheduler.store.recovery import load_live

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.backlog import BacklogLimits
    from foliot_scheduler.actors.elector import Connect
    from foliot_scheduler.actors.outbox_signal import OutboxSignal
    from foliot_scheduler.actors.sessions import Sessions
    from foliot_scheduler.core.state import CoreSettings

_NO_SHARD: Final = -1
"""Nothing is in it: to load it has the statements known, and tells whether the connection still works."""

log = get_logger(__name__)


class Establisher:
    """Loads what the term before has left and puts the parts of the new one together."""

    def __init__(
        self,
        *,
        connect: Connect,
        sessions: Sessions,
        clock: Clock,
        settings: CoreSettings,
        shard: int,
        outbox: OutboxSignal | None = None,
        limits: BacklogLimits | None = None,
    ) -> None:
        """Take where a connection for loading comes from (closed afterwards), and what a term shares with the process."""
        self._connect = connect
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._shard = shard
        self._outbox = outbox
        self._limits = limits
        self._loader: Connection[Record] | None = None
        """Open while this replica waits for its turn."""
        self._warm: Connection[Record] | None = None
        """The connection that commits are prepared on."""

    async def warm_up(self, conn: Connection[Record]) -> None:
        """Get ready for a term on a connection. May be done again at any time, as what was opened may have broken since."""
        if self._warm is not conn:
            await prepare_commits(conn, self._shard)
            self._warm = conn
        if self._loader is None or self._loader.is_closed():
            self._loader = await self._connect()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await load_live(self._loader, _NO_SHARD)
        except TimeoutError:
            self.cool_down()

    def cool_down(self) -> None:
        """Close what `warm_up` opened."""
        loader, self._loader, self._warm = self._loader, None, None
        if loader is not None:
            loader.terminate()

    async def __call__(self, conn: Connection[Record], term: Term) -> LeaderTerm[EncodedCommit]:
        """Return the term, ready to run; its commits go over `conn`, which holds the lock.

        Raises SchemaError when the schema has left this code behind, StoreUnavailable.
        """
        began = self._clock.monotonic()
        committer = Committer(conn, self._shard, term.epoch, prepared=self._warm is conn)
        await committer.prepare()
        try:
            if self._loader is None or self._loader.is_closed():
                self._loader = await self._connect()
            # The epoch is taken by now: a migration that leaves this code behind is either seen here, or ends this term.
            # Sooner would be too soon: such a migration ends the term before, and so makes it this replica's turn.
            await check_schema(self._loader)
            rows = await load_live(self._loader, self._shard)
        finally:
            self.cool_down()
        loaded = self._clock.monotonic()
        engine = Engine(epoch=term.epoch, new_id=self._clock.uuid7, draw=self._clock.random, settings=self._settings)
        # By PostgreSQL's clock, as everything in the rows.
        now = Micros(term.elected_at + round((self._clock.monotonic() - began) * 1e6))
        await restore(engine, rows, TaskPlans(), now, partial(self._clock.sleep, 0))
        log.info(
            "leader.restored",
            epoch=term.epoch,
            tasks=len(rows.tasks),
            runs=len(rows.runs),
            leases=len(engine.state.leases),
            load_seconds=round(loaded - began, 3),
            seconds=round(self._clock.monotonic() - began, 3),
        )
        return LeaderTerm(
            term=term,
            engine=engine,
            writer=committer,
            sessions=self._sessions,
            clock=self._clock,
            outbox=self._outbox,
            limits=self._limits,
        )
