"""Schedules: from a cron expression and a zone to the instants at which a job is due.

Theory of operation. `cron_fields.py` finds the next *local* time that matches; this module maps local times to
instants. Daylight saving makes two kinds of schedules:

- One that names its hours and minutes ("at 02:30") is due *once* for each local time: at the first of two passings when
  the clock goes back, and at the first instant after the gap when the clock jumps over it. Several times of one gap
  meet in that instant and are one due time.
- One with a wildcard, `*` or `*/n`, in hour or minute ("each full hour") follows *elapsed* time: it is due at each
  instant whose local time matches, so both passings of a repeated hour count, and a skipped hour leaves nothing to make
  up for.

`@every` knows no calendar: it counts from an anchor. All is a function of the arguments and the installed zone data, so
each replica computes the same due times. They are whole seconds; those of `@every` are exact to the microsecond.
"""

from __future__ import annotations

import functools
import hashlib
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from foliot_scheduler.core.cron_fields import DAY_S, SEARCH_YEARS, CronError, Fields, parse_fields
from foliot_scheduler.core.types import JobId, Micros, Span

__all__ = [
    "EVERY_MAX",
    "EVERY_MIN",
    "EXPRESSION_LENGTH_MAX",
    "SEARCH_YEARS",
    "CronError",
    "CronSchedule",
    "jitter_us",
    "parse_schedule",
]

EXPRESSION_LENGTH_MAX = 255
"""Characters. Five full lists of minutes would be longer; nobody who writes schedules by hand gets near it."""

EVERY_MIN = Span(1_000_000)
"""One second: the resolution of cron's own fields, and as fine as due times are worth a row each."""

EVERY_MAX = Span(10 * 366 * DAY_S * 1_000_000)
"""Ten years. A longer one is a slip of the unit."""

_ZONE_NAME_LENGTH_MAX = 64
_SECOND_US = 1_000_000
_EPOCH = Micros(0)
_EPOCH_LOCAL = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of wall clocks, which have no zone
_LAST_S = int(datetime(9900, 1, 1, tzinfo=UTC).timestamp())
"""No due time lies later: datetime ends with the year 9999, and the search may look SEARCH_YEARS ahead."""
_CHECKED_FROM_S = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
"""Whether an expression ever fires is judged from here: a fixed date, so that each replica judges alike. The search
covers every pattern of days from any date on, and this one is after the changes of zone rules that are history."""
_FAR_S = 2 * DAY_S
"""Longer than any shift of a zone's clock (a whole day: Samoa, 2011), shorter than the time between two of them."""
_FIRES_KEPT = 128
"""Due times that a schedule remembers: enough for the jobs that share it to catch up together, 4 KiB at most."""

_PIECES = 8
"""How much longer, or shorter, each piece is that is searched for the latest due times: one that holds too many costs as much as
all that are found, one that holds none costs one evaluation."""

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_UNIT_US = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}

