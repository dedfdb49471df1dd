"""Due times in the zones of the world: at random, and in odd zones against a walk of days of minutes around their changes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.types import Micros
from tests.unit.core.cron_support import ALL_ZONES, SECOND, instants, micros, plain_expressions
from tests.unit.core.minute_walk import ORACLE_CASES, walked, wall_minutes


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


# The odd ones: two hours, half an hour, Ramadan, negative winter time. The minutes around each change of every zone are walked in
# test_cron_every_zone.py; here whole days before and after are.
ORACLE_ZONES = ["Antarctica/Troll", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin"]
SWEEP_FROM, SWEEP_TO = micros("2020-01-01T00:00:00Z"), micros("2041-01-01T00:00:00Z")


def transition_days(zone: ZoneInfo) -> list[int]:
    """Seconds since the epoch: UTC midnights of the days, from 2020 to 2040, on which the offset changes."""
    days = range(SWEEP_FROM // SECOND, SWEEP_TO // SECOND, 86_400)
    offsets = [datetime.fromtimestamp(day, zone).utcoffset() for day in days]
    return [day for day, (old, new) in zip(days, itertools.pairwise(offsets), strict=False) if old != new]


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
