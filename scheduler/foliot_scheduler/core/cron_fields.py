"""Cron fields: their grammar, and the next local time that matches them.

Owns what a calendar and a wall clock can say without a zone; `cron.py` adds zones, daylight saving and `@every`.

The grammar is croniter's (the tests compare the two), read here because croniter 7 cannot be trusted with it: it takes
`9-9` for the whole field, steps wrongly in a range that wraps (`22-4/3` gives 22 and 2), draws a random value for `R`,
forgets the day of month beside `5#2`, and names no field in its errors. Its evaluation also takes far longer.

A local time is an integer here: seconds since 1970-01-01 00:00:00 on the wall clock. Sets are bit sets: bit d is day d.
"""

from __future__ import annotations

import calendar
import functools
import re
from dataclasses import dataclass
from datetime import date

DAY_S = 86_400

SEARCH_YEARS = 50
"""How far ahead a match is searched. The rarest day that the grammar can name is a February's fifth Monday, or another
weekday's: up to 40 years lie between two of them, across the end of a century without a leap day."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEK = 7
_SATURDAY = 6
_FIVE_FIELDS = 5
_SIX_FIELDS = 6
_FIFTH = 5
_ALL_DAYS = (2 << 31) - 2
"""The days 1 to 31."""
_EVERY_DAY = ("*", "?", "*/1")
"""What leaves a day column unrestricted."""
_LAST = -1
"""In place of the number of a weekday in its month: the last one."""

_ITEM = re.compile(r"(?:\*|(?P<low>[0-9]+|[a-z]+)(?:-(?P<high>[0-9]+|[a-z]+))?)(?:/(?P<step>[0-9]+))?")
_NEAREST_WEEKDAY = re.compile(r"([0-9]+)w|w([0-9]+)")
_NUMBERED_WEEKDAY = re.compile(r"([0-9]+|[a-z]{3})#([0-9]+)")
_LAST_WEEKDAY = re.compile(r"l([0-9]|[a-z]{3})|([0-9]|[a-z]{3})l")


class CronError(ValueError):
    """A schedule that cannot be accepted.

    Attributes:
        field: what is wrong: `expression`, `timezone` or `every`, or a column: `second`, `minute`, `hour`,
            `day_of_month`, `month` or `day_of_week`.
        message: why, in words for whoever wrote it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """One column: its name, its values and the words that stand for some of them."""

    name: str
    low: int
    high: int
    words: dict[str, int]

    def value(self, text: str) -> int:
        """The number that `text` names. Raises CronError when it is none of this field's values."""
        if text.isdigit():
            number = int(text)
            if not self.low <= number <= self.high:
                raise CronError(self.name, f"{text} is out of range, {self.low} to {self.high} are allowed")
            return number
        if text not in self.words:
            words = f"{next(iter(self.words))} and the like, or " if self.words else ""
            raise CronError(self.name, f"{text!r} is not known here, {words}{self.low} to {self.high} are")
        return self.words[text]

    def item(self, text: str) -> range:
        """The values of one item, `*`, `a`, `a-b`, `*/n`, `a/n` or `a-b/n`; beyond `high` they wrap around to `low`."""
        match = _ITEM.fullmatch(text)
        if match is None:
            raise CronError(self.name, f"{text!r} is not a value, a range or a step")
        low_text, high_text, step_text = match.group("low", "high", "step")
        # The week's eighth value, 7, is Sunday again: `*` and `a/n` must not reach it, or Sunday would count twice.
        last = min(self.high, self.low + self.size - 1)
        low = self.low if low_text is None else self.value(low_text)
        if high_text is not None:
            high = self.value(high_text)
        else:
            high = low if low_text is not None and step_text is None else max(low, last)
        if low > high:
            high += self.size
        step = 1 if step_text is None else int(step_text)
        if not 1 <= step <= self.size:
            raise CronError(self.name, f"the step of {text!r} is not from 1 to {self.size}; for others, see @every")
        return range(low, high + 1, step)

    def wrapped(self, number: int) -> int:
        """`number`, or what it means when a range ran past the end of the field."""
        return (number - self.low) % self.size + self.low

    @property
    def size(self) -> int:
        """How many different values there are."""
        return _WEEK if self.name == "day_of_week" else self.high - self.low + 1


