"""The outbox as those who send see it: what is due, taking it, and recording what came of it.

Any replica may do any of this at any time. A delivery is claimed by counting its attempt up and moving its next one to when the
claim runs out; whatever is recorded afterwards quotes the attempt, so that who was too slow changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from foliot_scheduler.core.subscriptions import DeliveryId, WebhookEvent, WebhookId
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store.columns import clean
from foliot_scheduler.store.outbox import payload
from foliot_scheduler.store.pool import Pool, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.store.webhooks import DeliveryState

_SQL: Final = Queries("queries/deliveries.sql")

WITHDRAWN: Final = "the webhook was disabled"
"""The error of deliveries that ended with their webhook."""


class WaitingWebhook(NamedTuple):
    """A subscription with something due."""

    id: WebhookId
    project: Project
    url: str
    failing_since: Micros | None
    """Since when every try at it has failed; None: the latest did not."""


class ClaimedDelivery(NamedTuple):
    """A delivery to be sent now."""

    id: DeliveryId
    webhook_id: WebhookId
    attempt: int
    step: int
    """The number of this try since it was queued, from 1."""
    body: str
    url: str
    secret: bytes
    project: Project
    generation: int
    """Of the webhook."""


class EndedDelivery(NamedTuple):
    """A delivery that was taken or given up."""

    id: DeliveryId
    attempt: int
    state: DeliveryState
    status_code: int
    error: str


class PostponedDelivery(NamedTuple):
    """A delivery that failed and is tried again."""

    id: DeliveryId
    attempt: int
    next_attempt_at: Micros
    status_code: int
    error: str


class Failure(NamedTuple):
    """A webhook whose receiver failed; a verdict says why it is to be disabled, empty: it is not."""

    webhook_id: WebhookId
    generation: int
    verdict: str


class Verdict(NamedTuple):
    """A webhook that is to be disabled."""

    webhook_id: WebhookId
    generation: int
    reason: str


async def find_waiting(pool: Pool, now: Micros) -> list[WaitingWebhook]:
    """Read which subscriptions have something due."""
    with translated("read what is due"):
        return [WaitingWebhook(*row) for row in await pool.fetch(_SQL["waiting"], now)]


async def claim(pool: Pool, shares: Mapping[WebhookId, int], *, now: Micros, until: Micros) -> list[ClaimedDelivery]:
    """Take what is due, as many of each subscription as its share says; from `until` on it is due again."""
    with translated("claim deliveries"):
        found = await pool.fetch(_SQL["claim"], list(shares), list(shares.values()), now, until)
    return [
        ClaimedDelivery(
            row["id"],
            row["webhook_id"],
            row["attempts"],
            row["step"],
            payload(WebhookEvent(row["event"]), row["created_at"], row["facts"], row["result"]),
            row["url"],
            row["secret"],
            row["project"],
            row["generation"],
        )
        for row in found
    ]


async def end(pool: Pool, ended: Sequence[EndedDelivery], *, now: Micros) -> None:
    """Record what was taken or given up."""
    ids, attempts, states, codes, errors = zip(*ended, strict=True)
    with translated("record deliveries"):
        await pool.execute(_SQL["end"], ids, attempts, states, codes, [clean(error) for error in errors], now)


async def postpone(pool: Pool, postponed: Sequence[PostponedDelivery]) -> None:
    """Record what failed and is tried again."""
    ids, attempts, instants, codes, errors = zip(*postponed, strict=True)
    with translated("record deliveries"):
        await pool.execute(_SQL["postpone"], ids, attempts, instants, codes, [clean(error) for error in errors])


async def note_successes(pool: Pool, webhooks: Sequence[WebhookId]) -> None:
    """Record that receivers do well."""
    with translated("record deliveries"):
        await pool.execute(_SQL["note_success"], webhooks)


async def note_failures(pool: Pool, failures: Sequence[Failure], *, now: Micros) -> None:
    """Record that receivers failed; each webhook at most once."""
    ids, generations, verdicts = zip(*failures, strict=True)
    with translated("record deliveries"):
        await pool.execute(_SQL["note_failure"], now, ids, generations, [clean(verdict) for verdict in verdicts])


async def is_any(pool: Pool) -> bool:
    """Whether there is a subscription, or something left of one."""
    with translated("look for webhooks"):
        found: bool = await pool.fetchval(_SQL["is_any"])
    return found


async def read_verdicts(pool: Pool) -> list[Verdict]:
    """Read which webhooks are to be disabled."""
    with translated("read verdicts on webhooks"):
        return [Verdict(*row) for row in await pool.fetch(_SQL["verdicts"])]


async def withdraw(pool: Pool, *, now: Micros, limit: int) -> int:
    """Give up deliveries to disabled webhooks, at most so many; answer how many."""
    with translated("end deliveries"):
        return len(await pool.fetch(_SQL["withdraw"], limit, now, WITHDRAWN))


async def judge_overflow(pool: Pool, *, pending_max: int, verdict: str) -> None:
    """Have webhooks disabled to which more than so many deliveries are on their way."""
    with translated("count deliveries"):
        await pool.execute(_SQL["overflow"], pending_max, verdict)


async def clear(pool: Pool, *, limit: int) -> int:
    """Forget deliveries of webhooks that were deleted, at most so many of each kind; answer how many."""
    with translated("delete deliveries"):
        gone = len(await pool.fetch(_SQL["clear_pending"], limit)) + len(await pool.fetch(_SQL["clear_ended"], limit))
        await pool.execute(_SQL["clear_remains"])
    return gone
