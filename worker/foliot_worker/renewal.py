"""How long leases can be trusted, and when to renew them. Pure: instants are monotonic seconds that the caller supplies.

Every confirmed heartbeat renews all leases for `lease_ttl` from when it was *sent*; hello counts as one. Part of that is kept
as a margin in which to stop what runs, so that it has ended before the scheduler, which counts from when it received the
heartbeat, gives the work to another.
"""

from __future__ import annotations

import math
from typing import Final

from foliot.v1.worker_pb2 import Welcome
from foliot_worker.stream_state import RemoteProtocolError

MARGIN_FRACTION: Final = 0.3
"""Part of the lease's life kept for stopping: work is asked to stop after 70 % and killed after 90 % of it."""

LOST_GRACE_FRACTION: Final = 0.2
"""Part of the lease's life that stopping may take once the lease cannot be renewed; less than the margin."""

_HELLO: Final = 0
"""Stands for hello among the heartbeats, which are numbered from 1."""


class Renewal:
    """The heartbeats of one worker and what they are worth."""

    def __init__(self) -> None:
        self.trusted_until = -math.inf
        """Until when the leases held are certainly this worker's."""
        self.beat_at = math.inf
        """When the next heartbeat is due; infinite without a stream."""
        self._ttl_s = 0.0
        self._interval_s = math.inf
        self._sequence = _HELLO
        # Heartbeats that were sent and are not confirmed: sequence and instant, oldest first.
        self._sent: dict[int, float] = {}

    def hello_sent(self, now: float) -> None:
        """Note that hello is about to be sent."""
        self._sent = {_HELLO: now}

    def welcomed(self, welcome: Welcome, now: float) -> None:
        """Note the terms. Raises `RemoteProtocolError` if they cannot be kept, or hello was not sent."""
        ttl_s = welcome.lease_ttl.ToMicroseconds() / 1e6
        interval_s = welcome.heartbeat_interval.ToMicroseconds() / 1e6
        if not 0 < interval_s < ttl_s * (1 - MARGIN_FRACTION):
            raise RemoteProtocolError(f"leases of {ttl_s} s with heartbeats every {interval_s} s")
        self._ttl_s, self._interval_s = ttl_s, interval_s
        self.confirmed(_HELLO)
        self.beat_at = now + interval_s

    def beat_due(self, now: float) -> bool:
        """Answer whether a heartbeat is due; the next one then is due an interval later."""
        if now < self.beat_at:
            return False
        self.beat_at = now + self._interval_s
        return True

    def beat_sent(self, now: float) -> int:
        """Note that a heartbeat is about to be sent; answer its sequence."""
        self._sequence += 1
        self._sent[self._sequence] = now
        return self._sequence

    def confirmed(self, sequence: int) -> None:
        """Note a confirmation. Raises `RemoteProtocolError` if there was no such heartbeat, or it was confirmed before."""
        sent_at = self._sent.get(sequence)
        if sent_at is None:
            raise RemoteProtocolError(f"heartbeat {sequence} was confirmed and never sent, or confirmed twice")
        self._sent = {number: at for number, at in self._sent.items() if number > sequence}
        self.trusted_until = max(self.trusted_until, sent_at + self._ttl_s * (1 - MARGIN_FRACTION))

    def unanswered(self, now: float) -> bool:
        """Answer whether the other side is silent: half of the lease's life is left for a new stream to renew it."""
        return bool(self._sent) and now - next(iter(self._sent.values())) > self._ttl_s / 2

    def lost_grace_s(self, now: float) -> float:
        """Answer how long work may take to stop once the leases are not trusted any more; 0 if they have ended."""
        ends_at = self.trusted_until + self._ttl_s * MARGIN_FRACTION
        return min(self._ttl_s * LOST_GRACE_FRACTION, max(0.0, ends_at - now))

    def stream_ended(self) -> None:
        """Forget the heartbeats that nobody will confirm."""
        self._sent.clear()
        self.beat_at = math.inf
