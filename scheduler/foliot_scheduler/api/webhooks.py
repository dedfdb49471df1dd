"""WebhookService: subscriptions to events, and their deliveries.

Subscriptions are the leader's, because the engine decides whom an event goes to; what became of deliveries is read from
PostgreSQL, by any replica. A secret leaves with the answer to the request that made it, and with the same answer when that very
request is repeated under its idempotency key and nothing was changed since; there is no other way to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.ids import format_uuid
from foliot.v1 import webhook_pb2
from foliot_scheduler.api.answers import find_repeated
from foliot_scheduler.api.audits import wish_record
from foliot_scheduler.api.messages import set_instant
from foliot_scheduler.api.requests import enum_of, offset_of, once_of, page_size_of, uuid_of
from foliot_scheduler.api.wishes import Wishes, not_found
from foliot_scheduler.core.access import ADMINISTER, Access
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.subscriptions import (
    CreateWebhook,
    DeleteWebhook,
    DeliveryId,
    DeliveryRecord,
    SendTestEvent,
    UpdateWebhook,
    Webhook,
    WebhookChange,
    WebhookId,
)
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs import webhooks as rules
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.store import webhooks as store
from foliot_scheduler.store.webhooks import DeliveryRow, DeliveryState, WebhookRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import LeaderPort
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.pool import Pool

DELIVERIES_PAGE_MAX: Final = 100
"""Each has its body, with up to 64 KiB of a task's result."""

UPDATE_FIELDS: Final = ("url", "description", "events", "enabled", "secret")

_STATES: Final[dict[int, DeliveryState]] = {
    webhook_pb2.DELIVERY_STATE_PENDING: DeliveryState.PENDING,
    webhook_pb2.DELIVERY_STATE_DELIVERED: DeliveryState.DELIVERED,
    webhook_pb2.DELIVERY_STATE_FAILED: DeliveryState.FAILED,
}
_STATE_NUMBERS: Final = {state: webhook_pb2.DeliveryState.ValueType(number) for number, state in _STATES.items()}


