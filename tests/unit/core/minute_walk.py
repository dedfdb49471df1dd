"""Due times found by walking the minutes: an oracle that knows nothing of the implementation, nor of any parser."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Case(NamedTuple):
    """An expression, with what it means said independently of any parser."""

    expression: str
    hours: frozenset[int]
    minutes: frozenset[int]
    wildcard: bool


ALL_HOURS = frozenset(range(24))
ORACLE_CASES = [
    Case("30 2 * * *", frozenset({2}), frozenset({30}), wildcard=False),
    Case("0 0 * * *", frozenset({0}), frozenset({0}), wildcard=False),
    Case("15,45 0-3 * * *", frozenset(range(4)), frozenset({15, 45}), wildcard=False),
    Case("0 0-23 * * *", ALL_HOURS, frozenset({0}), wildcard=False),
    Case("0-59 1,2,23 * * *", frozenset({1, 2, 23}), frozenset(range(60)), wildcard=False),
    Case("59 23 * * *", frozenset({23}), frozenset({59}), wildcard=False),
    Case("0 * * * *", ALL_HOURS, frozenset({0}), wildcard=True),
    Case("*/15 * * * *", ALL_HOURS, frozenset({0, 15, 30, 45}), wildcard=True),
    Case("*/20 2 * * *", frozenset({2}), frozenset({0, 20, 40}), wildcard=True),
    Case("30 */2 * * *", frozenset(range(0, 24, 2)), frozenset({30}), wildcard=True),
]


def wall_minutes(zone: ZoneInfo, start: int, end: int) -> list[tuple[int, int]]:
    """Each minute from start to end: (its instant, its local time as minutes since the epoch)."""
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of wall clocks
    return [
        (instant, (datetime.fromtimestamp(instant, zone).replace(tzinfo=None) - epoch) // timedelta(minutes=1))
        for instant in range(start, end, 60)
    ]


def walked(case: Case, minutes: list[tuple[int, int]]) -> list[int]:
    """The due times by brute force: the first minute only sets the scene."""
    matching = {60 * hour + minute for hour in case.hours for minute in case.minutes}
    due = []
    reached = minutes[0][1]
    for instant, wall in minutes[1:]:
        if case.wildcard or wall == reached + 1:
            is_due = wall % 1440 in matching
        else:
            # Otherwise all the local minutes that this one reaches for the first time: none, or those of a gap.
            is_due = any(local % 1440 in matching for local in range(reached + 1, wall + 1))
        if is_due:
            due.append(instant)
        reached = max(reached, wall)
    return due
