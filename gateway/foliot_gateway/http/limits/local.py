"""The buckets of this process: what decides without Redis, and stands in while it is away."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from foliot.kit.clock import Clock
from foliot_gateway.http.limits.gcra import REQUEST_UNITS, Bucket, Decision, decide, drained

BUCKETS_MAX: Final = 50_000
"""How many credentials are remembered: about 15 MB. Past it the one that was quiet longest is forgotten; who commands more
addresses than this is not to be held by a limit for each of them."""

_FORGOTTEN_AFTER_US: Final = REQUEST_UNITS
"""A full bucket is empty after a minute, and need not be kept. A request has as many units as a minute has microseconds."""

_FORGOTTEN_AT_ONCE: Final = 2
"""How many outlived buckets go for each that comes: more than one, so that what piled up goes."""


class LocalBuckets:
    """Buckets by key, the quiet ones first; used from one thread, the event loop's."""

    def __init__(self, clock: Clock, *, buckets_max: int = BUCKETS_MAX) -> None:
        """Take the clock, whose monotonic time counts: a bucket means nothing outside of the process."""
        self._clock = clock
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, limit: int) -> Decision:
        """Decide on a request."""
        now_us = self._now_us()
        decision = decide(self._buckets.get(key), now_us=now_us, limit=limit)
        self._keep(key, Bucket(decision.level, now_us))
        return decision

    def peek(self, key: str, limit: int) -> Decision:
        """Return what a request would be told, without counting one."""
        bucket = self._buckets.get(key)
        level = 0 if bucket is None else drained(bucket, now_us=self._now_us(), limit=limit)
        return Decision(level + REQUEST_UNITS <= limit * REQUEST_UNITS, limit, level)

    def note(self, key: str, level: int) -> None:
        """Take over what somebody else knows, so that standing in for it begins there and not at nothing."""
        self._keep(key, Bucket(level, self._now_us()))

    def _keep(self, key: str, bucket: Bucket) -> None:
        buckets = self._buckets
        if key in buckets:
            buckets.move_to_end(key)
        else:
            for _ in range(_FORGOTTEN_AT_ONCE):
                oldest = next(iter(buckets), None)
                if oldest is None or (
                    len(buckets) < self._buckets_max and bucket.at_us - buckets[oldest].at_us < _FORGOTTEN_AFTER_US
                ):
                    break
                del buckets[oldest]
        buckets[key] = bucket

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)
