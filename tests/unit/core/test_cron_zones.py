"""Due times in the zones of the world, against a walk of the minutes that knows nothing of the implementation."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.types import Micros
from tests.unit.core.cron_support import ALL_ZONES, SECOND, instants, micros, plain_expressions


@settings(max_examples=50)  # loads a zone's file for most of them
@given(plain_expressions, st.sampled_from(ALL_ZONES), instants)
def test_due_times_increase_and_match_or_follow_a_gap(expression: str, zone: str, start: Micros) -> None:
    in_utc = parse_schedule(expression, "UTC")
    previous = start
    for due in parse_schedule(expression, zone).fires_between(start, Micros(1 << 62), 5):
        assert due > previous
        previous = due
        wall = datetime.fromtimestamp(due // SECOND, ZoneInfo(zone)).replace(tzinfo=UTC, fold=0)
        as_if_utc = Micros(int(wall.timestamp()) * SECOND)
        matches = in_utc.next_after(Micros(as_if_utc - 1)) == as_if_utc
        before = datetime.fromtimestamp(due // SECOND - 1, ZoneInfo(zone)).utcoffset()
        assert matches or before != datetime.fromtimestamp(due // SECOND, ZoneInfo(zone)).utcoffset()


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
# The odd ones: half an hour, two hours, midnight, negative winter time, Ramadan, three quarters of an hour off.
ORACLE_ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Norfolk",
]
FULL_SWEEP = os.environ.get("FOLIOT_FULL_SWEEP") == "1"
SWEEP_FROM, SWEEP_TO = micros("2020-01-01T00:00:00Z"), micros("2041-01-01T00:00:00Z")


def transition_days(zone: ZoneInfo) -> list[int]:
    """Seconds since the epoch: UTC midnights of the days, from 2020 to 2040, on which the offset changes."""
    days = range(SWEEP_FROM // SECOND, SWEEP_TO // SECOND, 86_400)
    offsets = [datetime.fromtimestamp(day, zone).utcoffset() for day in days]
    return [day for day, (old, new) in zip(days, itertools.pairwise(offsets), strict=False) if old != new]


def wall_minutes(zone: ZoneInfo, start: int, end: int) -> list[tuple[int, int]]:
    """Each minute from start to end: (its instant, its local time as minutes since the epoch)."""
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of wall clocks
    return [
        (instant, (datetime.fromtimestamp(instant, zone).replace(tzinfo=None) - epoch) // timedelta(minutes=1))
        for instant in range(start, end, 60)
    ]


def walked(case: Case, minutes: list[tuple[int, int]]) -> list[int]:
    """The due times by brute force: the first minute only sets the scene."""
    due = []
    reached = minutes[0][1]
    for instant, wall in minutes[1:]:
        # A wildcard looks at the clock alone; otherwise all the local minutes that this one reaches for the first time.
        fresh = [wall] if case.wildcard else range(reached + 1, wall + 1)
        if any(local % 60 in case.minutes and local // 60 % 24 in case.hours for local in fresh):
            due.append(instant)
        reached = max(reached, wall)
    return due


def check_against_the_walk(name: str, days: list[int]) -> None:
    zone = ZoneInfo(name)
    for day in days:
        minutes = wall_minutes(zone, day - 30 * 3600, day + 60 * 3600)
        start, end = Micros(minutes[0][0] * SECOND), Micros(minutes[-1][0] * SECOND)
        for case in ORACLE_CASES:
            due = parse_schedule(case.expression, name).fires_between(start, end, 10_000)
            assert [instant // SECOND for instant in due] == walked(case, minutes), (name, case.expression, day)


@pytest.mark.parametrize("name", ORACLE_ZONES)
def test_odd_zones_agree_with_a_walk_of_the_minutes(name: str) -> None:
    days = transition_days(ZoneInfo(name))
    # Spring and autumn of the first years and of the last.
    check_against_the_walk(name, sorted({*days[:3], *days[-2:]}))


@pytest.mark.skipif(not FULL_SWEEP, reason="takes minutes; FOLIOT_FULL_SWEEP=1 runs it")
@pytest.mark.timeout(1800)
def test_all_zones_agree_with_a_walk_of_the_minutes() -> None:
    walked_offsets = set()
    for name in ALL_ZONES:
        zone = ZoneInfo(name)
        days = transition_days(zone)
        # Many names are links to one zone: those with the same offsets around the same days were walked already.
        hours = itertools.chain.from_iterable(range(day, day + 86_400, 1800) for day in days)
        offsets = tuple(datetime.fromtimestamp(hour, zone).utcoffset() for hour in hours)
        if days and (tuple(days), offsets) not in walked_offsets:
            walked_offsets.add((tuple(days), offsets))
            check_against_the_walk(name, days)
    assert len(walked_offsets) > 30
