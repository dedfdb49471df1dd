"""Every IANA zone and each of its changes from 2020 to 2040, against a walk of the minutes.

What is covered, exactly:

- Every name that zoneinfo knows belongs to a table: the offset at the start of 2020, and each change of it before 2041. Names
  with one table are one zone here, about eighty of them, as a schedule sees no more of a zone than its offsets. That each name's
  own due times are those of its table is looked at around each change.
- Around each change of each table, from two hours before the first local time it concerns to two hours after the last, every
  minute is walked and every case of the oracle must be due at exactly the minutes the walk finds, in their order.
- Between changes the offset is constant, and nothing but its number can differ from zone to zone: a schedule that is due once a
  day is followed there through all the years, and must be due at each day's instant and at no other.
"""

from __future__ import annotations

import importlib.resources
import itertools
import struct
import zoneinfo
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.types import Micros
from tests.unit.core.cron_support import ALL_ZONES, SECOND, micros
from tests.unit.core.minute_walk import ORACLE_CASES, walked, wall_minutes

START: Final = micros("2020-01-01T00:00:00Z") // SECOND
END: Final = micros("2041-01-01T00:00:00Z") // SECOND
DAY: Final = 86_400
MARGIN: Final = 2 * 3_600

ONCE_A_DAY: Final = ORACLE_CASES[0]
"""At half past two, an hour that many clocks skip or repeat."""


class Change(NamedTuple):
    """An instant from which on another offset holds; all in seconds."""

    at: int
    before: int
    after: int

    @property
    def window(self) -> tuple[int, int]:
        """The span in which due times may differ from those of a constant offset, with a margin."""
        reach = abs(self.after - self.before) + MARGIN
        return self.at - reach, self.at + reach


class Table(NamedTuple):
    """What a schedule sees of a zone."""

    first: int
    """The offset at the start."""
    changes: tuple[Change, ...]


def offset(zone: ZoneInfo, at: int) -> int:
    found = datetime.fromtimestamp(at, zone).utcoffset()
    assert found is not None
    assert found % timedelta(minutes=1) == timedelta(0), "an offset with seconds would need a walk of the seconds"
    return int(found.total_seconds())


def zone_file(name: str) -> bytes:
    """The compiled form of a zone, from where zoneinfo takes it."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


class Listed(NamedTuple):
    """What a zone's file says of the time from the start on."""

    changes: tuple[tuple[int, int], ...]
    """Instant and offset of each that it lists."""
    rule: bytes
    """For those after."""


def listed(data: bytes) -> Listed:
    """Read a zone's file (RFC 9636)."""

    def sizes(at: int) -> tuple[int, ...]:
        return struct.unpack(">6l", data[at + 20 : at + 44])

    uts, standards, leaps, times, types, chars = sizes(0)
    at = 44 + 5 * times + 6 * types + chars + 8 * leaps + standards + uts
    uts, standards, leaps, times, types, chars = sizes(at)
    at += 44
    instants = struct.unpack(f">{times}q", data[at : at + 8 * times])
    indexes = data[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets = [struct.unpack(">l", data[at + 6 * number : at + 6 * number + 4])[0] for number in range(types)]
    rule = data[at + 6 * types + chars + 12 * leaps + standards + uts :]
    return Listed(tuple((when, offsets[index]) for when, index in zip(instants, indexes, strict=True) if when >= START), rule)


def changes_of(zone: ZoneInfo) -> tuple[Change, ...]:
    """Each change of the offset, found by a look at each day and then a search for the second."""
    found = []
    days = range(START, END + 1, DAY)
    for (day, before), (_, after) in itertools.pairwise([(day, offset(zone, day)) for day in days]):
        if before != after:
            low, high = day, day + DAY
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append(Change(high, before, after))
    return tuple(found)


@cache
def tables() -> dict[Table, list[str]]:
    """The tables, with the names of the zones that have each."""
    by_file: dict[tuple[Listed, int], list[str]] = {}
    for name in ALL_ZONES:
        by_file.setdefault((listed(zone_file(name)), offset(ZoneInfo(name), START)), []).append(name)
    found: dict[Table, list[str]] = {}
    for (in_file, first), names in by_file.items():
        changes = changes_of(ZoneInfo(names[0]))
        # None is missed by looking once a day: what the file lists is found, and what follows its rule lies months apart.
        before = [first, *(after for _, after in in_file.changes)]
        real = {at for (at, after), old in zip(in_file.changes, before, strict=False) if after != old and at < END}
        assert real <= {change.at for change in changes}, names[0]
        found.setdefault(Table(first, changes), []).extend(names)
    return found


def due_seconds(expression: str, name: str, start: int, end: int) -> list[int]:
    dues = parse_schedule(expression, name).fires_between(Micros(start * SECOND), Micros(end * SECOND), 10_000)
    assert all(due % SECOND == 0 for due in dues)
    return [due // SECOND for due in dues]


def test_every_zone_has_its_table() -> None:
    names = [name for same in tables().values() for name in same]
    assert sorted(names) == ALL_ZONES
    assert len(names) > 550
    assert 60 < len(tables()) < 150
    assert sum(len(table.changes) for table in tables()) > 1_000


@pytest.mark.timeout(120)
def test_all_zones_agree_with_a_walk_of_the_minutes_around_each_change() -> None:
    for table, names in tables().items():
        zone = ZoneInfo(names[0])
        for change in table.changes:
            start, end = change.window
            minutes = wall_minutes(zone, start, end)
            last = minutes[-1][0]
            for case in ORACLE_CASES:
                due = due_seconds(case.expression, names[0], start, last)
                assert due == walked(case, minutes), (names[0], case.expression, change)


@pytest.mark.timeout(120)
def test_all_zones_are_due_each_day_of_all_years() -> None:
    (hour,), (minute,) = ONCE_A_DAY.hours, ONCE_A_DAY.minutes
    for table, names in tables().items():
        zone = ZoneInfo(names[0])
        expected: list[int] = []
        reached, current = START, table.first
        for change in (*table.changes, None):
            start, end = change.window if change is not None else (END, END)
            assert reached <= start, f"two changes within hours of each other in {names[0]}"
            day = (reached + current) // DAY * DAY
            instants = range(day + hour * 3_600 + minute * 60 - current, start + 1, DAY)
            expected += [at for at in instants if reached < at <= start]
            if change is not None:
                minutes = wall_minutes(zone, start, end + 60)
                expected += walked(ONCE_A_DAY, minutes)
                reached, current = end, change.after
        assert due_seconds(ONCE_A_DAY.expression, names[0], START, END) == expected, names[0]


def test_each_name_is_due_as_its_table_says() -> None:
    for table, (first, *others) in tables().items():
        spans = [change.window for change in table.changes] or [(START, START + 3 * DAY), (END - 3 * DAY, END)]
        for name in others:
            for start, end in spans:
                assert due_seconds(ONCE_A_DAY.expression, name, start, end) == due_seconds(
                    ONCE_A_DAY.expression, first, start, end
                ), (name, start)
