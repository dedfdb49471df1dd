"""How many leases a worker is to hold beyond those it runs.

Theory of operation. A worker that runs no-op functions ends thousands of them in the time of one round trip, and must have as
many at hand; one that runs hours needs none, and each that waited in its hands would be kept from an idle worker. So every
worker is given a few leases for each slot, of whatever kind; and beyond those only tasks of a placement whose pace on this
worker is known to be high, as many as it will end within AHEAD, up to its capacity. The pace is taken anew all the time, so a
placement that becomes slow loses its place at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core.types import MILLISECOND, SECOND, Micros, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot_scheduler.core.model import Lease, Placement, Worker

PER_SLOT = 5
"""Leases for each slot whatever the pace: the slots are filled, and four times as many wait. A worker without anything at hand
would idle for a round trip after each task."""

AHEAD = Span(100 * MILLISECOND)
"""How much work of a fast kind a worker has at hand: several round trips with a commit of 5 to 15 ms each."""

PACE_SPAN = Span(20 * MILLISECOND)
"""How long a pace is measured at least: several batches of results."""

PACE_KEPT = Span(1 * SECOND)
"""A pace that was measured longer ago says nothing."""


def base_window(worker: Worker) -> int:
    """How many leases a worker may hold whatever their pace."""
    profile = worker.profile
    slots = profile.concurrency or profile.capacity
    return min(profile.capacity, slots * PER_SLOT)


def forget_pace(worker: Worker, now: Micros) -> None:
    """Begin with a worker whose pace is unknown."""
    worker.fast.clear()
    worker.ended_since.clear()
    worker.paced = now


def note_ended(worker: Worker, lease: Lease) -> None:
    """Note that an attempt has ended on its worker."""
    placement = lease.task.plan.placement
    ended = worker.ended_since
    ended[placement] = ended.get(placement, 0) + 1


def take_pace(worker: Worker, now: Micros) -> None:
    """Say which placements are fast on a worker, once a span has passed."""
    elapsed = now - worker.paced
    if elapsed < PACE_SPAN:
        return
    base = base_window(worker)
    worker.fast = {}
    if elapsed <= PACE_KEPT:
        for placement, count in worker.ended_since.items():
            at_hand = min(count * AHEAD // elapsed, worker.profile.capacity)
            if at_hand > base:
                worker.fast[placement] = at_hand
    worker.ended_since = {}
    worker.paced = now


def room(worker: Worker, now: Micros) -> tuple[int, Callable[[Placement], bool]]:
    """Return how many leases a worker is to be given now, and of which placements."""
    held = len(worker.leases)
    free = base_window(worker) - held
    if free > 0:
        return free, worker.accepts
    if worker.fast and now - worker.paced <= PACE_KEPT:
        return max(worker.fast.values()) - held, worker.accepts_fast
    return 0, worker.accepts
