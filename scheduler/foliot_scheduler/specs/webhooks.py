"""What a webhook may be: the rules of its fields, and its secret as people see it.

Secrets follow the Standard Webhooks specification (standardwebhooks.com, "Signature scheme"): `whsec_` and the Base64 of 24 to 64
random bytes, which are the key of the HMAC. They are never put into a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from foliot.v1 import webhook_pb2
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.specs.rules import Violations, check_text, is_longer
from foliot_scheduler.specs.work import check_url

URL_BYTES_MAX: Final = 2 * 1024
DESCRIPTION_BYTES_MAX: Final = 4 * 1024
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
SECRET_BYTES_MADE: Final = 32
"""Of a secret that is made here: as long as the digest it keys."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with

EVENTS: Final[dict[int, WebhookEvent]] = {
    webhook_pb2.WEBHOOK_EVENT_TASK_CREATED: WebhookEvent.TASK_CREATED,
    webhook_pb2.WEBHOOK_EVENT_TASK_STARTED: WebhookEvent.TASK_STARTED,
    webhook_pb2.WEBHOOK_EVENT_TASK_COMPLETED: WebhookEvent.TASK_COMPLETED,
    webhook_pb2.WEBHOOK_EVENT_TASK_FAILED: WebhookEvent.TASK_FAILED,
    webhook_pb2.WEBHOOK_EVENT_TASK_CANCELLED: WebhookEvent.TASK_CANCELLED,
    webhook_pb2.WEBHOOK_EVENT_TASK_RETRYING: WebhookEvent.TASK_RETRYING,
    webhook_pb2.WEBHOOK_EVENT_WORKER_REGISTERED: WebhookEvent.WORKER_REGISTERED,
    webhook_pb2.WEBHOOK_EVENT_WORKER_OFFLINE: WebhookEvent.WORKER_OFFLINE,
}
"""Events that can be subscribed to."""

EVENT_NUMBERS: Final[dict[WebhookEvent, webhook_pb2.WebhookEvent.ValueType]] = {
    **{event: webhook_pb2.WebhookEvent.ValueType(number) for number, event in EVENTS.items()},
    WebhookEvent.TEST: webhook_pb2.WEBHOOK_EVENT_TEST,
}

_EVENTS_LISTED_MAX: Final = 100
"""Of a request, repetitions included: there are eight."""


def check_webhook_url(path: str, url: str, violations: Violations) -> None:
    """Hold a receiver's URL to being absolute, http or https, at most 2 KiB, without a user name or password."""
    if is_longer(url, URL_BYTES_MAX):
        violations.add(path, "must be at most 2 KiB", "too_long")
        return
    before = len(violations)
    check_url(path, url, violations)
    if len(violations) > before:
        return
    try:
        authority = urlsplit(url).netloc
    except ValueError:
        violations.add(path, "must name a host", "malformed")
    else:
        if "@" in authority:
            violations.add(path, "must not contain a user name or password", "not_allowed")


def check_description(path: str, description: str, violations: Violations) -> None:
    """Hold a description to at most 4 KiB."""
    check_text(path, description, DESCRIPTION_BYTES_MAX, violations)


def read_events(path: str, numbers: Iterable[int], violations: Violations) -> frozenset[WebhookEvent]:
    """Read which events are subscribed to; none stands for all."""
    events: set[WebhookEvent] = set()
    for at, number in enumerate(numbers):
        if at >= _EVENTS_LISTED_MAX:
            violations.add(path, f"must have at most {_EVENTS_LISTED_MAX} entries", "too_many")
            break
        event = EVENTS.get(number)
        if event is None:
            violations.add(f"{path}[{at}]", "must be one of the contract's events, and not the test", "not_one_of")
        else:
            events.add(event)
    return frozenset(events)


def read_secret(path: str, secret: str, violations: Violations) -> bytes:
    """Read a secret's key; empty if it breaks a rule."""
    key = b""
    if secret.startswith(SECRET_PREFIX) and not is_longer(secret, 2 * SECRET_BYTES_MAX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX).encode(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        # The text is not repeated: it is a secret.
        violations.add(path, f"must be {SECRET_PREFIX} and the Base64 of 24 to 64 bytes", "malformed")
        return b""
    return key


def secret_text(key: bytes) -> str:
    """Write a secret."""
    return SECRET_PREFIX + base64.b64encode(key).decode()
