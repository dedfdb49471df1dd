"""However many deliveries a webhook has, or is behind, what is asked of them reads little more than it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from foliot_scheduler.core.subscriptions import WebhookId
from foliot_scheduler.store import webhooks
from foliot_scheduler.store.pool import MANY_READERS, open_connection
from foliot_scheduler.store.sql import Queries
from foliot_scheduler.store.webhooks import DeliveryState
from tests.integration.store.explained import rows_read

ROWS = 4_000
FEW = 4
PAGE = 50
WEBHOOK = WebhookId(bytes(16))

_FILL = f"""
    INSERT INTO webhook (
        id, created_at, updated_at, generation, enabled, project, url, description, disabled_reason, secret, events
    )
    VALUES ($1, now(), now(), 2, true, 'p', 'http://localhost', '', '', '', '{{}}');
    INSERT INTO webhook_delivery (id, webhook_id, created_at, next_attempt_at, generation, by_hand, event, facts)
    SELECT lpad(to_hex(number), 32, '0')::uuid, $1, now(), now(), 2, false, 'webhook.test', 'null'
    FROM generate_series(1, {ROWS}) AS number;
    INSERT INTO webhook_delivery_history (
        id, webhook_id, created_at, ended_at, generation, attempts, status_code, state, event, error, facts
    )
    SELECT ('f' || lpad(to_hex(number), 31, '0'))::uuid, $1, now(), now(), 2, 1, 200,
           CASE WHEN number % 1000 = 0 THEN 'failed' ELSE 'delivered' END, 'webhook.test', '', 'null'
    FROM generate_series(1, {ROWS}) AS number
"""


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection as readers have it, and a webhook with many deliveries."""
    connection = await open_connection(database_url, settings=MANY_READERS)
    for statement in _FILL.split(";"):
        await connection.execute(statement, WEBHOOK)
    await connection.execute("VACUUM ANALYZE webhook, webhook_delivery, webhook_delivery_history")
    yield connection
    await connection.close()


@pytest.mark.parametrize("state", [None, *DeliveryState])
async def test_a_page_of_deliveries_reads_a_page_of_each_state(
    reader: asyncpg.Connection[asyncpg.Record], state: DeliveryState | None
) -> None:
    read = await rows_read(reader, webhooks._LIST_DELIVERIES[state], [WEBHOOK, PAGE, 0])
    assert read <= (1 if state else 3) * PAGE + 2 * PAGE
    page, total = await webhooks.list_deliveries(reader, WEBHOOK, state=state, limit=PAGE, offset=0)
    expected = {None: 2 * ROWS, DeliveryState.PENDING: ROWS, DeliveryState.FAILED: FEW, DeliveryState.DELIVERED: ROWS - FEW}
    assert (len(page), total) == (min(PAGE, expected[state]), expected[state])
    assert [one.id for one in page] == sorted((one.id for one in page), reverse=True)


async def test_no_more_than_so_many_deliveries_are_counted(
    reader: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "DELIVERIES_COUNTED_MAX", 100)
    _, total = await webhooks.list_deliveries(reader, WEBHOOK, state=None, limit=1, offset=0)
    assert total == 100 + 100 + FEW
    assert await rows_read(reader, webhooks._COUNT_DELIVERIES[None], [WEBHOOK, 100]) <= 200 + FEW


async def test_a_backlog_of_the_present_time_is_not_searched_for_what_is_to_be_withdrawn(
    reader: asyncpg.Connection[asyncpg.Record],
) -> None:
    withdraw = Queries("queries/deliveries.sql")["withdraw"]
    now = await reader.fetchval("SELECT now()")
    assert await rows_read(reader, withdraw, [1_000, now, "disabled"]) < 10
    oldest = "SELECT id FROM webhook_delivery ORDER BY id LIMIT 7"
    await reader.execute(f"UPDATE webhook_delivery SET generation = 1 WHERE id IN ({oldest})")
    assert len(await reader.fetch(withdraw, 1_000, now, "disabled")) == 7
