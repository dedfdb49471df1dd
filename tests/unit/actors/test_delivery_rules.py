"""Whose turn it is, what a message is signed with, and when it is tried again."""

from __future__ import annotations

import base64
import hmac

import pytest

from foliot_scheduler.actors.delivery_rules import (
    FAILING_MAX,
    PAUSES_S,
    RETRY_AFTER_S_MAX,
    TRIES_TO_JUDGE,
    Answer,
    SendingLimits,
    pause_s,
    receiver_of,
    retry_after,
    share_out,
    signed_headers,
    verdict,
)
from foliot_scheduler.core.subscriptions import DeliveryId, WebhookId
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store.deliveries import ClaimedDelivery, WaitingWebhook

NOW = Micros(1_614_265_330_000_000)
LIMITS = SendingLimits(in_all=20, of_project=10, of_receiver=6, of_webhook=4, while_failing=1)


def waiting(number: int, project: str = "p", host: str = "", *, failing: bool = False) -> WaitingWebhook:
    url = f"http://{host or f'host-{number}'}/hook"
    return WaitingWebhook(WebhookId(bytes([number] * 16)), Project(project), url, NOW if failing else None)


def claimed(of: WaitingWebhook, *, step: int = 1, body: str = "{}", secret: bytes = b"") -> ClaimedDelivery:
    return ClaimedDelivery(DeliveryId(bytes(16)), of.id, step, step, body, of.url, secret, of.project, 1)


def test_each_webhook_gets_its_share() -> None:
    one, two = waiting(1), waiting(2, failing=True)
    assert share_out([one, two], [], {}, LIMITS) == {one.id: 4, two.id: 1}
    assert share_out([one, two], [claimed(one)] * 3 + [claimed(two)], {}, LIMITS) == {one.id: 1}


def test_no_receiver_and_no_project_takes_all() -> None:
    same_host = [waiting(number, f"p{number}", "h") for number in (1, 2, 3)]
    assert share_out(same_host, [], {}, LIMITS) == {same_host[0].id: 4, same_host[1].id: 2}
    same_project = [waiting(number) for number in (1, 2, 3, 4)]
    assert sum(share_out(same_project, [], {}, LIMITS).values()) == LIMITS.of_project
    many = [waiting(number, f"p{number}") for number in range(1, 20)]
    assert sum(share_out(many, [], {}, LIMITS).values()) == LIMITS.in_all


def test_who_was_served_longest_ago_is_first() -> None:
    many = [waiting(number, f"p{number}") for number in range(1, 8)]
    served: dict[WebhookId, int] = {}
    seen: set[WebhookId] = set()
    for turn in (1, 2):
        shares = share_out(many, [], served, LIMITS)
        served.update(dict.fromkeys(shares, turn))
        seen |= shares.keys()
    assert seen == {webhook.id for webhook in many}


def test_receivers_are_hosts_and_ports() -> None:
    assert receiver_of("HTTPS://Host.test:8443/a?b=://") == "host.test:8443"
    assert receiver_of("http://[::1]:80?x") == "[::1]:80"
    assert receiver_of("http://[::::]/") == "[::::]", "also of what is no address"


def test_the_signature_is_the_specifications() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    delivery = claimed(waiting(1), body='{"test": 2432232314}', secret=key)
    headers = dict(signed_headers(delivery, NOW))
    assert headers[b"webhook-timestamp"] == b"1614265330"
    assert headers[b"webhook-id"] == b"00000000-0000-0000-0000-000000000000"
    signed = b'00000000-0000-0000-0000-000000000000.1614265330.{"test": 2432232314}'
    expected = base64.b64encode(hmac.new(key, signed, "sha256").digest())
    assert headers[b"webhook-signature"] == b"v1," + expected


def test_pauses_grow_and_end() -> None:
    failed = Answer(500, "HTTP status 500")
    assert [pause_s(step, failed, 0.0) for step in range(1, 10)] == list(PAUSES_S)
    assert pause_s(10, failed, 0.0) is None
    assert PAUSES_S[0] <= (pause_s(1, failed, 0.999) or 0) <= 1.2 * PAUSES_S[0]
    assert pause_s(1, Answer(429, "", 600.0), 0.0) == 600
    assert pause_s(5, Answer(429, "", 600.0), 0.0) == PAUSES_S[4], "asking for little time does not shorten a pause"


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, b"120", 120),
        (503, b" 7 ", 7),
        (503, b"Thu, 25 Feb 2021 15:03:10 GMT", 60),
        (429, b"99999999999999999999", RETRY_AFTER_S_MAX),
        (429, b"-5", 0),
        (429, b"soon", 0),
        (429, b"\xff", 0),
        (500, b"120", 0),
        (200, b"120", 0),
    ],
)
def test_receivers_may_ask_for_time(status: int, text: bytes, seconds: float) -> None:
    now = Micros(1_614_265_330_000_000)
    assert retry_after(status, [(b"Retry-After", text)], now) == pytest.approx(seconds)


def test_webhooks_are_disabled_for_410_and_for_failing_too_long() -> None:
    webhook = waiting(1)
    long_ago = Micros(NOW - FAILING_MAX)
    failed = Answer(500, "HTTP status 500")
    assert "410" in verdict(claimed(webhook), Answer(410, "HTTP status 410"), None, NOW)
    assert "5 days" in verdict(claimed(webhook, step=TRIES_TO_JUDGE), failed, long_ago, NOW)
    assert verdict(claimed(webhook, step=TRIES_TO_JUDGE - 1), failed, long_ago, NOW) == ""
    assert verdict(claimed(webhook, step=TRIES_TO_JUDGE), failed, Micros(long_ago + 1), NOW) == ""
    assert verdict(claimed(webhook, step=TRIES_TO_JUDGE), failed, None, NOW) == ""
