"""The JSON of webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.tasks.envelopes import Limit, Page, Shape
from foliot_gateway.apis.tasks.examples import WEBHOOK_ID
from foliot_gateway.apis.tasks.words import DeliveryStatus, EventName, SubscribableEvent

WebhookKey = Annotated[str, Meta(description="The webhook's id: `webhook-` and a UUID.", examples=[WEBHOOK_ID])]
Url = Annotated[
    str,
    Meta(
        description="Where events go: absolute, http or https, at most 2 KiB, without a user name or password.",
        min_length=1,
        max_length=2_048,
    ),
]
Prose = Annotated[str, Meta(description="Free text, at most 4 KiB.", max_length=4_096)]
Events = Annotated[
    tuple[SubscribableEvent, ...],
    Meta(description="What it is told of; empty: everything.", max_length=100),
]
Secret = Annotated[
    str,
    Meta(
        description="Signs deliveries by the Standard Webhooks convention: `whsec_` and the Base64 of 24 to 64 bytes.",
        max_length=128,
    ),
]


class NewWebhook(Shape, frozen=True, kw_only=True):
    """A webhook to create."""

    url: Url
    events: Events = ()
    description: Prose | None = None
    enabled: Annotated[bool, Meta(description="Whether events are delivered.")] = True
    secret: Annotated[Secret | None, Meta(description="Made if it is not given.")] = None


class WebhookChange(Shape, frozen=True, kw_only=True):
    """A change of a webhook: what is absent stays. At least one field."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: Prose | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    secret: Annotated[Secret | UnsetType, Meta(description="Replaces the secret, at once.")] = UNSET


class Webhook(Shape, frozen=True, kw_only=True):
    """A webhook as it stands, without its secret."""

    id: WebhookKey
    url: str
    description: str | None
    events: Annotated[list[SubscribableEvent], Meta(description="What it is told of; empty: everything.")]
    enabled: bool
    disabled_reason: Annotated[
        str | None, Meta(description="Why it was disabled, if its receiver answered 410 or failed for too long.")
    ]
    created_at: datetime
    updated_at: datetime


class CreatedWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook that was just made, with its secret."""

    secret: Annotated[
        str | None,
        Meta(description="Signs deliveries. Shown this once; null where a repeated request finds the webhook changed since."),
    ]


class Delivery(Shape, frozen=True, kw_only=True):
    """One event on its way to the receiver."""

    id: Annotated[str, Meta(description="A UUID: the `webhook-id` header of each try.")]
    webhook_id: WebhookKey
    event: EventName
    status: Annotated[
        DeliveryStatus,
        Meta(description="`pending`: to be sent, or sent again; `delivered`: the receiver took it; `failed`: it was given up."),
    ]
    attempts: Annotated[int, Meta(description="How often it was tried.", ge=0)]
    status_code: Annotated[int | None, Meta(description="The HTTP status of the latest answer; null if there was none.")]
    error: Annotated[str | None, Meta(description="Why the latest try failed; null if it did not.")]
    created_at: Annotated[datetime, Meta(description="When the event happened.")]
    next_attempt_at: Annotated[datetime | None, Meta(description="When it is tried next; null unless pending.")]
    completed_at: Annotated[datetime | None, Meta(description="When it was delivered or given up; null while pending.")]
    payload: Annotated[
        msgspec.Raw,
        Meta(
            extra_json_schema={"type": "object"},
            description="The body that is sent; less of a long result, in lists that would be too long.",
        ),
    ]


class WebhookListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of webhooks."""

    page: Page = 1
    limit: Limit = 20


class DeliveryListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of the list of a webhook's deliveries."""

    status: Annotated[
        Literal["pending", "delivered", "failed"] | UnsetType, Meta(description="Keeps deliveries of this status.")
    ] = UNSET
    page: Page = 1
    limit: Limit = 20
