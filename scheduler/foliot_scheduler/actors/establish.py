"""Makes a term's parts: the live state in an engine, and the writer of its commits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from foliot.kit.logs import get_logger
from foliot_scheduler.actors.leader import LeaderTerm, Term
from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.commit import Committer, EncodedCommit
from foliot_scheduler.store.recovery import load_live

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.backlog import BacklogLimits
    from foliot_scheduler.actors.elector import Connect
    from foliot_scheduler.actors.outbox_signal import OutboxSignal
    from foliot_scheduler.actors.sessions import Sessions
    from foliot_scheduler.core.state import CoreSettings

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
        """Take where a connection for loading comes from (it is closed afterwards), and what a term shares with the process."""
        self._connect = connect
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._shard = shard
        self._outbox = outbox
        self._limits = limits

    async def __call__(self, conn: Connection[Record], term: Term) -> LeaderTerm[EncodedCommit]:
        """Return the term, ready to run; its commits go over `conn`, which holds the lock."""
        began = self._clock.monotonic()
        committer = Committer(conn, self._shard, term.epoch)
        await committer.prepare()
        reader = await self._connect()
        try:
            rows = await load_live(reader, self._shard)
        finally:
            reader.terminate()  # there may be nobody left to take leave of
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