class WebhookService:
    """Serves foliot.v1.WebhookService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = webhook_pb2.DESCRIPTOR.services_by_name["WebhookService"]
    # RedeliverWebhook could be served anywhere, but the replica that commits events is the one that sends them at once.
    WRITES: ClassVar[frozenset[str]] = frozenset(
        {"CreateWebhook", "UpdateWebhook", "DeleteWebhook", "TestWebhook", "RedeliverWebhook"}
    )

    ACCESS: ClassVar[Mapping[str, Access]] = dict.fromkeys(DESCRIPTOR.methods_by_name, ADMINISTER)

    def __init__(self, *, leader: LeaderPort, pool: Pool, clock: Clock, notify: Callable[[], None]) -> None:
        """Take `notify`, which says that something is due to be sent."""
        self._pool = pool
        self._clock = clock
        self._notify = notify
        self._wishes = Wishes(leader, clock)

    # ---- subscriptions

    async def CreateWebhook(self, request: webhook_pb2.CreateWebhookRequest, call: Call) -> webhook_pb2.CreateWebhookResponse:
        """See the contract."""
        violations = Violations()
        rules.check_webhook_url("url", request.url, violations)
        rules.check_description("description", request.description, violations)
        events = rules.read_events("events", request.events, violations)
        key = rules.read_secret("secret", request.secret, violations) if request.secret else b""
        violations.raise_if_any()
        once = once_of(request, call)
        reply: Reply = await find_repeated(self._pool, call.project, once)
        if reply is None:
            key = key or self._clock.random_bytes(rules.SECRET_BYTES_MADE)
            reply = await self._wishes.grant(
                CreateWebhook(call.project, request.url, request.description, events, key, not request.disabled, once)
            )
        if isinstance(reply, Repeated):
            row = await self._row(call.project, WebhookId(reply.ids))
            secret = "" if row.updated_at != row.created_at else await self._secret(call.project, row.id)
            return webhook_pb2.CreateWebhookResponse(webhook=_message(row), secret=secret)
        assert isinstance(reply, Webhook)
        return webhook_pb2.CreateWebhookResponse(webhook=_shown(reply), secret=rules.secret_text(reply.secret))

    async def GetWebhook(self, request: webhook_pb2.GetWebhookRequest, call: Call) -> webhook_pb2.GetWebhookResponse:
        """See the contract."""
        return webhook_pb2.GetWebhookResponse(webhook=_message(await self._row(call.project, _webhook_id(request.webhook_id))))

    async def ListWebhooks(self, request: webhook_pb2.ListWebhooksRequest, call: Call) -> webhook_pb2.ListWebhooksResponse:
        """See the contract."""
        rows, total = await store.list_webhooks(
            self._pool, call.project, limit=page_size_of(request.page_size), offset=offset_of(request.offset)
        )
        return webhook_pb2.ListWebhooksResponse(webhooks=map(_message, rows), total=total)

    async def UpdateWebhook(self, request: webhook_pb2.UpdateWebhookRequest, call: Call) -> webhook_pb2.UpdateWebhookResponse:
        """See the contract."""
        webhook_id = _webhook_id(request.webhook_id)
        reply = await self._wishes.grant(UpdateWebhook(call.project, webhook_id, _change(request)))
        assert isinstance(reply, Webhook)
        return webhook_pb2.UpdateWebhookResponse(webhook=_shown(reply))

    async def DeleteWebhook(self, request: webhook_pb2.DeleteWebhookRequest, call: Call) -> webhook_pb2.DeleteWebhookResponse:
        """See the contract."""
        await self._wishes.grant(DeleteWebhook(call.project, _webhook_id(request.webhook_id)))
        return webhook_pb2.DeleteWebhookResponse()

    # ---- deliveries

    async def ListWebhookDeliveries(
        self, request: webhook_pb2.ListWebhookDeliveriesRequest, call: Call
    ) -> webhook_pb2.ListWebhookDeliveriesResponse:
        """See the contract."""
        webhook_id = _webhook_id(request.webhook_id)
        state = enum_of("state", request.state, _STATES) if request.state else None
        limit, offset = page_size_of(request.page_size, most=DELIVERIES_PAGE_MAX), offset_of(request.offset)
        await self._row(call.project, webhook_id)
        rows, total = await store.list_deliveries(self._pool, webhook_id, state=state, limit=limit, offset=offset)
        return webhook_pb2.ListWebhookDeliveriesResponse(deliveries=map(_delivery_message, rows), total=total)

    async def TestWebhook(self, request: webhook_pb2.TestWebhookRequest, call: Call) -> webhook_pb2.TestWebhookResponse:
        """See the contract."""
        webhook_id = _webhook_id(request.webhook_id)
        once = once_of(request, call)
        reply: Reply = await find_repeated(self._pool, call.project, once)
        if reply is None:
            reply = await self._wishes.grant(SendTestEvent(call.project, webhook_id, once))
        assert isinstance(reply, DeliveryRecord | Repeated)
        delivery_id = reply.id if isinstance(reply, DeliveryRecord) else DeliveryId(reply.ids)
        return webhook_pb2.TestWebhookResponse(delivery=await self._delivery(webhook_id, delivery_id))

    async def RedeliverWebhook(
        self, request: webhook_pb2.RedeliverWebhookRequest, call: Call
    ) -> webhook_pb2.RedeliverWebhookResponse:
        """See the contract."""
        webhook_id = _webhook_id(request.webhook_id)
        delivery_id = DeliveryId(uuid_of(request.delivery_id, "delivery_id"))
        await self._row(call.project, webhook_id)
        record = wish_record(self._clock, delivery_id)
        if not await store.redeliver(self._pool, webhook_id, delivery_id, now=Micros(self._clock.now_us()), record=record):
            raise not_found("delivery")
        delivery = await self._delivery(webhook_id, delivery_id)
        self._notify()
        return webhook_pb2.RedeliverWebhookResponse(delivery=delivery)

    async def _row(self, project: Project, webhook_id: WebhookId) -> WebhookRow:
        row = await store.get_webhook(self._pool, project, webhook_id)
        if row is None:
            raise not_found("webhook")
        return row

    async def _secret(self, project: Project, webhook_id: WebhookId) -> str:
        key = await store.get_secret(self._pool, project, webhook_id)
        if key is None:
            raise not_found("webhook")
        return rules.secret_text(key)

    async def _delivery(self, webhook_id: WebhookId, delivery_id: DeliveryId) -> webhook_pb2.WebhookDelivery:
        row = await store.get_delivery(self._pool, webhook_id, delivery_id)
        if row is None:
            raise not_found("delivery")
        return _delivery_message(row)


def _webhook_id(text: str) -> WebhookId:
    return WebhookId(uuid_of(text, "webhook_id"))


def _change(request: webhook_pb2.UpdateWebhookRequest) -> WebhookChange:
    """Read what changes. Raises FoliotError naming every field at fault."""
    violations = Violations()
    names = frozenset(request.update_fields)
    if not names:
        violations.add("update_fields", "must name at least one field", "required")
    for at, name in enumerate(request.update_fields):
        if name not in UPDATE_FIELDS:
            violations.add(f"update_fields[{at}]", f"must be one of {', '.join(UPDATE_FIELDS)}", "not_one_of")
        if violations.is_full:
            break
    webhook = request.webhook
    if "url" in names:
        rules.check_webhook_url("webhook.url", webhook.url, violations)
    if "description" in names:
        rules.check_description("webhook.description", webhook.description, violations)
    change = WebhookChange(
        url=webhook.url if "url" in names else None,
        description=webhook.description if "description" in names else None,
        events=rules.read_events("webhook.events", webhook.events, violations) if "events" in names else None,
        secret=rules.read_secret("secret", request.secret, violations) if "secret" in names else None,
        enabled=webhook.enabled if "enabled" in names else None,
    )
    if request.secret and "secret" not in names:
        violations.add("secret", "must be named by update_fields", "not_allowed")
    violations.raise_if_any()
    return change


def _shown(webhook: Webhook) -> webhook_pb2.Webhook:
    """A subscription as the leader has it."""
    return _message(
        WebhookRow(
            webhook.id,
            webhook.project,
            webhook.url,
            webhook.description,
            sorted(webhook.events),
            webhook.enabled,
            webhook.disabled_reason,
            webhook.created,
            webhook.updated,
        )
    )


def _message(row: WebhookRow) -> webhook_pb2.Webhook:
    """A subscription, without its secret."""
    message = webhook_pb2.Webhook(
        id=format_uuid(row.id),
        url=row.url,
        description=row.description,
        events=[rules.EVENT_NUMBERS[event] for event in row.events],
        enabled=row.enabled,
        disabled_reason=row.disabled_reason,
    )
    set_instant(message.created_at, row.created_at)
    set_instant(message.updated_at, row.updated_at)
    return message


def _delivery_message(row: DeliveryRow) -> webhook_pb2.WebhookDelivery:
    message = webhook_pb2.WebhookDelivery(
        id=format_uuid(row.id),
        webhook_id=format_uuid(row.webhook_id),
        event=rules.EVENT_NUMBERS[row.event],
        state=_STATE_NUMBERS[row.state],
        attempts=row.attempts,
        status_code=row.status_code,
        error=row.error,
        payload_json=row.payload,
    )
    set_instant(message.created_at, row.created_at)
    set_instant(message.next_attempt_at, row.next_attempt_at)
    set_instant(message.ended_at, row.ended_at)
    return message
