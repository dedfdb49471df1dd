"""The buckets in Redis, which all gateways share.

Theory of operation. One task owns the conversation with Redis: requests put their questions into a queue and wait; the
task sends all that have gathered as one call of one script and gives out the answers, then the next. So there is one
round trip at a time, whatever the number of requests, and each request waits for at most two.

The task is the circuit breaker too. While it has no working connection nothing is queued: `take` answers at once that
nobody knows, and the caller decides by itself. What was under way when Redis broke is answered so as soon as that is
noticed, and what it is late with after `PATIENCE_S`; the task itself waits for a late answer a little longer, and goes on
with Redis if it comes. The task alone tries to come back, at growing intervals; no request ever waits for that.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from foliot.kit.backoff import Backoff
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.telemetry import Counter
from foliot_gateway.http.limits.gcra import Decision
from foliot_gateway.http.redis_link import REDIS_ERRORS, ended_within, patiently

BATCH_MAX: Final = 256
"""Requests decided by one call: about a millisecond of Redis, which does nothing else meanwhile."""

PATIENCE_S: Final = 0.05
"""How long Redis may keep requests waiting, before they are decided here: a hundred times its usual answer."""

WAITING_MAX: Final = 4096
"""Requests that may wait for Redis; further ones are decided here, as it does not keep up."""

STABLE_S: Final = 10.0
"""After how long with Redis a loss counts as the first, and a new connection is tried at once."""

_BACKOFF: Final = Backoff(initial_s=0.2, max_s=5.0)
_PREFIX: Final = "foliot:limit:"
_SCRIPT: Final = (files("foliot_gateway.http.limits") / "gcra.lua").read_text("utf-8")
_SCRIPT_SHA1: Final = hashlib.sha1(_SCRIPT.encode("utf-8"), usedforsecurity=False).hexdigest()
"""Redis's name of the script: EVALSHA takes it."""

_LOG = get_logger("gateway")
_LOSSES = Counter(
    "foliot_gateway_redis_losses_total",
    unit="losses",
    description="How often Redis stopped answering, and the gateway began to limit on its own.",
)


class _Question:
    """A request that waits for its decision."""

    __slots__ = ("answer", "key", "limit")

    def __init__(self, key: str, limit: int, answer: asyncio.Future[Decision | None]) -> None:
        self.key = key
        self.limit = limit
        self.answer = answer


class SharedBuckets(Part):
    """Buckets in Redis. Does not own the client: whoever made it closes it after this part has stopped."""

    def __init__(self, redis: Redis, *, clock: Clock | None = None) -> None:
        """Take the client. With a `clock` the buckets go by its wall time, without one by that of Redis."""
        super().__init__("gateway.shared_limits")
        self._redis = redis
        self._clock = clock or SystemClock()
        self._reads_own_clock = clock is not None
        self._waiting: list[_Question] = []
        self._arrived = asyncio.Event()
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether Redis answers, and in time."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Wait until Redis answers."""
        await self._connected.wait()

    async def take(self, key: str, limit: int) -> Decision | None:
        """Decide on a request; nothing if Redis is away or does not keep up."""
        if not self._connected.is_set() or len(self._waiting) >= WAITING_MAX:
            return None
        question = _Question(key, limit, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._arrived.set()
        return await question.answer

    async def on_start(self) -> None:
        """Connect if Redis answers at once; a gateway starts without it all the same."""
        await self._connect()

    async def run(self) -> None:
        """Answer for as long as Redis does, and find it again when it went away."""
        failures = 0
        while True:
            if self.connected or await self._connect():
                began = self._clock.monotonic()
                await self._serve()
                if self._clock.monotonic() - began >= STABLE_S:
                    failures = 0
                    continue
            # One that takes connections and then does not answer is as good as away.
            failures += 1
            await self._clock.sleep(_BACKOFF.delay(failures, self._clock))

    async def on_stop(self) -> None:
        """Leave nobody waiting."""
        self._lose()

    async def _connect(self) -> bool:
        try:
            await patiently(self._redis.script_load(_SCRIPT))
        except REDIS_ERRORS:
            return False
        self._connected.set()
        _LOG.info("gateway.redis_connected")
        return True

    async def _serve(self) -> None:
        """Answer batch by batch; returns when Redis fails."""
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            if not self._waiting:
                self._arrived.clear()
            conversation = asyncio.ensure_future(patiently(self._decide(batch)))
            try:
                if not await ended_within(conversation, PATIENCE_S):
                    _answer(batch, [None] * len(batch))
                    self._lose()
                decisions = await conversation
            except REDIS_ERRORS as error:
                _LOSSES.add()
                # The kind of error only: a message may quote what was sent.
                _LOG.warning("gateway.redis_lost", error=type(error).__name__)
                _answer(batch, [None] * len(batch))
                self._lose()
                return
            except BaseException:
                conversation.cancel()
                _answer(batch, [None] * len(batch))
                raise
            _answer(batch, decisions)
            self._connected.set()

    async def _decide(self, batch: Sequence[_Question]) -> list[Decision]:
        keys = [_PREFIX + question.key for question in batch]
        now = str(self._clock.now_us()) if self._reads_own_clock else ""
        arguments: list[str | int] = [*keys, now, *(question.limit for question in batch)]
        try:
            found: list[int] = await self._redis.evalsha(_SCRIPT_SHA1, len(keys), *arguments)
        except NoScriptError:  # Redis was started anew, or somebody flushed its scripts
            found = await self._redis.eval(_SCRIPT, len(keys), *arguments)
        return [
            Decision(allowed == 1, question.limit, level)
            for question, allowed, level in zip(batch, found[::2], found[1::2], strict=True)
        ]

    def _lose(self) -> None:
        """Let everybody who waits decide alone."""
        self._connected.clear()
        self._arrived.clear()
        batch, self._waiting = self._waiting, []
        _answer(batch, [None] * len(batch))


def _answer(batch: Sequence[_Question], decisions: Sequence[Decision | None]) -> None:
    for question, decision in zip(batch, decisions, strict=True):
        if not question.answer.done():  # its request may be gone
            question.answer.set_result(decision)
