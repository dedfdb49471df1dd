"""WebhookService on a whole replica; sending is shown elsewhere, nothing is sent here."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Awaitable
from typing import Any

import pytest

from foliot.client import Client
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import task_pb2
from foliot.v1 import webhook_pb2 as pb
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.subscriptions import CUT_RESULT, RESULT_BYTES_MAX
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, new_task

GHOST = str(uuid.UUID(int=7))
URL = "https://receiver.test/hook?token=1"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def create(client: Client, **fields: Any) -> pb.CreateWebhookResponse:
    return await client.webhooks.CreateWebhook(pb.CreateWebhookRequest(**{"url": URL, **fields}))


async def update(stack: Stack, webhook_id: str, *names: str, secret: str = "", **fields: Any) -> pb.Webhook:
    request = pb.UpdateWebhookRequest(
        webhook_id=webhook_id, webhook=pb.Webhook(**fields), update_fields=names or fields.keys(), secret=secret
    )
    return (await stack.client.webhooks.UpdateWebhook(request)).webhook


async def deliveries(client: Client, webhook_id: str, **fields: Any) -> pb.ListWebhookDeliveriesResponse:
    return await client.webhooks.ListWebhookDeliveries(pb.ListWebhookDeliveriesRequest(webhook_id=webhook_id, **fields))


async def error_of(call: Awaitable[object]) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await call
    return caught.value


async def test_a_webhook_is_made_shown_changed_and_deleted(stack: Stack) -> None:
    made = await create(stack.client, description="d", events=[pb.WEBHOOK_EVENT_TASK_FAILED], secret=SECRET)
    webhook = made.webhook
    assert made.secret == SECRET
    assert (webhook.url, webhook.description, list(webhook.events)) == (URL, "d", [pb.WEBHOOK_EVENT_TASK_FAILED])
    assert webhook.enabled
    get = pb.GetWebhookRequest(webhook_id=webhook.id)
    assert (await stack.client.webhooks.GetWebhook(get)).webhook == webhook
    other = (await create(stack.client, disabled=True)).webhook
    assert not other.enabled
    page = await stack.client.webhooks.ListWebhooks(pb.ListWebhooksRequest(page_size=1))
    assert (page.total, [each.id for each in page.webhooks]) == (2, [other.id])

    changed = await update(stack, webhook.id, url="http://other.test/", events=[], enabled=False, description="")
    assert (changed.url, list(changed.events), changed.enabled, changed.description) == ("http://other.test/", [], False, "")
    assert changed.updated_at.ToMicroseconds() >= webhook.updated_at.ToMicroseconds()
    assert (await stack.client.webhooks.GetWebhook(get)).webhook == changed

    await stack.client.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=webhook.id))
    assert (await error_of(stack.client.webhooks.GetWebhook(get))).reason is ErrorReason.NOT_FOUND
    assert (await error_of(deliveries(stack.client, webhook.id))).reason is ErrorReason.NOT_FOUND


async def test_a_secret_is_shown_once(stack: Stack) -> None:
    made = await create(stack.client)
    assert made.secret.startswith("whsec_")
    assert len(base64.b64decode(made.secret.removeprefix("whsec_"))) == 32
    assert made.secret != (await create(stack.client)).secret
    shown = (await stack.client.webhooks.GetWebhook(pb.GetWebhookRequest(webhook_id=made.webhook.id))).webhook
    assert made.secret not in str(shown)
    await update(stack, made.webhook.id, "secret", secret=SECRET)


async def test_a_request_repeated_with_its_key_makes_one_webhook(stack: Stack) -> None:
    first = await create(stack.client, idempotency_key="k")
    assert await create(stack.client, idempotency_key="k") == first
    assert (await error_of(create(stack.client, idempotency_key="k", description="x"))).reason is ErrorReason.IDEMPOTENCY_MISMATCH
    await update(stack, first.webhook.id, "secret", secret=SECRET)
    assert (await create(stack.client, idempotency_key="k")).secret == ""
    assert (await stack.client.webhooks.ListWebhooks(pb.ListWebhooksRequest())).total == 1

    test = pb.TestWebhookRequest(webhook_id=first.webhook.id, idempotency_key="t")
    delivery = (await stack.client.webhooks.TestWebhook(test)).delivery
    assert (await stack.client.webhooks.TestWebhook(test)).delivery == delivery
    assert (await deliveries(stack.client, first.webhook.id)).total == 1


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "url"),
    ({"url": "/hook"}, "url"),
    ({"url": "ftp://receiver.test/"}, "url"),
    ({"url": "https://user:password@receiver.test/"}, "url"),
    ({"url": "https://user@receiver.test/"}, "url"),
    ({"url": "https://receiver.test/" + "x" * 2048}, "url"),
    ({"url": "https://receiver.test:70000/"}, "url"),
    ({"url": "https://[::::]/"}, "url"),
    ({"description": "x" * 4097}, "description"),
    ({"description": "\0"}, "description"),
    ({"events": [pb.WEBHOOK_EVENT_UNSPECIFIED]}, "events[0]"),
    ({"events": [pb.WEBHOOK_EVENT_TASK_FAILED, pb.WEBHOOK_EVENT_TEST]}, "events[1]"),
    ({"events": [pb.WEBHOOK_EVENT_TASK_FAILED] * 101}, "events"),
    ({"secret": "short"}, "secret"),
    ({"secret": "whsec_" + base64.b64encode(bytes(23)).decode()}, "secret"),
    ({"secret": "whsec_" + base64.b64encode(bytes(65)).decode()}, "secret"),
    ({"secret": "whsec_not base64 at all, but quite long enough"}, "secret"),
    ({"secret": SECRET.removeprefix("whsec_")}, "secret"),
    ({"idempotency_key": "x" * 256}, "idempotency_key"),
]


async def test_bad_fields_are_named(stack: Stack) -> None:
    for fields, field in BAD_FIELDS:
        error = await error_of(create(stack.client, **fields))
        assert [each.field for each in error.fields] == [field]
        assert "secret" not in fields or fields["secret"] not in str(error)
    assert (await stack.client.webhooks.ListWebhooks(pb.ListWebhooksRequest())).total == 0


async def test_bad_changes_are_named_and_change_nothing(stack: Stack) -> None:
    webhook = (await create(stack.client)).webhook
    for names, fields, secret, field in (
        ((), {}, "", "update_fields"),
        (("project",), {}, "", "update_fields[0]"),
        (("url", "enabled"), {"url": "x"}, "", "webhook.url"),
        (("events",), {"events": [99]}, "", "webhook.events[0]"),
        (("description",), {"description": "x" * 5000}, "", "webhook.description"),
        (("secret",), {}, "whsec_", "secret"),
        (("enabled",), {}, SECRET, "secret"),
    ):
        request = pb.UpdateWebhookRequest(
            webhook_id=webhook.id,
            webhook=pb.Webhook(**fields),
            update_fields=names,
            secret=secret,
        )
        error = await error_of(stack.client.webhooks.UpdateWebhook(request))
        assert [each.field for each in error.fields] == [field]
    assert (await stack.client.webhooks.GetWebhook(pb.GetWebhookRequest(webhook_id=webhook.id))).webhook == webhook


async def test_nothing_of_another_project_is_seen_or_changed(stack: Stack, pool: Pool) -> None:
    webhook = (await create(stack.client)).webhook
    tested = await stack.client.webhooks.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook.id))
    stranger = stack.acting_in("other").webhooks
    for found in (webhook.id, GHOST):
        for call in (
            stranger.GetWebhook(pb.GetWebhookRequest(webhook_id=found)),
            stranger.UpdateWebhook(pb.UpdateWebhookRequest(webhook_id=found, update_fields=["enabled"])),
            stranger.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=found)),
            stranger.TestWebhook(pb.TestWebhookRequest(webhook_id=found)),
            stranger.ListWebhookDeliveries(pb.ListWebhookDeliveriesRequest(webhook_id=found)),
            stranger.RedeliverWebhook(pb.RedeliverWebhookRequest(webhook_id=found, delivery_id=tested.delivery.id)),
        ):
            assert (await error_of(call)).reason is ErrorReason.NOT_FOUND
    assert (await stranger.ListWebhooks(pb.ListWebhooksRequest())).total == 0
    # Its events are its own too.
    await create(stack.acting_in("other"), disabled=False)
    await stack.submit()
    rows = await pool.fetch(
        "SELECT webhook.project, event FROM webhook_delivery JOIN webhook ON webhook.id = webhook_id WHERE event LIKE 'task.%'"
    )
    assert [tuple(row) for row in rows] == [("default", "task.created")]


async def test_an_event_is_in_the_outbox_when_the_answer_comes(stack: Stack) -> None:
    webhook = (await create(stack.client, events=[pb.WEBHOOK_EVENT_TASK_CREATED])).webhook
    silent = (await create(stack.client, disabled=True)).webhook
    task = await stack.submit(name="Example")
    (found,) = (await deliveries(stack.client, webhook.id)).deliveries
    assert (found.event, found.state, found.attempts) == (pb.WEBHOOK_EVENT_TASK_CREATED, pb.DELIVERY_STATE_PENDING, 0)
    assert found.created_at == found.next_attempt_at
    body = json.loads(found.payload_json)
    assert body["event"] == "task.created"
    assert body["timestamp"].endswith("Z")
    assert body["task"] == {
        "id": f"task-{task.id}",
        "name": "Example",
        "status": "pending",
        "result": None,
        "error": None,
        "started_at": None,
        "completed_at": None,
    }
    assert (await deliveries(stack.client, silent.id)).total == 0
    many = task_pb2.SubmitTasksRequest(tasks=[new_task() for _ in range(5)])
    await stack.client.tasks.SubmitTasks(many)
    page = await deliveries(stack.client, webhook.id, page_size=2, offset=1, state=pb.DELIVERY_STATE_PENDING)
    assert (page.total, len(page.deliveries)) == (6, 2)
    assert (await deliveries(stack.client, webhook.id, state=pb.DELIVERY_STATE_FAILED)).total == 0


async def test_a_delivery_is_queued_by_hand(stack: Stack) -> None:
    webhook = (await create(stack.client, disabled=True)).webhook
    tested = (await stack.client.webhooks.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook.id))).delivery
    assert json.loads(tested.payload_json)["event"] == "webhook.test"
    again = pb.RedeliverWebhookRequest(webhook_id=webhook.id, delivery_id=tested.id)
    delivery = (await stack.client.webhooks.RedeliverWebhook(again)).delivery
    assert (delivery.id, delivery.state) == (tested.id, pb.DELIVERY_STATE_PENDING)
    ghost = pb.RedeliverWebhookRequest(webhook_id=webhook.id, delivery_id=GHOST)
    assert (await error_of(stack.client.webhooks.RedeliverWebhook(ghost))).reason is ErrorReason.NOT_FOUND
    malformed = pb.RedeliverWebhookRequest(webhook_id=webhook.id, delivery_id="x")
    assert [each.field for each in (await error_of(stack.client.webhooks.RedeliverWebhook(malformed))).fields] == ["delivery_id"]


async def test_a_project_has_a_hundred_webhooks_at_most(stack: Stack) -> None:
    for _ in range(CoreSettings().project_webhooks_max):
        await create(stack.client)
    error = await error_of(create(stack.client))
    assert (error.reason, "100" in error.message) == (ErrorReason.WRONG_STATE, True)
    await create(stack.acting_in("other"))


async def test_a_page_of_deliveries_is_bounded_whatever_the_tasks_wrote(stack: Stack, pool: Pool) -> None:
    webhook_id = (await create(stack.client, disabled=True)).webhook.id
    facts = json.dumps([base64.b64encode(bytes(16)).decode(), "name", "succeeded", 1, 2, ""])
    await pool.execute(
        """
        INSERT INTO webhook_delivery_history (
            id, webhook_id, created_at, ended_at, generation, attempts, status_code, state, event, error, facts, result
        )
        SELECT gen_random_uuid(), $1, now(), now(), 1, 1, 200, 'delivered', 'task.completed', '', $2, $3
        FROM generate_series(1, 100)
        """,
        uuid.UUID(webhook_id).bytes,
        facts,
        b"\1" * RESULT_BYTES_MAX,
    )
    page = await deliveries(stack.client, webhook_id)
    results = [json.loads(one.payload_json)["task"]["result"] for one in page.deliveries]
    assert (page.total, len(results)) == (100, 100)
    assert page.ByteSize() < 12 * 1024 * 1024
    assert results[0] == "\1" * RESULT_BYTES_MAX, "the newest come whole"
    assert results[-1].endswith(CUT_RESULT)
    error = await error_of(deliveries(stack.client, webhook_id, page_size=101))
    assert [violation.field for violation in error.fields] == ["page_size"]
