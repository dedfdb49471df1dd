"""What becomes of events: taken, tried again, given up; whatever a receiver does, the others have theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from foliot.kit.addresses import AddressPolicy
from foliot_scheduler.actors.delivery_rules import PAUSES_S, SendingLimits
from foliot_scheduler.actors.webhooks import CLAIM_S, SEND_TIMEOUT_S
from foliot_scheduler.core.subscriptions import (
    DeleteWebhook,
    SendTestEvent,
    UpdateWebhook,
    WebhookChange,
    WebhookEvent,
    WebhookFailed,
)
from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import deliveries, webhooks
from foliot_scheduler.store.webhooks import DeliveryState
from tests.integration.actors.outbox import Outbox, answers, open_outbox, takes
from tests.integration.actors.terms import PROJECT
from tests.integration.worker.http_server import Answer, Request
from tests.processes import free_port

if TYPE_CHECKING:
    from foliot_scheduler.store.pool import Pool

HOUR = 3600
CREATED = WebhookEvent.TASK_CREATED


@pytest.fixture
async def outbox(database_url: str, pool: Pool) -> AsyncIterator[Outbox]:
    async with open_outbox(database_url, pool) as found:
        yield found


async def test_a_message_is_signed_taken_and_recorded(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url)
    await outbox.terms.submit()
    await outbox.send()
    (request,) = receiver.server.requests
    assert (request.method, request.path, request.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert request.headers["webhook-timestamp"] == str(outbox.clock.now_us() // 1_000_000)
    (delivery,) = await outbox.deliveries(webhook)
    assert (delivery.state, delivery.attempts, delivery.status_code, delivery.error) == (DeliveryState.DELIVERED, 1, 200, "")
    assert delivery.ended_at == outbox.clock.now_us()
    assert delivery.payload == request.body.decode()
    assert receiver.messages[0]["event"] == "task.created"


@pytest.mark.parametrize("wrong_by", [-HOUR, HOUR])
async def test_the_clock_of_a_host_does_not_matter(outbox: Outbox, wrong_by: int) -> None:
    receiver = await outbox.receiver(answers(500))
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    outbox.clock.shift_wall(wrong_by)
    await outbox.send()
    assert len(receiver.messages) == 1, "it is due by PostgreSQL's clock"
    await outbox.pass_time(1)
    assert len(receiver.messages) == 1, "and waits for its next try by it"
    (delivery,) = await outbox.deliveries(webhook)
    assert delivery.next_attempt_at is not None
    assert PAUSES_S[0] <= (delivery.next_attempt_at - delivery.created_at) / 1e6 < 2 * PAUSES_S[0]


async def test_a_receiver_that_is_down_for_an_hour_gets_everything_in_the_end(outbox: Outbox) -> None:
    port = free_port()
    down = await outbox.subscribe(f"http://127.0.0.1:{port}/hook", CREATED)
    well = await outbox.receiver()
    await outbox.subscribe(well.url, CREATED)
    for minute in range(60):
        if minute % 10 == 0:
            await outbox.terms.submit()
        await outbox.pass_time(60)
    assert len(set(well.ids)) == 6, "the other receiver has everything at once"
    pending = await outbox.deliveries(down, DeliveryState.PENDING)
    assert len(pending) == 6
    assert all(delivery.status_code == 0 and "ConnectError" in delivery.error for delivery in pending)

    received: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        received.extend(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("webhook-id"))
        writer.write(b"HTTP/1.1 204 Taken\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", port):
        await outbox.pass_time_until_sent(down)
    ended = await outbox.deliveries(down)
    assert len(set(received)) == 6
    assert {delivery.state for delivery in ended} == {DeliveryState.DELIVERED}
    assert max(delivery.ended_at or 0 for delivery in ended) - outbox.clock.now_us() <= 0
    assert (await outbox.webhook(down)).enabled


async def test_one_that_always_fails_is_given_up_after_three_days_and_then_disabled(outbox: Outbox) -> None:
    broken = await outbox.receiver(answers(500))
    webhook = await outbox.subscribe(broken.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    started = outbox.clock.now_us()
    await outbox.pass_time_until_sent(webhook)
    (delivery,) = await outbox.deliveries(webhook)
    assert (delivery.state, delivery.attempts, delivery.status_code) == (DeliveryState.FAILED, len(PAUSES_S) + 1, 500)
    assert delivery.error == "HTTP status 500 Because"
    assert sum(PAUSES_S) <= (outbox.clock.now_us() - started) / 1e6 <= 1.2 * sum(PAUSES_S)
    await outbox.keeper.run_once()
    assert (await outbox.webhook(webhook)).enabled, "three days are not too long"

    await outbox.terms.submit()
    await outbox.pass_time_until_sent(webhook)
    await outbox.keeper.run_once()
    row = await outbox.webhook(webhook)
    assert (row.enabled, row.disabled_reason) == (False, "no delivery succeeded for 5 days")
    await outbox.terms.submit()
    assert len(await outbox.deliveries(webhook)) == 2, "nothing is told to it any more"


async def test_a_success_in_between_counts_from_the_beginning(outbox: Outbox) -> None:
    status = 500

    async def answer(request: Request) -> Answer:
        return Answer(status)

    receiver = await outbox.receiver(answer)
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    await outbox.pass_time_until_sent(webhook)
    status = 200
    await outbox.terms.submit()
    await outbox.send()
    status = 500
    await outbox.terms.submit()
    await outbox.pass_time_until_sent(webhook)
    await outbox.keeper.run_once()
    assert (await outbox.webhook(webhook)).enabled


async def test_410_disables_at_once_and_ends_what_is_on_its_way(outbox: Outbox) -> None:
    gone = await outbox.receiver(answers(410))
    webhook = await outbox.subscribe(gone.url, CREATED)
    for _ in range(20):
        await outbox.terms.submit()
    await outbox.send()
    sent = len(gone.ids)
    assert sent <= SendingLimits().of_webhook
    await outbox.pass_time(HOUR)
    assert len(gone.ids) == sent, "not even the senders of other replicas go on"
    await outbox.keeper.run_once()
    row = await outbox.webhook(webhook)
    assert (row.enabled, row.disabled_reason) == (False, "the receiver answered 410 Gone")
    ended = await outbox.deliveries(webhook)
    assert {delivery.state for delivery in ended} == {DeliveryState.FAILED}
    assert {delivery.error for delivery in ended} == {"HTTP status 410 Because", deliveries.WITHDRAWN}

    # Enabled again, it is told of what happens from then on.
    gone.answer = takes
    await outbox.terms.ask(UpdateWebhook(PROJECT, webhook, WebhookChange(enabled=True)))
    await outbox.pass_time(HOUR)
    await outbox.keeper.run_once()
    assert len(gone.ids) == sent
    await outbox.terms.submit()
    await outbox.send()
    assert len(gone.ids) == sent + 1
    assert (await outbox.webhook(webhook)).disabled_reason == ""


async def test_one_that_hangs_keeps_nobody_waiting(outbox: Outbox) -> None:
    stuck = await outbox.receiver(answer=None)
    webhook = await outbox.subscribe(stuck.url, CREATED)
    well = await outbox.receiver()
    other = await outbox.subscribe(well.url, CREATED)
    for _ in range(40):
        await outbox.terms.submit()
    outbox.signal.notify()
    await stuck.arrived.wait()
    while await outbox.deliveries(other, DeliveryState.PENDING):  # while the first one still hangs
        pass
    assert len(well.ids) == 40
    assert not await outbox.deliveries(webhook, DeliveryState.DELIVERED)
    # All that hang are ended after the timeout, and from then on one message at a time finds out whether it is back.
    tried = SendingLimits().of_webhook
    outbox.clock.advance(SEND_TIMEOUT_S)
    while sum(row.attempts for row in await outbox.deliveries(webhook)) <= tried:
        pass
    assert sum(row.attempts for row in await outbox.deliveries(webhook)) == tried + SendingLimits().while_failing
    errors = {delivery.error for delivery in await outbox.deliveries(webhook) if delivery.error}
    assert errors == {"no answer within 15 s"}
    stuck.answer = takes
    outbox.clock.advance(SEND_TIMEOUT_S)
    await outbox.send()
    await outbox.pass_time_until_sent(webhook)
    assert {row.state for row in await outbox.deliveries(webhook)} == {DeliveryState.DELIVERED}


async def test_a_huge_body_is_not_read(outbox: Outbox) -> None:
    async def huge(request: Request) -> Answer:
        return Answer(200, b"x" * (64 << 20))

    receiver = await outbox.receiver(huge)
    webhook = await outbox.subscribe(receiver.url, CREATED)
    for _ in range(3):
        await outbox.terms.submit()
        await outbox.send()
    assert {row.state for row in await outbox.deliveries(webhook)} == {DeliveryState.DELIVERED}
    assert receiver.server.connections == 3, "a connection with so much in it is not used again"


async def test_a_body_that_never_ends_does_not_unsay_the_status(outbox: Outbox) -> None:
    async def endless(request: Request) -> Answer:
        return Answer(200, b"", {"content-length": "100"})

    receiver = await outbox.receiver(endless)
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    outbox.signal.notify()
    while not any(flight.answer for flight in outbox.sender._flights.values()):
        await outbox.clock.sleep(0)
    await outbox.pass_time(SEND_TIMEOUT_S)
    (delivery,) = await outbox.deliveries(webhook)
    assert delivery.state is DeliveryState.DELIVERED


async def test_a_receiver_that_asks_for_time_gets_it(outbox: Outbox) -> None:
    busy = await outbox.receiver(answers(429, retry_after="7200"))
    webhook = await outbox.subscribe(busy.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    (delivery,) = await outbox.deliveries(webhook)
    assert 7200 <= ((delivery.next_attempt_at or 0) - outbox.clock.now_us()) / 1e6 <= 1.2 * 7200
    busy.answer = takes
    await outbox.pass_time_until_sent(webhook)
    assert len(busy.ids) == 2


async def test_redirects_are_not_followed_and_some_addresses_not_reached(outbox: Outbox) -> None:
    target = await outbox.receiver()
    elsewhere = await outbox.receiver(answers(307, location=target.url))
    moved = await outbox.subscribe(elsewhere.url, CREATED)
    metadata = await outbox.subscribe("http://169.254.169.254/latest", CREATED)
    strange = await outbox.subscribe("http://[::::]/", CREATED)
    await outbox.terms.submit()
    await outbox.send()
    assert not target.ids
    assert (await outbox.deliveries(moved))[0].status_code == 307
    assert "must not be reached" in (await outbox.deliveries(metadata))[0].error
    assert (await outbox.deliveries(strange))[0].error


async def test_private_addresses_can_be_kept_from_webhooks(outbox: Outbox) -> None:
    target = await outbox.receiver()
    webhook = await outbox.subscribe(target.url, CREATED)
    await outbox.sender.stop()
    await outbox.terms.submit()
    async with outbox.another_sender(AddressPolicy(deny_private=True)) as sender:
        await sender.wait_rest()
    (delivery,) = await outbox.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)
    assert "must not be reached" in delivery.error
    assert not target.ids


async def test_what_was_claimed_and_never_recorded_is_sent_again(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    now = Micros(outbox.clock.now_us())
    until = Micros(now + int(CLAIM_S * 1e6))
    (claimed,) = await deliveries.claim(outbox.pool, {webhook: 8}, now=now, until=until)  # a sender that then dies
    await outbox.send()
    assert not receiver.ids
    await outbox.pass_time(CLAIM_S)
    assert len(receiver.ids) == 1
    (delivery,) = await outbox.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)
    # Should it be alive after all, its word does not count any more.
    late = deliveries.EndedDelivery(claimed.id, claimed.attempt, DeliveryState.FAILED, 500, "late")
    await deliveries.end(outbox.pool, [late], now=now)
    assert (await outbox.deliveries(webhook)) == [delivery]


async def test_two_senders_send_each_message_once(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url, CREATED)
    for _ in range(50):
        await outbox.terms.submit()
    async with outbox.another_sender():
        await outbox.send()
        while await outbox.deliveries(webhook, DeliveryState.PENDING):
            pass
    assert len(receiver.ids) == len(set(receiver.ids)) == 50


async def test_a_sender_that_stops_gives_back_what_it_has_claimed(outbox: Outbox) -> None:
    stuck = await outbox.receiver(answer=None)
    webhook = await outbox.subscribe(stuck.url, CREATED)
    await outbox.terms.submit()
    async with outbox.another_sender():
        await stuck.arrived.wait()
    (delivery,) = await outbox.deliveries(webhook)
    assert delivery.next_attempt_at == outbox.clock.now_us()
    stuck.answer = takes
    await outbox.send()
    assert (await outbox.deliveries(webhook))[0].state is DeliveryState.DELIVERED


async def test_a_disabled_webhook_is_sent_what_somebody_asks_for(outbox: Outbox) -> None:
    receiver = await outbox.receiver(answers(500))
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    await outbox.terms.ask(UpdateWebhook(PROJECT, webhook, WebhookChange(enabled=False)))
    await outbox.keeper.run_once()
    (given_up,) = await outbox.deliveries(webhook, DeliveryState.FAILED)
    await outbox.terms.submit()
    assert await outbox.deliveries(webhook) == [given_up]

    receiver.answer = takes
    await outbox.terms.ask(SendTestEvent(PROJECT, webhook))
    assert await webhooks.redeliver(outbox.pool, webhook, given_up.id, now=Micros(outbox.clock.now_us()))
    await outbox.keeper.run_once()
    await outbox.send()
    sent = await outbox.deliveries(webhook, DeliveryState.DELIVERED)
    assert [row.event for row in sent] == [WebhookEvent.TEST, CREATED]
    assert sent[1].attempts == given_up.attempts + 1
    assert receiver.messages[-1]["event"] in {"webhook.test", "task.created"}


async def test_what_was_delivered_is_sent_again_on_request(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    (first,) = await outbox.deliveries(webhook)
    assert await webhooks.redeliver(outbox.pool, webhook, first.id, now=Micros(outbox.clock.now_us()))
    await outbox.send()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1, "under the id it had, so that a receiver can tell"


async def test_nothing_is_left_of_a_deleted_webhook(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url, CREATED)
    await outbox.terms.submit()
    await outbox.send()
    await outbox.terms.submit()
    await outbox.terms.ask(DeleteWebhook(PROJECT, webhook))
    await outbox.send()
    assert len(receiver.ids) == 1
    await outbox.keeper.run_once()
    for table in ("webhook", "webhook_remains", "webhook_health", "webhook_delivery", "webhook_delivery_history"):
        assert await outbox.pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_one_that_is_hopelessly_behind_is_disabled(outbox: Outbox) -> None:
    broken = await outbox.receiver(answers(503))
    webhook = await outbox.subscribe(broken.url, CREATED)
    for _ in range(4):
        await outbox.terms.submit()
    await deliveries.judge_overflow(outbox.pool, pending_max=4, verdict="too many")
    assert await deliveries.read_verdicts(outbox.pool) == []
    await outbox.terms.submit()
    await deliveries.judge_overflow(outbox.pool, pending_max=4, verdict="too many")
    await outbox.keeper.run_once()
    assert (await outbox.webhook(webhook)).disabled_reason == "too many"


async def test_one_that_was_too_far_behind_can_be_enabled_before_all_of_it_is_withdrawn(outbox: Outbox) -> None:
    broken = await outbox.receiver(answers(503))
    webhook = await outbox.subscribe(broken.url, CREATED)
    for _ in range(5):
        await outbox.terms.submit()
    await deliveries.judge_overflow(outbox.pool, pending_max=4, verdict="too many")
    await outbox.terms.ask(WebhookFailed(*(await deliveries.read_verdicts(outbox.pool))[0]))
    await outbox.terms.ask(UpdateWebhook(PROJECT, webhook, WebhookChange(enabled=True)))
    await deliveries.judge_overflow(outbox.pool, pending_max=4, verdict="too many")
    assert await deliveries.read_verdicts(outbox.pool) == []


async def test_a_new_leader_tells_the_same_webhooks(outbox: Outbox) -> None:
    receiver = await outbox.receiver()
    webhook = await outbox.subscribe(receiver.url, CREATED)
    before = outbox.terms.state.webhooks[webhook].snapshot()
    await outbox.terms.submit()
    await outbox.terms.lead()
    after = outbox.terms.state.webhooks[webhook]
    assert all(getattr(after, name) == getattr(before, name) for name in before.__slots__)
    await outbox.terms.submit()
    await outbox.send()
    assert len(receiver.ids) == 2
