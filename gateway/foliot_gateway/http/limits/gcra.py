"""The generic cell rate algorithm, as a leaky bucket that is a meter.

The algorithm is ITU-T I.371's (annex A), whose two forms, virtual scheduling and the leaky bucket, let the same
requests through. The bucket is used here because it is exact in whole numbers: a limit of L requests a minute drains L
units each microsecond, and one request is 60,000,000 units, so nothing is ever rounded. The largest number that occurs,
a bucket full to the largest limit, is 6e15 and below 2^53: Lua in Redis, whose numbers are doubles, counts the same.

What it promises, for a limit of L: L requests may come at once, and after them L a minute, evenly. So in any span of
t seconds at most L + L * t / 60 are let through, and one that comes at least 60 / L seconds after the last always is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60
"""What limits count by: requests a minute."""

REQUEST_UNITS: Final = WINDOW_S * 1_000_000
"""What one request pours into its bucket."""

LIMIT_MAX: Final = 100_000_000
"""The largest limit, in requests a minute: the contract's for `requests_per_minute`. Larger ones would not be exact in Lua."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is remembered of a credential."""

    level: int
    """How full it was, in units."""

    at_us: int
    """When, in microseconds; since when is the keeper's choice, as long as it is always the same."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a request is told."""

    allowed: bool
    """Whether it is let through."""

    limit: int
    """Requests a minute, and how many may come at once."""

    level: int
    """How full the bucket is now, in units."""

    @property
    def remaining(self) -> int:
        """How many requests would be let through if they came now."""
        return max(0, self.limit - -(-self.level // REQUEST_UNITS))

    @property
    def more_after_us(self) -> int:
        """After how many microseconds the next request would be let through; 0: at once."""
        over = self.level + REQUEST_UNITS - self.limit * REQUEST_UNITS
        return max(0, -(-over // self.limit))

    @property
    def reset_after_us(self) -> int:
        """After how many microseconds there is more: the next request if none is left, the whole limit otherwise."""
        return self.more_after_us or -(-self.level // self.limit)


def drained(bucket: Bucket, *, now_us: int, limit: int) -> int:
    """Return the level of a bucket at `now_us` that drains by `limit` requests a minute.

    A clock that went back drains nothing. A limit that was lowered meanwhile finds the bucket full, never over-full.
    """
    elapsed_us = max(0, now_us - bucket.at_us)
    return max(0, min(bucket.level, limit * REQUEST_UNITS) - elapsed_us * limit)


def decide(bucket: Bucket | None, *, now_us: int, limit: int) -> Decision:
    """Return whether a request is let through now; its level is to be remembered, together with the time.

    `limit` is from 1 to LIMIT_MAX; no bucket is an empty one.
    """
    level = 0 if bucket is None else drained(bucket, now_us=now_us, limit=limit)
    if level + REQUEST_UNITS <= limit * REQUEST_UNITS:
        return Decision(True, limit, level + REQUEST_UNITS)
    return Decision(False, limit, level)
