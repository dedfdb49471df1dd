"""Revival: has tasks that failed because of a dependency asked again once it has succeeded after all.

The engine knows no ended tasks. The commit that records such a success marks who is to be asked, so nothing is forgotten however
terms end; this part reads the marks while it leads, and takes those tasks' rows to the engine, which decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.term_loop import TermLoop
from foliot_scheduler.core.commands import PutBackDependents
from foliot_scheduler.specs.records import task_from_row
from foliot_scheduler.store import dependents
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.pool import translated

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.core.types import TaskId
    from foliot_scheduler.specs.tasks import TaskPlans
    from foliot_scheduler.store.pool import Pool

EVERY_S: Final = 0.5
"""How often to look whether anybody is to be asked: one search in an index that is mostly empty."""

AGAIN_S: Final = 0.02
"""How soon to look again after somebody was: links of a chain come one by one."""

RETRY_S: Final = 2.0
"""Seconds until the next look after one that failed, or led to nothing."""

CHUNK: Final = 500
"""Tasks that one command puts back at most, so that others get their turn."""

log = get_logger(__name__)


class Revival(TermLoop):
    """Reads who is to be asked again, while this replica leads."""

    def __init__(self, *, pool: Pool, leadership: Leadership, plans: TaskPlans, clock: Clock) -> None:
        """Take where to read, the door to the leader, how specs become plans, and the clock."""
        super().__init__("revival", leadership=leadership, clock=clock)
        self._pool = pool
        self._plans = plans
        self._asked: frozenset[TaskId] = frozenset()
        """Whom the latest round asked."""

    def begin_term(self) -> None:
        """Nothing is known of the term before."""
        self._asked = frozenset()

    async def do_round(self) -> float:
        """Take those that are due to the leader and return when to go on."""
        epoch = self._leadership.epoch
        try:
            with translated("read dependents to put back"):
                conn = await self._pool.acquire()
            try:
                due = await dependents.read_due(conn, CHUNK)
            finally:
                await self._pool.release(conn)
            if not due.ended and not due.gone:
                return EVERY_S
            if self._leadership.epoch != epoch:
                return RETRY_S  # what was read may be older than the term
            records = [task_from_row(row, self._plans) for row in due.ended]
            await self._leadership.execute(PutBackDependents(records, due.gone, due.states))
        except StoreError as error:
            log.warning("revival.failed", reason=str(error))
            return RETRY_S
        except FoliotError as error:  # overloaded, or the term is over
            log.debug("revival.refused", reason=error.reason.name)
            return RETRY_S
        log.debug("revival.asked", tasks=len(records), gone=len(due.gone))
        asked = frozenset((*due.gone, *(row.id for row in due.ended)))
        # All of them again: the leader has no room for more tasks, say. Asking at once does not make any.
        stuck, self._asked = asked == self._asked, asked
        return RETRY_S if stuck else AGAIN_S
