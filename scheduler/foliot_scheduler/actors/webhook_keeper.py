"""Keeps webhooks in order while this replica leads: disables what is to be disabled, and ends what is left of it.

Senders, on any replica, only note that a receiver wants no more or has failed for too long; the leader makes it so, because the
engine decides whom events go to. What is on its way to webhooks that were disabled or deleted ends here, some at a time, so that
a long backlog neither makes a commit long nor holds up anybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.term_loop import TermLoop
from foliot_scheduler.core.subscriptions import WebhookFailed
from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import deliveries
from foliot_scheduler.store.errors import StoreError

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.store.pool import Pool

EVERY_S: Final = 5.0
"""Seconds between two rounds: how long a disabled webhook's deliveries are shown as pending at most."""

AGAIN_S: Final = 0.1
"""The same when one round was not enough."""

BATCH_ROWS: Final = 1_000
"""Deliveries that one statement ends: some milliseconds of work."""

PENDING_MAX: Final = 1_000_000
"""Deliveries that may wait for one webhook: 200 a minute for as long as they are tried, some 500 MB. One whose receiver is
further behind is disabled, as the database must not fill up for it."""

COUNT_EVERY: Final = 12
"""Rounds between two looks at how many wait: counting a million takes a tenth of a second."""

log = get_logger(__name__)


class WebhookKeeper(TermLoop):
    """Disables webhooks and ends their deliveries while this replica leads."""

    def __init__(self, *, pool: Pool, leadership: Leadership, clock: Clock) -> None:
        """Take the database, where to learn whether this replica leads, and the clock."""
        super().__init__("webhook-keeper", leadership=leadership, clock=clock)
        self._pool = pool
        self._failures = 0
        self._rounds = 0

    def begin_term(self) -> None:
        """Nothing of the term before is known."""

    async def do_round(self) -> float:
        """Do what is to be done and return when to go on."""
        try:
            done = await self.run_once()
        except (StoreError, FoliotError) as error:
            self._failures += 1
            tell = log.warning if self._failures == 1 else log.debug
            tell("webhook_keeper.failed", reason=str(error), failures=self._failures)
            return EVERY_S
        self._failures = 0
        return AGAIN_S if done >= BATCH_ROWS else EVERY_S

    async def run_once(self) -> int:
        """Do one round and return how many deliveries it ended. Raises StoreError, or FoliotError once the term is over."""
        if not await deliveries.is_any(self._pool):
            return 0
        self._rounds += 1
        if self._rounds % COUNT_EVERY == 0:
            reason = f"more than {PENDING_MAX:,} deliveries waited for it"
            await deliveries.judge_overflow(self._pool, pending_max=PENDING_MAX, verdict=reason)
        for webhook_id, generation, reason in await deliveries.read_verdicts(self._pool):
            await self._leadership.execute(WebhookFailed(webhook_id, generation, reason))
            log.warning("webhook.disabled", webhook=format_uuid(webhook_id), reason=reason)
        now = Micros(self._clock.now_us())
        ended = await deliveries.withdraw(self._pool, now=now, limit=BATCH_ROWS)
        return max(ended, await deliveries.clear(self._pool, limit=BATCH_ROWS))
