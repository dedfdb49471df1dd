"""What each operation on webhooks asks of the scheduler."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from foliot.v1 import webhook_pb2
from foliot_gateway.apis.tasks import webhook_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One, PageOf, page_meta, page_offset
from foliot_gateway.apis.tasks.fields import RULE_STATUS
from foliot_gateway.apis.tasks.identifiers import DELIVERY, WEBHOOK
from foliot_gateway.apis.tasks.shapes import Deleted
from foliot_gateway.apis.tasks.words import DELIVERY_STATES, DELIVERY_STATUS, EVENT_NAMES, EVENTS, SUBSCRIBED
from foliot_gateway.http.json_text import broken
from foliot_gateway.http.operation import Call, NoBody, NoQuery, Reply
from foliot_gateway.http.times import moment, required_moment


async def create_webhook(call: Call[NoQuery, shapes.NewWebhook]) -> Reply:
    """`POST /api/webhooks`."""
    given = call.body
    request = webhook_pb2.CreateWebhookRequest(
        url=given.url,
        description=given.description or "",
        events=[EVENTS[name] for name in given.events],
        disabled=not given.enabled,
        secret=_secret(given.secret) if given.secret is not None else "",
        idempotency_key=call.idempotency_key,
    )
    answer = await call.backend.ask(call.backend.webhooks.CreateWebhook, request)
    shown = webhook(answer.webhook)
    created = shapes.CreatedWebhook(**msgspec.structs.asdict(shown), secret=answer.secret or None)
    return Reply(status=201, body=One(data=created), headers={"location": f"webhooks/{shown.id}"})


async def list_webhooks(call: Call[shapes.WebhookListQuery, NoBody]) -> Reply:
    """`GET /api/webhooks`."""
    query = call.query
    request = webhook_pb2.ListWebhooksRequest(page_size=query.limit, offset=page_offset(query.page, query.limit))
    answer = await call.backend.ask(call.backend.webhooks.ListWebhooks, request)
    webhooks = [webhook(one) for one in answer.webhooks]
    return Reply(status=200, body=PageOf(data=webhooks, meta=page_meta(query.page, query.limit, answer.total)))


async def get_webhook(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/webhooks/{webhook_id}`."""
    request = webhook_pb2.GetWebhookRequest(webhook_id=_uuid(call))
    answer = await call.backend.ask(call.backend.webhooks.GetWebhook, request)
    return Reply(status=200, body=One(data=webhook(answer.webhook)))


async def update_webhook(call: Call[NoQuery, shapes.WebhookChange]) -> Reply:
    """`PUT /api/webhooks/{webhook_id}`."""
    change = call.body
    request = webhook_pb2.UpdateWebhookRequest(webhook_id=_uuid(call))
    changed, names = request.webhook, request.update_fields
    if change.url is not UNSET:
        names.append("url")
        changed.url = change.url
    if change.events is not UNSET:
        names.append("events")
        changed.events.extend(EVENTS[name] for name in change.events)
    if change.description is not UNSET:
        names.append("description")
        changed.description = change.description or ""
    if change.enabled is not UNSET:
        names.append("enabled")
        changed.enabled = change.enabled
    if change.secret is not UNSET:
        names.append("secret")
        request.secret = _secret(change.secret)
    if not names:
        broken("", "must name a field to change", rule_status=RULE_STATUS)
    answer = await call.backend.ask(call.backend.webhooks.UpdateWebhook, request)
    return Reply(status=200, body=One(data=webhook(answer.webhook)))


async def delete_webhook(call: Call[NoQuery, NoBody]) -> Reply:
    """`DELETE /api/webhooks/{webhook_id}`."""
    request = webhook_pb2.DeleteWebhookRequest(webhook_id=_uuid(call))
    await call.backend.ask(call.backend.webhooks.DeleteWebhook, request)
    return Reply(status=200, body=One(data=Deleted(success=True, message="Webhook deleted successfully")))


async def list_deliveries(call: Call[shapes.DeliveryListQuery, NoBody]) -> Reply:
    """`GET /api/webhooks/{webhook_id}/deliveries`."""
    query = call.query
    request = webhook_pb2.ListWebhookDeliveriesRequest(
        webhook_id=_uuid(call), page_size=query.limit, offset=page_offset(query.page, query.limit)
    )
    if query.status is not UNSET:
        request.state = DELIVERY_STATES[query.status]
    answer = await call.backend.ask(call.backend.webhooks.ListWebhookDeliveries, request)
    deliveries = [delivery(one) for one in answer.deliveries]
    return Reply(status=200, body=PageOf(data=deliveries, meta=page_meta(query.page, query.limit, answer.total)))


async def test_webhook(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/webhooks/{webhook_id}/test`."""
    request = webhook_pb2.TestWebhookRequest(webhook_id=_uuid(call), idempotency_key=call.idempotency_key)
    answer = await call.backend.ask(call.backend.webhooks.TestWebhook, request)
    return Reply(status=202, body=One(data=delivery(answer.delivery)))


async def redeliver(call: Call[NoQuery, NoBody]) -> Reply:
    """`POST /api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver`."""
    request = webhook_pb2.RedeliverWebhookRequest(webhook_id=_uuid(call), delivery_id=DELIVERY.uuid(call.path["delivery_id"]))
    answer = await call.backend.ask(call.backend.webhooks.RedeliverWebhook, request)
    return Reply(status=202, body=One(data=delivery(answer.delivery)))


def webhook(found: webhook_pb2.Webhook) -> shapes.Webhook:
    """Return a webhook as it stands."""
    return shapes.Webhook(
        id=WEBHOOK.shown(found.id),
        url=found.url,
        description=found.description or None,
        events=[SUBSCRIBED[event] for event in sorted(found.events)],
        enabled=found.enabled,
        disabled_reason=found.disabled_reason or None,
        created_at=required_moment(found.created_at),
        updated_at=required_moment(found.updated_at),
    )


def delivery(found: webhook_pb2.WebhookDelivery) -> shapes.Delivery:
    """Return a delivery as it stands."""
    return shapes.Delivery(
        id=DELIVERY.shown(found.id),
        webhook_id=WEBHOOK.shown(found.webhook_id),
        event=EVENT_NAMES[found.event],
        status=DELIVERY_STATUS[found.state],
        attempts=found.attempts,
        status_code=found.status_code or None,
        error=found.error or None,
        created_at=required_moment(found.created_at),
        next_attempt_at=moment(found, "next_attempt_at"),
        completed_at=moment(found, "ended_at"),
        payload=msgspec.Raw(found.payload_json.encode("utf-8")),
    )


def _uuid(call: Call[NoQuery, NoBody] | Call[NoQuery, shapes.WebhookChange] | Call[shapes.DeliveryListQuery, NoBody]) -> str:
    return WEBHOOK.uuid(call.path["webhook_id"])


def _secret(given: str) -> str:
    """Refuse an empty secret, by which the contract understands that there is none."""
    if not given:
        broken("secret", "must be whsec_ and the Base64 of 24 to 64 bytes", rule_status=RULE_STATUS)
    return given
