"""Sending to webhooks, as far as it needs no network: whose turn it is, how a message is signed, when it is tried again.

Signatures, identifiers and the schedule follow the Standard Webhooks specification (standardwebhooks.com). Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from foliot.kit.ids import format_uuid
from foliot_scheduler.core.types import Micros, Span

if TYPE_CHECKING:
    from foliot_scheduler.core.subscriptions import WebhookId
    from foliot_scheduler.store.deliveries import ClaimedDelivery, WaitingWebhook

PAUSES_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds until the next try after the first, the second, ... has failed; after one more it is given up, about three days and
four hours after the event (the specification's recommendation)."""

JITTER: Final = 0.2
"""By what share a pause is lengthened at most, so that what failed together does not come back together."""

RETRY_AFTER_S_MAX: Final = 86_400
"""What a receiver may ask for at most: the longest pause."""

FAILING_MAX: Final = Span(5 * 86_400_000_000)
"""A receiver that took nothing for so long is disabled."""

TRIES_TO_JUDGE: Final = 5
"""The number of tries from which on a delivery speaks for its receiver: it has failed over hours, and not just once."""

GONE: Final = 410
_RECEIVER: Final = re.compile(r"^[^:]*://|[/?#].*", re.DOTALL)
"""What is not the receiver in a URL."""
_SUCCESS: Final = range(200, 300)
_ASKS_FOR_TIME: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingLimits:
    """How many messages are under way at once."""

    in_all: int = 256
    """Each may hold its body and its connection for the length of the timeout: 16 MiB of bodies at worst."""

    of_project: int = 32
    """So that no project takes all: eight of them would have to hang everywhere at once."""

    of_receiver: int = 16
    """To one host and port: what a small server takes without being overrun."""

    of_webhook: int = 8
    """Ordinary messages take some milliseconds, so these are more than a thousand a second."""

    while_failing: int = 1
    """To a webhook whose latest try failed: enough to see that it is back, and a hanging one keeps one place only."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try: a status, or an error and the status 0."""

    status_code: int
    error: str = ""
    retry_after_s: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the receiver took the message."""
        return self.status_code in _SUCCESS and not self.error


def receiver_of(url: str) -> str:
    """Name the receiver of a URL: its host and port."""
    return _RECEIVER.sub("", url).lower()


def share_out(
    waiting: Iterable[WaitingWebhook],
    under_way: Iterable[ClaimedDelivery],
    served: Mapping[WebhookId, int],
    limits: SendingLimits,
) -> dict[WebhookId, int]:
    """Decide how many messages each webhook may begin to send, those first that were served longest ago.

    `served` numbers the latest turn of each; whoever is not in it comes first.
    """
    webhooks: Counter[bytes] = Counter()
    projects: Counter[str] = Counter()
    receivers: Counter[str] = Counter()
    for delivery in under_way:
        webhooks[delivery.webhook_id] += 1
        projects[delivery.project] += 1
        receivers[receiver_of(delivery.url)] += 1
    left = limits.in_all - webhooks.total()
    shares: dict[WebhookId, int] = {}
    for webhook in sorted(waiting, key=lambda one: (served.get(one.id, 0), one.id)):
        receiver = receiver_of(webhook.url)
        share = min(
            (limits.of_webhook if webhook.failing_since is None else limits.while_failing) - webhooks[webhook.id],
            limits.of_project - projects[webhook.project],
            limits.of_receiver - receivers[receiver],
            left,
        )
        if share > 0:
            shares[webhook.id] = share
            projects[webhook.project] += share
            receivers[receiver] += share
            left -= share
    return shares


def signed_headers(delivery: ClaimedDelivery, now: Micros) -> list[tuple[bytes, bytes]]:
    """Return the headers that say which message this is, when it was sent, and that it is ours."""
    name, seconds = format_uuid(delivery.id).encode(), str(now // 1_000_000).encode()
    signed = b".".join((name, seconds, delivery.body.encode()))
    digest = base64.b64encode(hmac.digest(delivery.secret, signed, hashlib.sha256))
    return [(b"webhook-id", name), (b"webhook-timestamp", seconds), (b"webhook-signature", b"v1," + digest)]


def retry_after(status_code: int, headers: Sequence[tuple[bytes, bytes]], now: Micros) -> float:
    """Read how many seconds a receiver asks to be left alone (RFC 9110, section 10.2.3); 0 if it does not, or not clearly."""
    if status_code not in _ASKS_FOR_TIME:
        return 0.0
    for name, value in headers:
        if name.lower() == b"retry-after":
            return min(max(_seconds(value.decode("latin-1").strip(), now), 0.0), RETRY_AFTER_S_MAX)
    return 0.0


def _seconds(text: str, now: Micros) -> float:
    if text.isascii() and text.isdecimal():
        return float(text[:10])
    try:
        return parsedate_to_datetime(text).timestamp() - now / 1e6
    except (ValueError, OverflowError):
        return 0.0


def pause_s(step: int, answer: Answer, draw: float) -> float | None:
    """Return the seconds until the next try after try number `step` failed; None: there is none. `draw` is from [0, 1)."""
    if step > len(PAUSES_S):
        return None
    return max(PAUSES_S[step - 1], answer.retry_after_s) * (1 + JITTER * draw)


def verdict(delivery: ClaimedDelivery, answer: Answer, failing_since: Micros | None, now: Micros) -> str:
    """Say why a webhook is to be disabled after a try that failed; empty: it is not."""
    if answer.status_code == GONE:
        return "the receiver answered 410 Gone"
    if failing_since is not None and delivery.step >= TRIES_TO_JUDGE and now - failing_since >= FAILING_MAX:
        return f"no delivery succeeded for {FAILING_MAX // 86_400_000_000} days"
    return ""
