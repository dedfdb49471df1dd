"""A term whose events are sent: the real engine, commit, sender and keeper, a controlled clock, and receivers on real ports."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foliot.kit.addresses import AddressPolicy
from foliot.kit.guarded_http import guarded_transport
from foliot_scheduler.actors.leadership import Leadership
from foliot_scheduler.actors.outbox_signal import OutboxSignal
from foliot_scheduler.actors.webhook_keeper import WebhookKeeper
from foliot_scheduler.actors.webhooks import WebhookSender
from foliot_scheduler.core.subscriptions import CreateWebhook, Webhook, WebhookEvent, WebhookId
from foliot_scheduler.core.types import Micros
from foliot_scheduler.store import webhooks as store
from foliot_scheduler.store.webhooks import DeliveryRow, DeliveryState, WebhookRow
from tests.integration.actors.terms import PROJECT, Terms, first_term
from tests.integration.worker.http_server import Answer, HttpServer, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from foliot.kit.clock import ManualClock
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.pool import Pool

KEY = bytes(range(32))
"""What signs the deliveries of every webhook here."""


def check_signature(request: Request, key: bytes = KEY) -> None:
    """Verify a message as the Standard Webhooks specification tells receivers to."""
    headers = request.headers
    to_sign = headers["webhook-id"] + "." + headers["webhook-timestamp"] + "." + request.body.decode()
    expected = base64.b64encode(hmac.new(key, to_sign.encode(), hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"].split(",", 1) == ["v1", expected]


class _Term(Leadership):
    """The term of a story, which is led by nobody else."""

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self._terms = terms

    async def execute(self, command: Command) -> Reply:
        return await self._terms.ask(command)


@dataclass
class Receiver:
    """A receiver that does as it is told."""

    answer: Callable[[Request], Awaitable[Answer]] | None
    """None: it never answers."""
    server: HttpServer = field(init=False)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.server = HttpServer(self._handle)

    async def _handle(self, request: Request) -> Answer:
        check_signature(request)
        self.arrived.set()
        if self.answer is None:
            await self.closing.wait()
            raise ConnectionResetError
        return await self.answer(request)

    @property
    def url(self) -> str:
        return self.server.url("/hook")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies of all messages, in the order they came."""
        return [json.loads(request.body) for request in self.server.requests]

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.server.requests]


async def takes(request: Request) -> Answer:
    """A receiver that takes every message."""
    return Answer()


def answers(status: int, **headers: str) -> Callable[[Request], Awaitable[Answer]]:
    """A receiver that always answers so."""

    async def answer(request: Request) -> Answer:
        return Answer(status, b"a body", {name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@dataclass
class Outbox:
    """The whole of it."""

    terms: Terms
    pool: Pool
    sender: WebhookSender
    keeper: WebhookKeeper
    signal: OutboxSignal
    stack: AsyncExitStack

    @property
    def clock(self) -> ManualClock:
        return self.terms.clock

    async def receiver(self, answer: Callable[[Request], Awaitable[Answer]] | None = takes) -> Receiver:
        """Open a receiver."""
        receiver = Receiver(answer)
        await self.stack.enter_async_context(receiver.server)
        self.stack.callback(receiver.closing.set)
        return receiver

    async def subscribe(self, url: str, *events: WebhookEvent, project: Project = PROJECT) -> WebhookId:
        """Make a webhook; of everything, unless events are named."""
        reply = await self.terms.ask(CreateWebhook(project, url, "", frozenset(events), KEY))
        assert isinstance(reply, Webhook)
        return reply.id

    async def send(self) -> None:
        """Let the sender do what is to be done now, to its end."""
        self.signal.notify()
        await self.sender.wait_rest()

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, and the sender do what is then due."""
        self.clock.advance(seconds)
        await self.send()

    async def pass_time_until_sent(self, webhook_id: WebhookId) -> None:
        """Let time go by, from one try to the next, until nothing is on its way to a webhook; the keeper does its part."""
        while pending := await self.deliveries(webhook_id, DeliveryState.PENDING):
            next_at = min(delivery.next_attempt_at or 0 for delivery in pending)
            await self.pass_time(max((next_at - self.clock.now_us()) / 1e6, 0))
            await self.keeper.run_once()

    async def deliveries(self, webhook_id: WebhookId, state: DeliveryState | None = None) -> list[DeliveryRow]:
        """The deliveries of a webhook, newest first."""
        rows, _ = await store.list_deliveries(self.pool, webhook_id, state=state, limit=1_000, offset=0)
        return rows

    async def webhook(self, webhook_id: WebhookId) -> WebhookRow:
        """A webhook as PostgreSQL has it."""
        row = await store.get_webhook(self.pool, PROJECT, webhook_id)
        assert row is not None
        return row

    def another_sender(self, policy: AddressPolicy | None = None) -> WebhookSender:
        """A sender of another replica, which may reach other addresses."""
        return _sender(self.pool, self.terms, policy=policy)


def _sender(pool: Pool, terms: Terms, signal: OutboxSignal | None = None, policy: AddressPolicy | None = None) -> WebhookSender:
    async def read_clock(_: Pool) -> Micros:
        """PostgreSQL's time, which goes on with the test's and is not stepped with the hosts' clocks."""
        return Micros(terms.began_us + round(terms.clock.monotonic() * 1e6))

    return WebhookSender(
        pool=pool,
        transport=guarded_transport(policy or AddressPolicy()),
        user_agent="foliot/test",
        signal=signal or OutboxSignal(),
        leadership=Leadership(),
        clock=terms.clock,
        read_clock=read_clock,
    )


@asynccontextmanager
async def open_outbox(database_url: str, pool: Pool) -> AsyncIterator[Outbox]:
    """Begin a term with a sender."""
    async with AsyncExitStack() as stack, first_term(database_url) as terms:
        signal = OutboxSignal()
        sender = _sender(pool, terms, signal)
        keeper = WebhookKeeper(pool=pool, leadership=_Term(terms), clock=terms.clock)
        await stack.enter_async_context(sender)
        yield Outbox(terms, pool, sender, keeper, signal, stack)
