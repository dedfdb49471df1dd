"""Fail-over gaps, by what bodies wrote down: from the last start under one leader to the first under the next."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tests.chaos.evidence import START

if TYPE_CHECKING:
    from tests.chaos.history import Fault, History

_EPOCH_SHIFT: Final = 32
"""A token is its leader's epoch times 2^32, plus a counter."""


def gaps(history: History) -> dict[str, list[float]]:
    """Answer the seconds without a new start at each change of leader, by the fault that it happened in."""
    starts = sorted((line.at, line.token >> _EPOCH_SHIFT) for line in history.evidence if line.what == START and line.token)
    first: dict[int, float] = {}
    for at, epoch in starts:
        first.setdefault(epoch, at)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for before, epoch in pairwise(sorted(first)):
        at = first[epoch]
        last = max(start for start, older in starts if older < epoch and start <= at)
        fault = next((fault for fault in history.faults if fault.healed >= last and _moves_leadership(fault)), None)
        if fault is None or fault.began > at:
            continue
        # What the old leader had given away may still start after its death. One that came with this very fault had none before.
        until = fault.began if first[before] <= fault.began else at
        found[fault.kind].append(at - max(start for start, older in starts if older < epoch and start <= until))
    return dict(found)


def _moves_leadership(fault: Fault) -> bool:
    return any(word in fault.kind for word in ("leader", "PostgreSQL", "hand over", "schedulers"))
