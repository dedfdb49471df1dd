"""A bounded queue from many senders to the one owner of some state.

The owner takes all that has gathered at once and in order, which is what makes batches form under load and single
messages pass without delay when idle. Messages are transitions: none is dropped or merged. A full mailbox refuses, so
that pressure reaches the sender instead of the memory.

A mailbox belongs to one event loop; threads go through `loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class MailboxFull(Exception):  # noqa: N818 -- a condition to handle, like queue.Full
    """The mailbox holds as many messages as it may."""


class MailboxClosed(Exception):  # noqa: N818 -- a condition to handle
    """The mailbox takes no more messages, or has given out its last."""


class Mailbox(Generic[T]):
    """A queue of at most `capacity` messages (1 or more) with one reader; `len` is how many wait."""

    __slots__ = ("_arrival", "_capacity", "_closed", "_items")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox needs room for one message, not {capacity}")
        self._capacity = capacity
        self._items: list[T] = []
        self._closed = False
        # Set while the reader waits.
        self._arrival: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def capacity(self) -> int:
        """How many messages it may hold."""
        return self._capacity

    @property
    def closed(self) -> bool:
        """Whether it refuses further messages."""
        return self._closed

    def put(self, item: T) -> None:
        """Add a message.

        Raises `MailboxFull` or `MailboxClosed`; the message was then not taken. Costs about 0.1 us.
        """
        if self._closed:
            raise MailboxClosed
        items = self._items
        if len(items) >= self._capacity:
            raise MailboxFull
        items.append(item)
        if self._arrival is not None:
            self._wake()

    async def drain(self) -> list[T]:
        """Take all messages in the order they came, waiting until there is one.

        Raises `MailboxClosed` once the mailbox is closed and empty. Cancelling the wait loses nothing. Only one task
        may wait at a time: a second one is a bug and raises RuntimeError.
        """
        while not self._items:
            if self._closed:
                raise MailboxClosed
            if self._arrival is not None:
                raise RuntimeError("a mailbox has one reader")
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self.drain_nowait()

    def drain_nowait(self) -> list[T]:
        """Take all messages there are, possibly none, in the order they came."""
        items = self._items
        self._items = []
        return items

    def close(self) -> None:
        """Refuse further messages; those inside can still be drained. Closing again does nothing."""
        self._closed = True
        if self._arrival is not None:
            self._wake()

    def _wake(self) -> None:
        # A woken reader has not run yet when the next message comes: it is marked done already.
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
