"""The connection to Redis: made in one place, so that every user of it has the same short patience.

Nothing that must not be lost is in Redis. A command that fails or is late is given up, and its user goes on without.

The library takes a quarter of a second to import: only what needs this module when a Redis is configured imports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from foliot.kit.settings import SettingsError

TIMEOUT_S: Final = 0.25
"""How long Redis may take: hundreds of times its usual answer on a local network, and still little to a caller that waits."""

SOCKET_TIMEOUT_S: Final = 5.0
"""How long a socket may be silent: only a net below `patiently` and its like."""

CONNECTIONS_MAX: Final = 8
"""One for the rate limits, the others for what is asked now and then."""

MEMORY_TIMEOUT_S: Final = 1.0
"""How long the question after its memory may take, waiting for others who ask it included."""

Answer = TypeVar("Answer")

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a command raises when Redis is away, late, or not what it should be."""


async def patiently(call: Awaitable[Answer]) -> Answer:
    """Return what a command answers; raises TimeoutError after `TIMEOUT_S`."""
    task = asyncio.ensure_future(call)
    try:
        if await ended_within(task, TIMEOUT_S):
            return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # however it ends, that was known


async def ended_within(task: asyncio.Future[Answer], seconds: float) -> bool:
    """Wait for so long at most and answer whether the task has ended.

    The time passes in two halves, because a loop that was busy for the whole of it must come to read the answer that has
    arrived meanwhile before it may call Redis late.
    """
    for _ in range(2):
        done, _ = await asyncio.wait({task}, timeout=seconds / 2)
        if done:
            return True
    return False


class RedisMemory:
    """Asks Redis after its memory; one connection serves all who ask."""

    def __init__(self, redis: Redis) -> None:
        """Take the client."""
        self._redis = redis
        self._asking = asyncio.Lock()

    async def __call__(self) -> Mapping[str, Any] | None:
        """Return the section `memory` of its INFO; nothing if it does not answer."""
        try:
            async with asyncio.timeout(MEMORY_TIMEOUT_S), self._asking:
                found: dict[str, Any] = await self._redis.info("memory")
        except REDIS_ERRORS:
            return None
        return found


def open_redis(url: str) -> Redis:
    """Return a client for a URL; it connects when it is first used.

    Raises SettingsError for a URL that cannot be one, without quoting it: it may hold a password.
    """
    try:
        return Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # who asks decides what to do instead
            max_connections=CONNECTIONS_MAX,
            client_name="foliot-gateway",
        )
    except (ValueError, TypeError):
        raise SettingsError("--redis-url", "is not a URL of a Redis") from None
