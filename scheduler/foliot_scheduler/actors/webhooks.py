"""Sends what is in the outbox to the receivers, on every replica.

Theory of operation. One loop owns everything: it records what came of messages, ends those that took too long, claims what is
due and starts to send it. A round follows when the leader, if it is this replica, has committed an event, when a message is
through, and every few seconds, because nobody tells of other replicas' events and of pauses that come to an end. Claims are
shared out so that a receiver that hangs, or a project whose receivers all do, leaves room for the others
(`delivery_rules.share_out`).

At least once: a message is claimed before it is sent and recorded after, and a claim that nobody ends runs out. In between the
receiver may get it twice, with the same webhook-id. Order is not kept.

What is due when is said by PostgreSQL's clock, by which events are written: a host whose clock is slow sends nothing late, and
one whose clock is fast takes no claim of another for one that ran out.

On the replica that leads, sending and scheduling take turns in one process, so there it keeps a pace: `SENDS_PER_S_LEADING`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from foliot.kit.ids import format_uuid
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.metrics import Counter, Gauge, Histogram
from foliot_scheduler.actors.delivery_rules import (
    GONE,
    Answer,
    SendingLimits,
    pause_s,
    retry_after,
    share_out,
    signed_headers,
    verdict,
)
from foliot_scheduler.actors.store_clock import StoreClock
from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import deliveries
from foliot_scheduler.store.clock import read_clock
from foliot_scheduler.store.deliveries import ClaimedDelivery, EndedDelivery, Failure, PostponedDelivery
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.webhooks import DeliveryState

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.actors.outbox_signal import OutboxSignal
    from foliot_scheduler.core.subscriptions import WebhookId
    from foliot_scheduler.store.pool import Pool

POLL_S: Final = 3.0
"""How often to look without being told: a small query, and as late as a message of another replica may be."""

SEND_TIMEOUT_S: Final = 15.0
"""How long a receiver may take to answer (the Standard Webhooks specification recommends 15 to 30 s)."""

CLAIM_S: Final = 2 * SEND_TIMEOUT_S
"""When a claim runs out: its message was sent and recorded by then, or never will be."""

BODY_BYTES_MAX: Final = 16 * 1024
"""How much of an answer's body is read, and thrown away: enough to use the connection again after an ordinary one."""

SENDS_PER_S_LEADING: Final = 100
"""How many messages a replica that leads begins to send a second. One costs 1 to 1.5 ms of its only thread, so that scheduling
keeps six sevenths of it; replicas that follow send as many as they can."""

PACE_S: Final = 0.1
"""Seconds' worth of messages that are begun together at that pace: each round costs two queries."""

CLOCK_EVERY_S: Final = 10.0
"""How often PostgreSQL is asked for its time: clocks that are not set drift by some 0.1 ms in between."""

_SENT = Counter(
    "foliot_webhook_tries_total",
    unit="tries",
    description="Tries to deliver to webhooks, by what came of them.",
    labels=("result",),
)
_SECONDS = Histogram("foliot_webhook_send_seconds", unit="seconds", description="How long receivers took to answer.")
_UNDER_WAY = Gauge("foliot_webhook_sending", unit="messages", description="Messages that are being sent to webhooks.")

_ERROR_CHARS_MAX: Final = 500

log = get_logger(__name__)

ReadClock = Callable[["Pool"], Awaitable[Micros]]
"""Asks PostgreSQL for its time. Raises StoreError."""


@dataclass(slots=True)
class _Flight:
    """A message that is being sent."""

    delivery: ClaimedDelivery
    failing_since: Micros | None
    started: float
    """By the monotonic clock, as is when it is ended."""
    deadline: float
    answer: Answer | None = None
    """Set as soon as the receiver has said whether it took it, whatever becomes of the rest of its answer."""


class _Landing(NamedTuple):
    """A message that was sent, and what came of it."""

    flight: _Flight
    answer: Answer