_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
# These lie among the zone files without being zones: their meaning differs by machine, or they count leap seconds.
_NO_ZONES = ("posix/", "right/", "localtime", "posixrules", "Factory")


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A parsed schedule; `parse_schedule` makes it. Equal and hashed by expression and zone. For use by one thread."""

    expression: str
    timezone: str
    """An IANA name."""
    every: Span | None = field(compare=False)
    """The period of `@every`; None for any other expression."""
    _fields: Fields | None = field(compare=False, repr=False)
    _zone: tzinfo = field(compare=False, repr=False)
    _known: list[Micros] = field(default_factory=list, compare=False, repr=False)
    """An instant, then the due times that follow it without a hole: a cache, so a frozen object may hold it."""

    def next_after(self, after_us: Micros, *, anchor_us: Micros = _EPOCH) -> Micros | None:
        """The first due time strictly later than `after_us`, or None when there is none (before the year 9900).

        `anchor_us` is what `@every` counts from: its first due time is one period later; other schedules ignore it, and
        none of theirs lies before 1970. Callers that ask for the same or neighbouring instants share one evaluation.
        """
        if self.every is not None:
            periods = max(1, (after_us - anchor_us) // self.every + 1)
            return _within_reach(anchor_us + periods * self.every)
        known = self._known
        if known and known[0] <= after_us < known[-1]:
            return known[bisect_right(known, after_us)]
        found = self._evaluate(max(after_us // _SECOND_US, -1))
        if found is None:
            return None
        due = Micros(found * _SECOND_US)
        if known and known[-1] == after_us:
            if len(known) == _FIRES_KEPT:
                del known[: _FIRES_KEPT // 2]
            known.append(due)
        else:
            known[:] = (after_us, due)
        return due

    def fires_between(self, start_us: Micros, end_us: Micros, limit: int, *, anchor_us: Micros = _EPOCH) -> list[Micros]:
        """The due times later than `start_us` and not later than `end_us`, in order, the first `limit` at most.

        The start is left out so that it can be the last due time that was handled; after a full answer, go on from its
        last one.
        """
        fires: list[Micros] = []
        due = self.next_after(start_us, anchor_us=anchor_us)
        while due is not None and due <= end_us and len(fires) < limit:
            fires.append(due)
            due = self.next_after(due, anchor_us=anchor_us)
        return fires

    def latest_between(self, start_us: Micros, end_us: Micros, limit: int, *, anchor_us: Micros = _EPOCH) -> list[Micros]:
        """The due times later than `start_us` and not later than `end_us`, in order, the last `limit` at most.

        Costs some `limit` evaluations, however long the time and however dense the schedule.
        """
        if self.every is not None:
            last = min((end_us - anchor_us) // self.every, (_LAST_S * _SECOND_US - anchor_us) // self.every)
            first = max((start_us - anchor_us) // self.every + 1, last - limit + 1, 1)
            return [Micros(anchor_us + periods * self.every) for periods in range(first, last + 1)]
        found: list[Micros] = []
        # Backwards piece by piece, longer and longer ones until one holds too many; then parts of that one. Due times are whole
        # seconds, so the shortest piece never holds too many.
        shortest = length = limit * _SECOND_US
        crowded: Micros | None = None
        while end_us > start_us and len(found) < limit:
            begin = Micros(max(start_us, end_us - length))
            piece = self.fires_between(begin, end_us, limit + 1)
            if len(piece) > limit:
                crowded = begin
            else:
                found[:0] = piece
                end_us = begin
            length = length * _PIECES if crowded is None else max((end_us - crowded) // _PIECES, shortest)
        return found[-limit:]

    def _evaluate(self, after_s: int) -> int | None:
        """The first due second later than `after_s`."""
        assert self._fields is not None, "an @every schedule needs no evaluation"
        if after_s >= _LAST_S:
            return None
        follow = _next_elapsed if self._fields.follows_elapsed_time else _next_once
        return follow(self._fields, self._zone, after_s)


def parse_schedule(expression: str, timezone: str) -> CronSchedule:
    """Parse a cron expression for an IANA zone (empty: UTC); the same pair gives the same object while it is cached.

    An expression is five fields, six (seconds first), `@yearly` `@annually` `@monthly` `@weekly` `@daily` `@midnight`
    `@hourly`, or `@every` with a duration as Go writes it (`90s`, `1h30m`). Raises CronError naming the bad field, also
    for an expression that never fires.
    """
    if len(expression) > EXPRESSION_LENGTH_MAX:
        raise CronError("expression", f"{len(expression)} characters are too many, {EXPRESSION_LENGTH_MAX} are allowed")
    words = expression.split()
    if not words:
        raise CronError("expression", "it is empty")
    return _interned(" ".join(words), timezone or "UTC")


def jitter_us(job_id: JobId, due_us: Micros, max_jitter_us: Span) -> Span:
    """How long after its due time a job fires: from 0 to `max_jitter_us`, spread evenly over jobs and due times.

    A hash rather than a draw, so that a new leader after a fail-over comes to the same instant.
    """
    if max_jitter_us <= 0:
        return Span(0)
    digest = hashlib.blake2b(job_id + due_us.to_bytes(8, "big", signed=True), digest_size=8).digest()
    return Span((int.from_bytes(digest, "big") * (max_jitter_us + 1)) >> 64)


# The bound keeps memory in hand (a few KiB each); a schedule that fell out is parsed again and equals the old one.
@functools.lru_cache(maxsize=8192)
def _interned(expression: str, timezone: str) -> CronSchedule:
    zone = _parse_zone(timezone)
    name, _, rest = expression.partition(" ")
    if name.lower() == "@every":
        return CronSchedule(expression, timezone, _parse_every(rest), None, zone)
    if expression.startswith("@"):
        if expression.lower() not in _NAMED:
            raise CronError("expression", f"{expression!r} is not known, {' '.join(_NAMED)} and @every are")
        fields = parse_fields(_NAMED[expression.lower()])
    else:
        fields = parse_fields(expression)
    if fields.next_local(_CHECKED_FROM_S) is None:
        raise CronError("day_of_month", f"it never fires: no month it allows has a day {expression.split()[-3]}")
    schedule = CronSchedule(expression, timezone, None, fields, zone)
    if schedule.next_after(Micros(_CHECKED_FROM_S * _SECOND_US)) is None:
        raise CronError("timezone", f"it never fires in {timezone}: daylight saving skips each time it allows")
    return schedule


def _parse_every(text: str) -> Span:
    """Read a duration as Go writes it. Raises CronError."""
    if not _DURATION.fullmatch(text):
        raise CronError("every", f"{text!r} is not a duration such as 90s, 1h30m or 1.5h")
    exact = sum(Decimal(number) * _UNIT_US[unit] for number, unit in _DURATION_PART.findall(text))
    if exact < EVERY_MIN:
        raise CronError("every", f"{text} is too short, 1s is the least")
    if exact > EVERY_MAX:
        raise CronError("every", f"{text} is too long, ten years are the most")
    if exact != int(exact):
        raise CronError("every", f"{text} is not a whole number of microseconds")
    return Span(int(exact))


@functools.lru_cache(maxsize=1024)
def _parse_zone(name: str) -> tzinfo:
    """The zone of that IANA name. Raises CronError."""
    known = len(name) <= _ZONE_NAME_LENGTH_MAX and _ZONE_NAME.fullmatch(name) and not name.startswith(_NO_ZONES)
    if known:
        try:
            return ZoneInfo(name)
        # A folder of zones ("America") is an OSError; the others are how zoneinfo says no.
        except (OSError, ValueError, LookupError):
            pass
    raise CronError("timezone", f"{name[:_ZONE_NAME_LENGTH_MAX]!r} is not an IANA zone such as Europe/Berlin or UTC")


def _within_reach(due_us: int) -> Micros | None:
    return Micros(due_us) if due_us <= _LAST_S * _SECOND_US else None


# --------------------------------------------------------------------------------------------- local times and instants
# Below, instants and local times are whole seconds, and an offset is local time minus UTC.


def _next_once(fields: Fields, zone: tzinfo, after_s: int) -> int | None:
    """The next instant of a schedule that is due once for each matching local time.

    The map from local time to the instant it is due at never decreases, so the first matching local time beyond what
    `after_s` has reached is the answer.
    """
    now = datetime.fromtimestamp(after_s, zone)
    local = after_s + _seconds(now.utcoffset()) + 1
    if now.fold:
        # The clock went back and shows these times again. All of them were due at their first passing.
        before = _seconds(now.replace(fold=0).utcoffset())
        first_passing = local - 1 - before
        local = _transition(zone, first_passing, after_s) + before
    due_local = fields.next_local(local)
    return None if due_local is None else _first_instant(zone, due_local)


def _first_instant(zone: tzinfo, local: int) -> int:
    """When the wall clock first shows `local`; the end of the gap if it never does."""
    wall = (_EPOCH_LOCAL + timedelta(seconds=local)).replace(tzinfo=zone)
    before, after = _seconds(wall.utcoffset()), _seconds(wall.replace(fold=1).utcoffset())
    if before < after:
        # The clock jumps over `local`: each offset places it on the other's side of the jump.
        return _transition(zone, local - after, local - before)
    return local - before


def _next_elapsed(fields: Fields, zone: tzinfo, after_s: int) -> int | None:
    """The next instant whose local time matches: walks the stretches of constant offset."""
    at = after_s + 1
    limit = min(at + SEARCH_YEARS * 366 * DAY_S, _LAST_S)
    while at < limit:
        offset = _offset(zone, at)
        local = fields.next_local(at + offset)
        if local is None:
            return None
        due = local - offset
        seen = min(due, at + _FAR_S)
        if _offset(zone, seen) != offset:
            at = _transition(zone, at, seen)
        elif seen == due:
            return due
        else:
            # Nothing matches until about `due`. Stop short of it, for the offset may be another by then.
            at = max(seen, due - _FAR_S)
    return None


def _transition(zone: tzinfo, before: int, after: int) -> int:
    """The instant in (before, after] from which the offset is no longer that of `before`; there must be exactly one."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, at: int) -> int:
    return _seconds(datetime.fromtimestamp(at, zone).utcoffset())


def _seconds(offset: timedelta | None) -> int:
    assert offset is not None, "a zone of zoneinfo always has an offset"
    return offset.days * DAY_S + offset.seconds