_SECOND = _Field("second", 0, 59, {})
_MINUTE = _Field("minute", 0, 59, {})
_HOUR = _Field("hour", 0, 23, {})
_DAY_OF_MONTH = _Field("day_of_month", 1, 31, {})
_MONTH = _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)})
_DAY_OF_WEEK = _Field("day_of_week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)})


@dataclass(frozen=True, slots=True)
class _Days:
    """Which days of a month match: of the month, of the week, or either when both are restricted (as in cron)."""

    of_month: int | None
    """Bit set, without the days that depend on the month; None when not restricted."""
    last: bool
    nearest: tuple[int, ...]
    """Days whose nearest Monday-to-Friday within the month is meant."""
    by_first_weekday: tuple[int, ...] | None
    """For each weekday that the month's first may be: the matching days 1 to 31; None when not restricted."""
    numbered: tuple[tuple[int, int], ...]
    """(weekday, n): the n-th such weekday of the month, or `_LAST`."""

    def of(self, year: int, month: int) -> int:
        """The matching days of that month, as a bit set."""
        ordinal = date(year, month, 1).toordinal()
        first_weekday = ordinal % _WEEK  # 0 is Sunday: date 1 of year 1 was a Monday
        length = calendar.monthrange(year, month)[1]
        all_days = (2 << length) - 2
        if self.of_month is None and self.by_first_weekday is None:
            return all_days
        days = 0
        if self.of_month is not None:
            days = self.of_month
            if self.last:
                days |= 1 << length
            for day in self.nearest:
                if day <= length:
                    days |= 1 << _nearest_weekday(day, length, first_weekday)
        if self.by_first_weekday is not None:
            days |= self.by_first_weekday[first_weekday]
            for weekday, number in self.numbered:
                if number == _LAST:
                    days |= 1 << length - (first_weekday + length - 1 - weekday) % _WEEK
                else:
                    days |= 1 << 1 + (weekday - first_weekday) % _WEEK + (number - 1) * _WEEK
        return days & all_days


def _nearest_weekday(day: int, length: int, first_weekday: int) -> int:
    """The day from Monday to Friday that is nearest to `day` without leaving the month."""
    weekday = (first_weekday + day - 1) % _WEEK
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """The parsed fields. A table gives for each value the first matching one from it on, or -1 when none is left."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: int
    """Bit set, bit 1 is January."""
    days: _Days
    follows_elapsed_time: bool
    """Whether hour or minute has a wildcard, `*` or `*/n`: then each passing of a matching local time counts."""

    def next_local(self, local_s: int) -> int | None:
        """The first matching local second from `local_s` on, or None when there is none within SEARCH_YEARS."""
        day, second = divmod(local_s, DAY_S)
        start = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, last_year = start.year, start.month, start.year + SEARCH_YEARS
        days = self.days.of(year, month) if self.months >> month & 1 else 0
        if days >> start.day & 1:
            found = self._next_second(second)
            if found is not None:
                return local_s - second + found
        days &= -2 << start.day
        while not days:
            month += 1
            if month > len(_MONTHS):
                year, month = year + 1, 1
                if year > last_year:
                    return None
            if self.months >> month & 1:
                days = self.days.of(year, month)
        first_day = (days & -days).bit_length() - 1
        first_second = self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]
        return (date(year, month, first_day).toordinal() - _EPOCH_ORDINAL) * DAY_S + first_second

    def _next_second(self, second: int) -> int | None:
        """The first matching second of a day from `second` on, or None when the day has no more."""
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        if self.hours[hour] == hour:
            if self.minutes[minute] == minute and self.seconds[second] >= 0:
                return hour * 3600 + minute * 60 + self.seconds[second]
            minute = self.minutes[minute + 1]
            if minute >= 0:
                return hour * 3600 + minute * 60 + self.seconds[0]
        hour = self.hours[hour + 1]
        return hour * 3600 + self.minutes[0] * 60 + self.seconds[0] if hour >= 0 else None


def parse_fields(text: str) -> Fields:
    """Parse five fields (minute, hour, day of month, month, day of week), or six (the same with seconds first).

    Raises CronError naming the field. Upper and lower case are the same.
    """
    columns = text.lower().split()
    if len(columns) == _FIVE_FIELDS:
        columns.insert(0, "0")
    elif len(columns) != _SIX_FIELDS:
        shape = "five fields (minute hour day-of-month month day-of-week) or six (seconds first)"
        year = "; a year field is not supported" if len(columns) == _SIX_FIELDS + 1 else ""
        raise CronError("expression", f"{shape} are expected, not {len(columns)}{year}")
    second, minute, hour, day_of_month, month, day_of_week = columns
    return Fields(
        seconds=_table(_SECOND, second),
        minutes=_table(_MINUTE, minute),
        hours=_table(_HOUR, hour),
        months=_bits(_MONTH, month),
        days=_parse_days(day_of_month, day_of_week),
        follows_elapsed_time=any(item.startswith("*") for item in f"{minute},{hour}".split(",")),
    )


# The parts are shared: most schedules use one of a few texts for a field, and the bounds are far beyond that.
@functools.lru_cache(maxsize=4096)
def _table(field: _Field, text: str) -> tuple[int, ...]:
    """For each value 0 to high + 1: the first of the field's matching values from it on, or -1."""
    matching = _bits(field, text)
    table = [-1] * (field.high + 2)
    for value in range(field.high, -1, -1):
        table[value] = value if matching >> value & 1 else table[value + 1]
    return tuple(table)


@functools.lru_cache(maxsize=4096)
def _bits(field: _Field, text: str) -> int:
    """The values that a comma-separated list names, as a bit set."""
    bits = 0
    for item in text.split(","):
        for value in field.item(item):
            bits |= 1 << field.wrapped(value)
    return bits


@functools.lru_cache(maxsize=4096)
def _parse_days(day_of_month: str, day_of_week: str) -> _Days:
    """Read both day columns.

    Of the month, `L` is the last day and `15W` the Monday to Friday nearest to the 15th (a month without that day has
    none); of the week, `5#2` is the second Friday and `L5` or `5L` the last.
    """
    of_month, last, nearest = _parse_days_of_month(day_of_month)
    by_first_weekday, numbered = _parse_weekdays(day_of_week)
    # As croniter has it: beside a wildcard, a column that lists every day restricts nothing (`*/2 * 0-6` are odd days).
    if of_month == _ALL_DAYS and "*" in day_of_week:
        of_month = None
    if by_first_weekday == (_ALL_DAYS,) * _WEEK and "*" in day_of_month:
        by_first_weekday = None
    return _Days(of_month, last, nearest, by_first_weekday, numbered)


def _parse_days_of_month(text: str) -> tuple[int | None, bool, tuple[int, ...]]:
    """Read one column to `of_month`, `last` and `nearest` of `_Days`."""
    if text in _EVERY_DAY:
        return None, False, ()
    days, last, nearest = 0, False, []
    for item in text.split(","):
        if item == "l":
            last = True
        elif match := _NEAREST_WEEKDAY.fullmatch(item):
            nearest.append(_DAY_OF_MONTH.value(match[1] or match[2]))
        else:
            days |= _bits(_DAY_OF_MONTH, item)
    return days, last, tuple(nearest)


def _parse_weekdays(text: str) -> tuple[tuple[int, ...] | None, tuple[tuple[int, int], ...]]:
    """Read one column to `by_first_weekday` and `numbered` of `_Days`."""
    if text in _EVERY_DAY:
        return None, ()
    weekdays, numbered = 0, []
    for item in text.split(","):
        if match := _NUMBERED_WEEKDAY.fullmatch(item):
            number = int(match[2])
            if not 1 <= number <= _FIFTH:
                raise CronError("day_of_week", f"{item!r} is not the first (#1) to fifth (#5) such day of a month")
            numbered.append((_DAY_OF_WEEK.value(match[1]) % _WEEK, number))
        elif match := _LAST_WEEKDAY.fullmatch(item):
            numbered.append((_DAY_OF_WEEK.value(match[1] or match[2]) % _WEEK, _LAST))
        else:
            weekdays |= _bits(_DAY_OF_WEEK, item)
    by_first_weekday = tuple(
        sum(1 << day for day in range(1, 32) if weekdays >> (first + day - 1) % _WEEK & 1) for first in range(_WEEK)
    )
    return by_first_weekday, tuple(numbered)