class WebhookSender(Part):
    """Sends what is due to webhooks."""

    def __init__(
        self,
        *,
        pool: Pool,
        transport: httpx.AsyncBaseTransport,
        user_agent: str,
        signal: OutboxSignal,
        leadership: Leadership,
        clock: Clock,
        limits: SendingLimits | None = None,
        read_clock: ReadClock = read_clock,
    ) -> None:
        """Take the outbox's database, a transport of its own that keeps to the rules of addresses, and what tells of work."""
        super().__init__("webhooks")
        self._pool = pool
        self._transport = transport
        self._user_agent = user_agent.encode()
        self._signal = signal
        self._leadership = leadership
        self._clock = clock
        self._limits = limits or SendingLimits()
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._landed: list[_Landing] = []
        self._left: list[_Flight] = []
        self._turns = 0
        self._served: dict[WebhookId, int] = {}
        """The number of each webhook's latest turn, as long as it has something due."""
        self._read_clock = read_clock
        self._store_clock = StoreClock(clock)
        self._clock_read_at = float("-inf")
        self._allowance = 0.0
        self._allowed_at = clock.monotonic()
        self._failures = 0
        self._rest: asyncio.Future[None] | None = None

    async def wait_rest(self) -> None:
        """Wait for the end of a round, begun from now on, that leaves nothing to be recorded and nothing under way. For tests."""
        self._rest = asyncio.get_running_loop().create_future()
        await self._rest

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as sending:
            try:
                while True:
                    rest, began = self._rest, self._clock.monotonic()
                    pause = await self._round(sending)
                    if rest is not None and not (self._flights or self._landed or rest.done()):
                        rest.set_result(None)
                    await self._signal.wait(self._clock, pause)
                    if self._leadership.leading:
                        await self._clock.sleep(began + PACE_S - self._clock.monotonic())
            finally:
                # From here on messages are cancelled because we stop, not because they took too long.
                self._left, self._flights = list(self._flights.values()), {}

    async def on_stop(self) -> None:
        """Give back what was claimed, so that another replica can send it at once, and close the connections."""
        now = self._store_clock.now_us()
        self._landed += [_Landing(flight, flight.answer) for flight in self._left if flight.answer is not None]
        unsent = [
            PostponedDelivery(flight.delivery.id, flight.delivery.attempt, now, 0, "the sender stopped")
            for flight in self._left
            if flight.answer is None
        ]
        # Should it fail, the claims run out by themselves.
        with contextlib.suppress(StoreError):
            await self._record(now)
            if unsent:
                await deliveries.postpone(self._pool, unsent)
        await self._transport.aclose()

    async def _round(self, sending: asyncio.TaskGroup) -> float:
        """Do what there is to do and return when to look again, in seconds."""
        try:
            await self._ask_time()
            await self._record(self._store_clock.now_us())
            self._end_overdue()
            pause = await self._start_due(sending)
        except StoreError as error:
            self._failures += 1
            tell = log.warning if self._failures == 1 else log.debug
            tell("webhooks.failed", reason=str(error), failures=self._failures)
            return POLL_S
        self._failures = 0
        _UNDER_WAY.set(len(self._flights))
        deadlines = [flight.deadline for flight in self._flights.values()]
        return max(min([pause, *(deadline - self._clock.monotonic() for deadline in deadlines)]), 0.0)

    async def _ask_time(self) -> None:
        asked_at = self._clock.monotonic()
        if asked_at - self._clock_read_at >= CLOCK_EVERY_S:
            self._store_clock.set(await self._read_clock(self._pool), asked_at=asked_at)
            self._clock_read_at = asked_at

    # ------------------------------------------------------------------------------------------------------------ sending

    async def _start_due(self, sending: asyncio.TaskGroup) -> float:
        """Claim what is due and may be sent now, begin to send it, and return when to look again."""
        now = self._store_clock.now_us()
        budget, wait = self._budget()
        if not budget:
            return wait
        # Taken down first: what lands meanwhile keeps its place until it is recorded, and with it what it says of the receiver.
        under_way = [flight.delivery for flight in self._flights.values()] + [landing.flight.delivery for landing in self._landed]
        waiting = {webhook.id: webhook for webhook in await deliveries.find_waiting(self._pool, now)}
        self._served = {webhook: turn for webhook, turn in self._served.items() if webhook in waiting}
        shares = share_out(waiting.values(), under_way, self._served, self._limits)
        shares = _within(shares, budget)
        if not shares:
            return POLL_S
        self._turns += 1
        self._served.update(dict.fromkeys(shares, self._turns))
        until = Micros(now + int(CLAIM_S * 1e6))
        claimed = await deliveries.claim(self._pool, shares, now=now, until=until)
        started = self._clock.monotonic()
        for delivery in claimed:
            failing_since = waiting[delivery.webhook_id].failing_since
            flight = _Flight(delivery, failing_since, started, started + SEND_TIMEOUT_S)
            task = sending.create_task(self._send(flight), name="webhooks.send")
            self._flights[task] = flight
            task.add_done_callback(self._sent)
        if self._leadership.leading:
            self._allowance -= len(claimed)
        # With nothing claimed others were faster; with all of the budget used there may be more.
        return wait if len(claimed) >= budget else POLL_S

    def _budget(self) -> tuple[int, float]:
        """Return how many messages may be begun now, and, where none may, in how many seconds."""
        if not self._leadership.leading:
            return self._limits.in_all, 0.0
        now = self._clock.monotonic()
        grown = self._allowance + (now - self._allowed_at) * SENDS_PER_S_LEADING
        # Twice as much may be saved up, so that a few events leave at once.
        self._allowance, self._allowed_at = min(grown, SENDS_PER_S_LEADING * 2 * PACE_S), now
        return int(self._allowance) if self._allowance >= SENDS_PER_S_LEADING * PACE_S else 0, PACE_S

    async def _send(self, flight: _Flight) -> None:
        """Send one message. Its time is kept by the loop, which cancels what takes too long."""
        delivery, now = flight.delivery, self._store_clock.now_us()
        try:
            headers = [(b"content-type", b"application/json"), (b"user-agent", self._user_agent), *signed_headers(delivery, now)]
            request = httpx.Request("POST", delivery.url, content=delivery.body.encode(), headers=headers)
            response = await self._transport.handle_async_request(request)
            status = response.status_code
            error_text = "" if response.is_success else f"HTTP status {status} {response.reason_phrase}".rstrip()
            flight.answer = Answer(status, error_text[:_ERROR_CHARS_MAX], retry_after(status, response.headers.raw, now))
            try:
                await _throw_away_body(response)
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - whatever strangers' URLs and servers make of it must not end the daemon
            if flight.answer is None:
                flight.answer = Answer(0, f"{type(error).__name__}: {error}"[:_ERROR_CHARS_MAX])

    def _sent(self, task: asyncio.Task[None]) -> None:
        flight = self._flights.pop(task, None)
        if flight is None:
            return
        answer = flight.answer or Answer(0, f"no answer within {SEND_TIMEOUT_S:g} s")
        _SECONDS.observe(self._clock.monotonic() - flight.started)
        self._landed.append(_Landing(flight, answer))
        self._signal.notify()

    def _end_overdue(self) -> None:
        now = self._clock.monotonic()
        for task, flight in self._flights.items():
            if flight.deadline <= now:
                task.cancel()

    # ---------------------------------------------------------------------------------------------------------- recording

    async def _record(self, now: Micros) -> None:
        """Record what came of messages; what cannot be recorded is kept for the next round."""
        landed = self._landed[:]
        if not landed:
            return
        ended: list[EndedDelivery] = []
        postponed: list[PostponedDelivery] = []
        failures: dict[WebhookId, Failure | None] = {}
        failing: set[WebhookId] = set()
        """Those that failed lately, as far as is known here: of the others it is not worth saying that they do not."""
        for flight, answer in landed:
            delivery = flight.delivery
            reason = "" if answer.taken else verdict(delivery, answer, flight.failing_since, now)
            if flight.failing_since is not None or failures.get(delivery.webhook_id) is not None:
                failing.add(delivery.webhook_id)
            previous = failures.get(delivery.webhook_id)
            failures[delivery.webhook_id] = (
                None
                if answer.taken
                else Failure(delivery.webhook_id, delivery.generation, reason or (previous.verdict if previous else ""))
            )
            pause = None if answer.taken or answer.status_code == GONE else pause_s(delivery.step, answer, self._clock.random())
            if pause is None:
                state = DeliveryState.DELIVERED if answer.taken else DeliveryState.FAILED
                ended.append(EndedDelivery(delivery.id, delivery.attempt, state, answer.status_code, answer.error))
                _SENT.add(1, state)
            else:
                again = Micros(now + int(pause * 1e6))
                postponed.append(PostponedDelivery(delivery.id, delivery.attempt, again, answer.status_code, answer.error))
                _SENT.add(1, "postponed")
            log.debug("webhooks.tried", delivery=format_uuid(delivery.id), status=answer.status_code, error=answer.error)
        # Verdicts first: whoever reads that a delivery is over can rely on what it led to.
        if failed := [failure for failure in failures.values() if failure is not None]:
            await deliveries.note_failures(self._pool, failed, now=now)
        if recovered := [webhook for webhook in failing if failures[webhook] is None]:
            await deliveries.note_successes(self._pool, recovered)
        if ended:
            await deliveries.end(self._pool, ended, now=now)
        if postponed:
            await deliveries.postpone(self._pool, postponed)
        del self._landed[: len(landed)]


def _within(shares: dict[WebhookId, int], budget: int) -> dict[WebhookId, int]:
    """Cut shares to a budget, the first ones first."""
    cut: dict[WebhookId, int] = {}
    for webhook, share in shares.items():
        if budget <= 0:
            break
        cut[webhook] = min(share, budget)
        budget -= cut[webhook]
    return cut


async def _throw_away_body(response: httpx.Response) -> None:
    """Read a body, as it comes over the wire, up to a limit: what is longer costs its connection."""
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > BODY_BYTES_MAX:
            return
