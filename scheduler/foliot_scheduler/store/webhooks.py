"""What the API reads of webhooks and their deliveries, and the one thing it writes: that a delivery is to be sent again.

Every function sees one project, and raises StoreUnavailable when PostgreSQL does not answer, or not in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from foliot_scheduler.core.effects import AuditRecord
from foliot_scheduler.core.subscriptions import DeliveryId, WebhookEvent, WebhookId
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store import audit
from foliot_scheduler.store.lists import fill
from foliot_scheduler.store.outbox import payload
from foliot_scheduler.store.pool import Pool, Row, translated
from foliot_scheduler.store.reads import Reader
from foliot_scheduler.store.sql import Queries

PAYLOADS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a page of deliveries: half of the largest message. What goes beyond is shown with little of the task's result."""

RESULT_SHOWN_BYTES: Final = 1024
"""How much that is."""

DELIVERIES_COUNTED_MAX: Final = 100_000
"""Of each state: so far counting takes some 10 ms, and nobody turns so many pages."""

_SQL: Final = Queries("queries/webhooks.sql")
_BRANCHES: Final = {"pending": _SQL["pending_columns"], "ended": _SQL["ended_columns"]}
_GET_DELIVERY: Final = fill(_SQL["get_delivery"], **_BRANCHES)


class DeliveryState(StrEnum):
    """Where a delivery stands; the ended ones' values are what PostgreSQL stores."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


def _of_states(query: str, branch: str) -> dict[DeliveryState | None, str]:
    """Write a statement about deliveries in one state, and about those in all, each state by its own index."""
    parts: dict[DeliveryState | None, str] = {
        state: fill(_SQL[f"{'pending' if state is DeliveryState.PENDING else 'ended'}_{branch}"], state=state)
        for state in DeliveryState
    }
    parts[None] = "\nUNION ALL\n".join(parts.values())
    return {state: fill(_SQL[query], branches=part, **_BRANCHES) for state, part in parts.items()}


_LIST_DELIVERIES: Final = _of_states("list_deliveries", "branch")
_COUNT_DELIVERIES: Final = _of_states("count_deliveries", "count")


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A subscription, without its secret."""

    id: WebhookId
    project: Project
    url: str
    description: str
    events: Sequence[WebhookEvent]
    enabled: bool
    disabled_reason: str
    created_at: Micros
    updated_at: Micros


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """An event on its way to one receiver, or there."""

    id: DeliveryId
    webhook_id: WebhookId
    event: WebhookEvent
    state: DeliveryState
    attempts: int
    status_code: int
    error: str
    created_at: Micros
    next_attempt_at: Micros | None
    ended_at: Micros | None
    payload: str
    """The body, JSON."""


def _webhook_row(row: Row) -> WebhookRow:
    return WebhookRow(**{**dict(row), "events": [WebhookEvent(event) for event in row["events"]]})


def _delivery_row(row: Row, payload_bytes_max: int = PAYLOADS_BYTES_MAX) -> DeliveryRow:
    values = dict(row)
    values["event"] = WebhookEvent(values["event"])
    values["state"] = DeliveryState(values["state"])
    facts, result = values.pop("facts"), values.pop("result")
    body = payload(values["event"], values["created_at"], facts, result)
    if len(body.encode()) > payload_bytes_max:
        body = payload(values["event"], values["created_at"], facts, result, result_bytes_max=RESULT_SHOWN_BYTES)
    return DeliveryRow(**values, payload=body)


async def get_webhook(reader: Reader, project: Project, webhook_id: WebhookId) -> WebhookRow | None:
    """Read one subscription."""
    with translated("read a webhook"):
        row = await reader.fetchrow(_SQL["get"], webhook_id, project)
    return None if row is None else _webhook_row(row)


async def get_secret(reader: Reader, project: Project, webhook_id: WebhookId) -> bytes | None:
    """Read the key that signs a subscription's deliveries."""
    with translated("read a webhook"):
        secret: bytes | None = await reader.fetchval(_SQL["get_secret"], webhook_id, project)
    return secret


async def list_webhooks(reader: Reader, project: Project, *, limit: int, offset: int) -> tuple[list[WebhookRow], int]:
    """Read a page of a project's subscriptions, newest first, and how many there are."""
    with translated("list webhooks"):
        found = await reader.fetch(_SQL["list"], project, limit, offset)
        total: int = await reader.fetchval(_SQL["count"], project)
    return [_webhook_row(row) for row in found], total


async def get_delivery(reader: Reader, webhook_id: WebhookId, delivery_id: DeliveryId) -> DeliveryRow | None:
    """Read one delivery of a subscription."""
    with translated("read a delivery"):
        row = await reader.fetchrow(_GET_DELIVERY, delivery_id, webhook_id)
    return None if row is None else _delivery_row(row)


async def list_deliveries(
    reader: Reader, webhook_id: WebhookId, *, state: DeliveryState | None, limit: int, offset: int
) -> tuple[list[DeliveryRow], int]:
    """Read a page of a subscription's deliveries, newest first, and how many there are in that state (None: in all).

    No more than DELIVERIES_COUNTED_MAX of each state are counted.
    Where the page would be larger than PAYLOADS_BYTES_MAX, older deliveries come with less of their tasks' results.
    """
    with translated("list deliveries"):
        found = await reader.fetch(_LIST_DELIVERIES[state], webhook_id, limit, offset)
        total: int = await reader.fetchval(_COUNT_DELIVERIES[state], webhook_id, DELIVERIES_COUNTED_MAX)
    page: list[DeliveryRow] = []
    left = PAYLOADS_BYTES_MAX
    for row in found:
        page.append(_delivery_row(row, left))
        left -= len(page[-1].payload.encode())
    return page, total


async def redeliver(
    pool: Pool, webhook_id: WebhookId, delivery_id: DeliveryId, *, now: Micros, record: AuditRecord | None = None
) -> bool:
    """Have a delivery sent at once, whether it ended or not, and note who asked for it; answer whether there is one."""
    with translated("queue a delivery"):
        async with pool.acquire() as connection, connection.transaction():
            for query in ("hurry", "requeue", "hurry"):  # again, should another have moved it back between the two
                if await connection.fetchval(_SQL[query], delivery_id, webhook_id, now) is not None:
                    if record is not None:
                        await audit.insert_record(connection, record)
                    return True
    return False
