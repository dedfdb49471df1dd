"""How many calls of each kind a replica serves at once: who comes to a full room is told to come back, before anything is done.

Each kind has a room of its own, so that a flood of one leaves the others theirs: reads go on while writes are refused, and
workers keep their streams whatever callers do. What requests hold together is bounded in bytes too, which turns away large ones
alone.
"""

from __future__ import annotations

from typing import Final

from foliot.kit.errors import ErrorReason, FoliotError

WRITES_MAX: Final = 10_000
"""Calls that change something: more than the new work that may wait to be recorded, so that cancels and reports find a place."""

READS_MAX: Final = 2_000
"""Calls that only read: a second or two of work for the connections to PostgreSQL, for which they wait in turn."""

WATCHES_MAX: Final = 1_000
"""Watches: each reads once a second at least."""

PUSHES_MAX: Final = 1_000
"""Log pushes: each has one message in memory at a time, and a worker makes one after another."""

WORKERS_MAX: Final = 10_000
"""Work streams."""

REQUEST_BYTES_MAX: Final = 256 * 1024 * 1024
"""What the requests of unary calls under way may hold together: sixteen of the largest."""

SMALL_BYTES: Final = 64 * 1024
"""A request of at most so many bytes is never refused for its size: cancels and reports are smaller, and the rooms bound them."""

RETRY_S: Final = 1.0
"""When to come back to a full room."""


class Room:
    """Calls of one kind that are under way."""

    def __init__(self, what: str, most: int) -> None:
        """Take what the calls are called, and how many there may be."""
        self._what = what
        self._most = most
        self.inside = 0

    def enter(self) -> None:
        """Begin a call. Raises FoliotError OVERLOADED if there is no room."""
        if self.inside >= self._most:
            raise _full(f"{self._most} {self._what} are under way; a replica serves no more at once")
        self.inside += 1

    def leave(self) -> None:
        """End a call."""
        self.inside -= 1


class Rooms:
    """The rooms of a replica."""

    def __init__(self, *, writes_max: int = WRITES_MAX, reads_max: int = READS_MAX, bytes_max: int = REQUEST_BYTES_MAX) -> None:
        """Take how many calls may write and read at once, and what their requests may hold together."""
        self.writes = Room("calls that change something", writes_max)
        self.reads = Room("calls that read", reads_max)
        self.watches = Room("watches", WATCHES_MAX)
        self.pushes = Room("log pushes", PUSHES_MAX)
        self.workers = Room("work streams", WORKERS_MAX)
        self._bytes_max = bytes_max
        self.held = 0
        """Bytes of the requests of unary calls under way."""

    def hold(self, size: int) -> None:
        """Count a request. Raises FoliotError OVERLOADED if it is large and there is no room for it."""
        if size > SMALL_BYTES and self.held + size > self._bytes_max:
            raise _full(f"the requests under way hold {self.held} bytes; a replica holds no more than {self._bytes_max} at once")
        self.held += size

    def let_go(self, size: int) -> None:
        """Count out a request that was counted."""
        self.held -= size


def _full(message: str) -> FoliotError:
    return FoliotError(ErrorReason.OVERLOADED, message, retry_after_s=RETRY_S)
