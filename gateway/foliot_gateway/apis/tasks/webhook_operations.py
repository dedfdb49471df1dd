"""The declaration of the operations on webhooks."""

from __future__ import annotations

from typing import Any, Final

from foliot_gateway.apis.tasks import examples, webhook_handlers
from foliot_gateway.apis.tasks import webhook_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One, PageOf
from foliot_gateway.apis.tasks.shapes import Deleted
from foliot_gateway.http.operation import NoBody, NoQuery, Operation, ReplyDoc

TAG: Final = "Webhooks"
_UNKNOWN: Final = {404: "No webhook has this id."}
_BROKEN_RULE: Final = {422: "The body breaks a rule: `details.fields` names the fields."}

WEBHOOK_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="GET",
        path="/api/webhooks",
        name="listWebhooks",
        tag=TAG,
        summary="List webhooks",
        description="Newest first. Webhooks are managed by admins.",
        handler=webhook_handlers.list_webhooks,
        query=shapes.WebhookListQuery,
        body=NoBody,
        replies=(
            ReplyDoc(status=200, description="A page of webhooks.", body=PageOf[shapes.Webhook], example=examples.WEBHOOKS),
        ),
    ),
    Operation(
        method="POST",
        path="/api/webhooks",
        name="createWebhook",
        tag=TAG,
        summary="Create a webhook",
        description="Events from then on are delivered at least once, signed by the Standard Webhooks convention (`webhook-id`, "
        "`webhook-timestamp`, `webhook-signature`), and tried again with growing pauses.",
        handler=webhook_handlers.create_webhook,
        query=NoQuery,
        body=shapes.NewWebhook,
        body_example=examples.NEW_WEBHOOK,
        replies=(
            ReplyDoc(
                status=201,
                description="The webhook was created.",
                body=One[shapes.CreatedWebhook],
                example=examples.CREATED_WEBHOOK,
                headers={"Location": "Where the webhook is."},
            ),
        ),
        refusals={**_BROKEN_RULE, 409: "The project has as many webhooks as it may."},
        idempotent=True,
    ),
    Operation(
        method="GET",
        path="/api/webhooks/{webhook_id}",
        name="getWebhook",
        tag=TAG,
        summary="Get a webhook",
        handler=webhook_handlers.get_webhook,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The webhook.", body=One[shapes.Webhook], example={"data": examples.WEBHOOK}),),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="PUT",
        path="/api/webhooks/{webhook_id}",
        name="updateWebhook",
        tag=TAG,
        summary="Update a webhook",
        description="Only what is given changes.",
        handler=webhook_handlers.update_webhook,
        query=NoQuery,
        body=shapes.WebhookChange,
        body_example={"enabled": False},
        replies=(
            ReplyDoc(
                status=200,
                description="The webhook as it stands after the change.",
                body=One[shapes.Webhook],
                example={"data": {**examples.WEBHOOK, "enabled": False}},
            ),
        ),
        refusals={**_UNKNOWN, **_BROKEN_RULE},
    ),
    Operation(
        method="DELETE",
        path="/api/webhooks/{webhook_id}",
        name="deleteWebhook",
        tag=TAG,
        summary="Delete a webhook",
        description="Its deliveries are deleted with it.",
        handler=webhook_handlers.delete_webhook,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(
                status=200,
                description="The webhook was deleted.",
                body=One[Deleted],
                example={"data": {"success": True, "message": "Webhook deleted successfully"}},
            ),
        ),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="GET",
        path="/api/webhooks/{webhook_id}/deliveries",
        name="listWebhookDeliveries",
        tag=TAG,
        summary="List the deliveries of a webhook",
        description="Newest first.",
        handler=webhook_handlers.list_deliveries,
        query=shapes.DeliveryListQuery,
        body=NoBody,
        replies=(
            ReplyDoc(status=200, description="A page of deliveries.", body=PageOf[shapes.Delivery], example=examples.DELIVERIES),
        ),
        refusals=_UNKNOWN,
    ),
    Operation(
        method="POST",
        path="/api/webhooks/{webhook_id}/test",
        name="testWebhook",
        tag=TAG,
        summary="Send a test event",
        description="Enabled or not.",
        handler=webhook_handlers.test_webhook,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(
                status=202,
                description="The delivery was queued.",
                body=One[shapes.Delivery],
                example={"data": examples.TEST_DELIVERY},
            ),
        ),
        refusals=_UNKNOWN,
        idempotent=True,
    ),
    Operation(
        method="POST",
        path="/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
        name="redeliverWebhook",
        tag=TAG,
        summary="Send an event again",
        description="Delivered or given up or neither.",
        handler=webhook_handlers.redeliver,
        query=NoQuery,
        body=NoBody,
        replies=(
            ReplyDoc(
                status=202,
                description="The delivery was queued again.",
                body=One[shapes.Delivery],
                example={"data": examples.TEST_DELIVERY},
            ),
        ),
        refusals={404: "No webhook has this id, or it has no delivery with this id."},
    ),
)
