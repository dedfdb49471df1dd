"""The one place that reads time or draws randomness.

Everything else is given a `Clock`, so that a test or a simulation decides what time it is and what the dice show. Two
kinds of time must not be mixed: `now`/`now_us` are the wall clock, for records and due times, and may jump; `monotonic`
only grows and is for budgets and leases, but means nothing outside the process.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS_PER_SECOND = 1_000_000


class Clock(Protocol):
    """Time, waiting, randomness and new identifiers."""

    def now(self) -> datetime:
        """Answer the wall clock as an aware datetime in UTC."""
        ...

    def now_us(self) -> int:
        """Answer the wall clock in microseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Answer seconds since an arbitrary start; it never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; zero or less gives way to other tasks once."""
        ...

    def random(self) -> float:
        """Draw a number from [0, 1), for jitter; not for secrets."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Draw `count` bytes; from `SystemClock` they are fit for secrets."""
        ...

    def uuid7(self) -> bytes:
        """Make the 16 bytes of a UUIDv7, greater than every one this process made before."""
        ...


class UuidSequence:
    """Makes UUIDv7 values (RFC 9562, section 5.7) that strictly increase, even when the clock stands or steps back.

    Within one millisecond rand_a stays and rand_b grows by a random step (section 6.2, method 2), so that values keep
    their order and still cannot be guessed from a neighbour. Safe to call from several threads. Draws from `generator`.
    """

    # rand_b has 62 bits. A fresh one uses 61, which leaves room for 2^28 steps of at most 2^33 before it runs over, far
    # more than a process can take in one millisecond.
    _RAND_B_LIMIT = 1 << 62
    _RAND_B_FRESH_BITS = 61
    _STEP_BITS = 33

    __slots__ = ("_bits", "_head", "_last_ms", "_lock", "_rand_b")

    def __init__(self, generator: random.Random) -> None:
        self._lock = threading.Lock()
        self._bits = generator.getrandbits
        self._last_ms = -1
        self._head = 0
        self._rand_b = 0

    def next(self, now_ms: int) -> bytes:
        """Make the next value; `now_ms` is the wall clock in milliseconds since the Unix epoch."""
        # Ids are made on the hot path, one for each task and more, so this costs well under a microsecond: the parts
        # are kept shifted into place, so that a value within the same millisecond costs one draw, two additions and one
        # conversion.
        with self._lock:
            rand_b = self._rand_b + 1 + self._bits(self._STEP_BITS)
            if now_ms > self._last_ms or rand_b >= self._RAND_B_LIMIT:
                # A clock that stepped back keeps the last millisecond; running over moves to the one after it.
                self._last_ms = now_ms if now_ms > self._last_ms else self._last_ms + 1
                self._head = (((self._last_ms << 16) | 0x7000 | self._bits(12)) << 64) | (0b10 << 62)
                rand_b = self._bits(self._RAND_B_FRESH_BITS)
            self._rand_b = rand_b
            return (self._head | rand_b).to_bytes(16, "big")


# One sequence for the process: two `SystemClock`s must not make the same value, nor break the order of each other's.
# Both generators are seeded by the operating system; `random.Random` draws in 50 ns where os.urandom takes 600.
_jitter = random.Random()
_uuids = UuidSequence(random.Random())


def _reseed_after_fork() -> None:
    """Keep a forked child from repeating its parent's draws, and from a lock held by a thread that it lacks."""
    global _uuids  # noqa: PLW0603 -- the process's one sequence starts afresh
    _jitter.seed()
    _uuids = UuidSequence(random.Random())


os.register_at_fork(after_in_child=_reseed_after_fork)


class SystemClock:
    """The machine's clock and randomness."""

    __slots__ = ()

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)

    def random(self) -> float:
        """See `Clock.random`."""
        return _jitter.random()

    def random_bytes(self, count: int) -> bytes:
        """See `Clock.random_bytes`."""
        return os.urandom(count)

    def uuid7(self) -> bytes:
        """See `Clock.uuid7`."""
        return _uuids.next(time.time_ns() // 1_000_000)


class ManualClock:
    """A clock that stands still until a test moves it, with randomness from a seed.

    It stands at `start` (aware) at first. The same `seed` and the same calls give the same draws and identifiers. Only
    one event loop may sleep on it.
    """

    # After each wake-up the woken tasks get this many turns of the event loop before time goes on. A task woken from
    # sleep needs one turn for each await on its way to its next sleep; the deepest chains of our parts need about ten.
    _SETTLE_TURNS = 50

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, seed: int = 0) -> None:
        self._wall_us = (start - _EPOCH) // timedelta(microseconds=1)
        self._elapsed_us = 0
        self._random = random.Random(seed)
        self._uuids = UuidSequence(random.Random(seed + 1))
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sleeps_started = 0
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        """See `Clock.now`."""
        return _EPOCH + timedelta(microseconds=self._wall_us)

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return self._wall_us

    def monotonic(self) -> float:
        """Answer the seconds that `advance` and `run_for` have added up to."""
        return self._elapsed_us / _MICROS_PER_SECOND

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved on by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake_at_us = self._elapsed_us + max(1, round(seconds * _MICROS_PER_SECOND))
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeps_started += 1
        heapq.heappush(self._sleepers, (wake_at_us, self._sleeps_started, woken))
        self._changed.set()
        await woken

    def random(self) -> float:
        """See `Clock.random`."""
        return self._random.random()

    def random_bytes(self, count: int) -> bytes:
        """See `Clock.random_bytes`; these are not fit for secrets."""
        return self._random.randbytes(count)

    def uuid7(self) -> bytes:
        """See `Clock.uuid7`."""
        return self._uuids.next(self._wall_us // 1_000)

    @property
    def sleeper_count(self) -> int:
        """How many tasks sleep on the clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def wait_sleepers(self, count: int = 1) -> None:
        """Wait until at least `count` tasks sleep on the clock: the signal that a loop has come to its pause."""
        while self.sleeper_count < count:
            self._changed.clear()
            await self._changed.wait()

    def advance(self, seconds: float) -> None:
        """Move both clocks on by `seconds` and mark the sleepers that are due as woken, the earliest first.

        They run when the caller next awaits; one that sleeps again does so from the new time. Use `run_for` where loops
        must get each of their turns.
        """
        self._move_to(self._elapsed_us + round(seconds * _MICROS_PER_SECOND))

    async def run_for(self, seconds: float) -> None:
        """Move on by `seconds` in steps, from one wake-up to the next, and let the woken tasks run in between."""
        end_us = self._elapsed_us + round(seconds * _MICROS_PER_SECOND)
        await self._settle()
        while self._drop_cancelled() and self._sleepers[0][0] <= end_us:
            self._move_to(self._sleepers[0][0])
            await self._settle()
        self._move_to(end_us)
        await self._settle()

    def shift_wall(self, seconds: float) -> None:
        """Step the wall clock by `seconds`, back if negative, as an operator or a time server would."""
        self._wall_us += round(seconds * _MICROS_PER_SECOND)

    def _move_to(self, elapsed_us: int) -> None:
        if elapsed_us < self._elapsed_us:
            raise ValueError("monotonic time does not go back; use shift_wall")
        self._wall_us += elapsed_us - self._elapsed_us
        self._elapsed_us = elapsed_us
        while self._sleepers and self._sleepers[0][0] <= elapsed_us:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    def _drop_cancelled(self) -> bool:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._sleepers)

    async def _settle(self) -> None:
        for _ in range(self._SETTLE_TURNS):
            await asyncio.sleep(0)
