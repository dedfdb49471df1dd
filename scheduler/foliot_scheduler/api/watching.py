"""Watch streams: what a thing looks like, again after each change, until it has ended.

PostgreSQL is read again and again, soon after a change and ever more seldom while nothing happens, so that a watch
is right on any replica and after any loss of hints. Changes between two looks are sent as one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.api.ports import ChangeHints

PAUSE_S_MIN: Final = 0.05
"""After a change: fast enough for a person, slow enough to send a burst of changes as one."""

PAUSE_S_MAX: Final = 1.0
"""How late a change is seen at most that no hint told of."""

LOOK_SHARE: Final = 0.1
"""The part of the time that one watch may spend looking: a look at a run of 100,000 tasks takes a second."""

MessageT = TypeVar("MessageT", bound=Message)


async def watch(
    look: Callable[[], Awaitable[tuple[MessageT, bool]]], watched: bytes, hints: ChangeHints, clock: Clock
) -> AsyncIterator[MessageT]:
    """Give what `look` gives (the message, and whether the thing has ended) now and after each change, until it has ended."""
    sent = None
    pause_s = PAUSE_S_MIN
    while True:
        started = clock.monotonic()
        message, ended = await look()
        raw = message.SerializeToString(deterministic=True)
        if raw != sent:
            yield message
            sent, pause_s = raw, PAUSE_S_MIN
        if ended:
            return
        took_s = clock.monotonic() - started
        await hints.wait((watched,), max(pause_s, took_s / LOOK_SHARE))
        pause_s = min(pause_s * 2, PAUSE_S_MAX)
