"""What the tests of schedules share: instants from ISO text, and due times shown as local times."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import strategies as st

from foliot_scheduler.core import cron
from foliot_scheduler.core.cron import CronSchedule, parse_schedule
from foliot_scheduler.core.types import Micros

SECOND = 1_000_000
ALL_ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def micros(text: str) -> Micros:
    """An ISO time with its offset, `Z` for UTC."""
    return Micros(int(datetime.fromisoformat(text).timestamp()) * SECOND)


def shown(due: Micros | None, zone: str) -> str:
    assert due is not None
    return datetime.fromtimestamp(due // SECOND, ZoneInfo(zone)).isoformat()


def fires(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The first due times after `after`, as local times with their offsets."""
    schedule = parse_schedule(expression, zone)
    end = Micros(micros(after) + 100 * 366 * 86_400 * SECOND)
    return [shown(due, zone) for due in schedule.fires_between(micros(after), end, count)]


def unshared(expression: str, zone: str) -> CronSchedule:
    """A schedule that nobody asked yet."""
    return cron._interned.__wrapped__(expression, zone)


def plain_field(low: int, high: int) -> st.SearchStrategy[str]:
    """Lists of values, ranges and steps that croniter reads correctly."""
    value = st.integers(low, high)
    pair = st.tuples(value, value).filter(lambda both: both[0] < both[1])
    item = st.one_of(
        value.map(str),
        pair.map(lambda both: f"{both[0]}-{both[1]}"),
        st.tuples(pair, st.integers(1, 7)).map(lambda parts: f"{parts[0][0]}-{parts[0][1]}/{parts[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.integers(2, 5).map(lambda step: f"*/{step}"),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


plain_expressions = st.tuples(
    plain_field(0, 59), plain_field(0, 23), plain_field(1, 28), plain_field(1, 12), plain_field(0, 6)
).map(" ".join)
instants = st.integers(micros("1971-01-01T00:00:00Z"), micros("2100-01-01T00:00:00Z")).map(Micros)
