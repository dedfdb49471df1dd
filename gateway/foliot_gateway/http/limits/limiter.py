"""Decides by the buckets that all gateways share while Redis answers, and by those of this process while it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_gateway.http.limits.gcra import Decision
from foliot_gateway.http.limits.local import LocalBuckets

if TYPE_CHECKING:
    from foliot_gateway.http.limits.shared import SharedBuckets


class Limiter:
    """Both kinds of buckets as one."""

    def __init__(self, local: LocalBuckets, shared: SharedBuckets | None = None) -> None:
        """Take the buckets; without shared ones each gateway counts alone."""
        self._local = local
        self._shared = shared

    async def take(self, key: str, limit: int) -> Decision:
        """Decide on a request."""
        shared = self._shared
        if shared is not None:
            decision = await shared.take(key, limit)
            if decision is not None:
                # So that a credential that has used up its limit gets no second one when Redis goes away.
                self._local.note(key, decision.level)
                return decision
        return self._local.take(key, limit)

    def peek(self, key: str, limit: int) -> Decision:
        """Return what a request would be told as far as this process knows, without counting one."""
        return self._local.peek(key, limit)
