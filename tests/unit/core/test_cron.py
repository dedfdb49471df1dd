from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot_scheduler.core import cron
from foliot_scheduler.core.cron import CronSchedule, jitter_us, parse_schedule
from foliot_scheduler.core.cron_fields import Fields
from foliot_scheduler.core.types import JobId, Micros, Span
from tests.unit.core.cron_support import SECOND, fires, instants, micros, plain_expressions, unshared


def test_next_is_strictly_later_to_the_microsecond() -> None:
    schedule = parse_schedule("* * * * * *", "UTC")
    second = micros("2026-11-20T13:00:00Z")

    assert schedule.next_after(Micros(second - 1)) == second
    assert schedule.next_after(second) == second + SECOND
    assert schedule.next_after(Micros(second + 1)) == second + SECOND


def test_the_ends_of_time() -> None:
    schedule = parse_schedule("0 0 1 1 *", "Asia/Tokyo")

    assert schedule.next_after(Micros(-(10**18))) == micros("1971-01-01T00:00:00+09:00")
    assert schedule.next_after(Micros(10**18)) is None
    assert parse_schedule("* * * * *", "UTC").next_after(Micros(-1)) == 0
    assert parse_schedule("@every 1h", "UTC").next_after(Micros(10**18)) is None


def test_fires_between_excludes_its_start_and_includes_its_end() -> None:
    schedule = parse_schedule("0 * * * *", "UTC")
    one, four = micros("2026-11-20T01:00:00Z"), micros("2026-11-20T04:00:00Z")
    hours = [micros(f"2026-11-20T0{hour}:00:00Z") for hour in (2, 3, 4)]

    assert schedule.fires_between(one, four, 100) == hours
    assert schedule.fires_between(one, four, 2) == hours[:2]
    assert schedule.fires_between(one, Micros(four - 1), 100) == hours[:2]
    assert schedule.fires_between(four, one, 100) == []
    assert schedule.fires_between(one, four, 0) == []


@given(
    expression=st.one_of(
        plain_expressions,
        st.sampled_from(["* * * * * *", "*/7 30 2 * * *", "0 0 29 2 *", "@every 90s", "@every 1h", "* * * * * 0"]),
    ),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    start=instants,
    days=st.floats(0, 3),
    limit=st.integers(1, 20),
)
def test_the_latest_between_are_the_last_of_all_between(
    expression: str, zone: str, start: Micros, days: float, limit: int
) -> None:
    schedule = parse_schedule(expression, zone)
    end = Micros(start + int(days * 3_600 * SECOND))
    everything = schedule.fires_between(start, end, 20_000, anchor_us=Micros(start - 10 * SECOND))
    assert schedule.latest_between(start, end, limit, anchor_us=Micros(start - 10 * SECOND)) == everything[-limit:]


@pytest.mark.parametrize("expression", ["* * * * * *", "0 0 29 2 *", "* * * 1 *", "*/2 0 0 1 1 *", "@every 1s", "30 2 * * *"])
def test_the_latest_of_many_years_cost_no_more_than_they_are(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = unshared(expression, "Europe/Berlin")
    evaluations: list[int] = []

    def counted(self: CronSchedule, after_s: int) -> int | None:
        evaluations.append(after_s)
        return original(self, after_s)

    original: Callable[[CronSchedule, int], int | None] = CronSchedule._evaluate
    monkeypatch.setattr(CronSchedule, "_evaluate", counted)
    end = micros("2026-11-20T13:00:00Z")
    found = schedule.latest_between(Micros(0), end, 100)
    assert found[-1] <= end
    assert schedule.next_after(found[-1]) > end  # type: ignore[operator] # there is always another
    assert len(evaluations) <= 10 * 100


# ------------------------------------------------------------------------------------------------------ shared answers


def test_schedules_are_shared_hashable_and_frozen() -> None:
    schedule = parse_schedule("0 9 * * *", "Europe/Berlin")

    assert parse_schedule(" 0  9 * * * ", "Europe/Berlin") is schedule
    assert unshared("0 9 * * *", "Europe/Berlin") == schedule
    assert hash(unshared("0 9 * * *", "Europe/Berlin")) == hash(schedule)
    assert parse_schedule("0 9 * * *", "Europe/Paris") != schedule
    assert parse_schedule("0 9 * * *", "") is parse_schedule("0 9 * * *", "UTC")
    assert (schedule.expression, schedule.timezone, schedule.every) == ("0 9 * * *", "Europe/Berlin", None)
    with pytest.raises(AttributeError):
        schedule.expression = "other"  # type: ignore[misc]  # the point of the test


def test_jobs_of_one_expression_cost_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = []

    def counted(fields: Fields, zone: ZoneInfo, after_s: int) -> int | None:
        evaluations.append(after_s)
        return original(fields, zone, after_s)

    original: Callable[[Fields, ZoneInfo, int], int | None] = cron._next_once
    monkeypatch.setattr(cron, "_next_once", counted)
    schedule = unshared("0 9 * * *", "Europe/Berlin")
    start = micros("2026-11-20T13:00:00Z")
    evaluations.clear()  # the parser asked whether it ever fires

    answers = {schedule.next_after(Micros(start + job)) for job in range(60_000)}

    assert answers == {micros("2026-11-21T09:00:00+01:00")}
    assert len(evaluations) == 1
    caught_up = {tuple(schedule.fires_between(Micros(start + job), Micros(start + 10**12), 9)) for job in range(1_000)}
    assert len(caught_up) == 1
    assert len(evaluations) < 15


@given(st.lists(st.integers(0, 2_000_000), min_size=1, max_size=60), st.sampled_from(["*/7 * * * *", "30 2 * * *"]))
def test_what_is_remembered_changes_no_answer(offsets: list[int], expression: str) -> None:
    remembering = unshared(expression, "Europe/Berlin")
    start = micros("2026-10-20T00:00:00Z")
    for offset in offsets:
        after = Micros(start + offset * SECOND // 2)
        assert remembering.next_after(after) == unshared(expression, "Europe/Berlin").next_after(after)


def test_what_is_remembered_is_bounded() -> None:
    schedule = unshared("* * * * * *", "UTC")
    start = micros("2026-11-20T13:00:00Z")

    assert schedule.fires_between(start, Micros(1 << 62), 5_000) == [start + n * SECOND for n in range(1, 5_001)]
    assert len(schedule._known) <= 128


# ------------------------------------------------------------------------------------------------------------- @every


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90.0), ("1h30m", 5400.0), ("2m", 120.0), ("1s", 1.0), ("1500ms", 1.5), ("1.5h", 5400.0), ("1m1m", 120.0)],
)
def test_every_reads_durations_as_go_writes_them(text: str, expected: float) -> None:
    assert parse_schedule(f"@every {text}", "UTC").every == expected * SECOND


def test_every_counts_from_its_anchor() -> None:
    schedule = parse_schedule("@every 1h30m", "Europe/Berlin")
    anchor = Micros(micros("2026-11-20T13:00:00Z") + 7)
    period = 5400 * SECOND

    assert schedule.next_after(anchor, anchor_us=anchor) == anchor + period
    assert schedule.next_after(Micros(anchor + period - 1), anchor_us=anchor) == anchor + period
    assert schedule.next_after(Micros(anchor + period), anchor_us=anchor) == anchor + 2 * period
    assert schedule.next_after(Micros(anchor - 100 * period), anchor_us=anchor) == anchor + period
    assert schedule.next_after(Micros(0)) == period
    expected = [anchor + period, anchor + 2 * period]
    assert schedule.fires_between(anchor, Micros(anchor + 3 * period - 1), 9, anchor_us=anchor) == expected


@given(st.integers(1, 10**6), instants, instants)
def test_every_is_periodic_and_tight(seconds: int, after: Micros, anchor: Micros) -> None:
    schedule = parse_schedule(f"@every {seconds}s", "UTC")

    due = schedule.next_after(after, anchor_us=anchor)

    assert due is not None
    assert due > after
    assert due > anchor
    assert (due - anchor) % (seconds * SECOND) == 0
    assert due - seconds * SECOND <= max(after, anchor)


# ------------------------------------------------------------------------------------------------------------- jitter


@given(st.binary(min_size=16, max_size=16), instants, st.integers(-5, 3600 * SECOND))
def test_jitter_is_repeatable_and_bounded(job_id: bytes, due: Micros, most: int) -> None:
    jitter = jitter_us(JobId(job_id), due, Span(most))

    assert 0 <= jitter <= max(most, 0)
    assert jitter == jitter_us(JobId(job_id), due, Span(most))


def test_jitter_spreads_jobs_and_due_times() -> None:
    spread = [jitter_us(JobId(job.to_bytes(16, "big")), Micros(0), Span(999)) for job in range(10_000)]
    buckets = [sum(1 for jitter in spread if jitter // 100 == bucket) for bucket in range(10)]

    assert min(buckets) > 850
    assert max(buckets) < 1_150
    assert len({jitter_us(JobId(bytes(16)), Micros(due), Span(10**9)) for due in range(100)}) == 100


def test_jitter_stays_the_same_over_releases() -> None:
    # A fail-over to a replica of another release must come to the same instant.
    assert jitter_us(JobId(bytes(range(16))), Micros(1_795_000_000_000_000), Span(60 * SECOND)) == 4_631_897


# ---------------------------------------------------------------------------------------------------- daylight saving


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        # 2026-03-29 in Berlin: 02:00 +01:00 becomes 03:00 +02:00.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-03-28T12:00:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        (
            "Europe/Berlin",
            "0,15,30 2,3 * * *",
            "2026-03-28T12:00:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00"],
        ),
        (
            "Europe/Berlin",
            "0 * * * *",
            "2026-03-29T00:30:00+01:00",
            ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
        ),
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-28T12:00:00Z", ["2026-03-30T02:00:00+02:00"]),
        # 2026-10-25 in Berlin: 03:00 +02:00 becomes 02:00 +01:00.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
        ),
        # Asked in the second passing: 02:40 of it is over already, 03:00 is next.
        ("Europe/Berlin", "0,40 2,3 * * *", "2026-10-25T02:20:00+01:00", ["2026-10-25T03:00:00+01:00"]),
        (
            "Europe/Berlin",
            "0 * * * *",
            "2026-10-25T01:30:00+02:00",
            ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"],
        ),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-10-25T02:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"],
        ),
        # Hours written out are no wildcard: each local hour once.
        (
            "Europe/Berlin",
            "0 0-23 * * *",
            "2026-10-25T01:30:00+02:00",
            ["2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"],
        ),
        # A wildcard once a year, when the only match is the second passing of an hour.
        ("Europe/Berlin", "* 2 25 10 *", "2026-10-25T02:59:00+02:00", ["2026-10-25T02:00:00+01:00"]),
        ("Europe/Berlin", "* 2 25 10 *", "2026-10-25T02:59:00+01:00", ["2027-10-25T02:00:00+02:00"]),
        # Half an hour, at Lord Howe: 2026-10-04 02:00 +10:30 becomes 02:30 +11:00.
        ("Australia/Lord_Howe", "10 2 * * *", "2026-10-03T00:00:00Z", ["2026-10-04T02:30:00+11:00"]),
        # Midnight itself, in Havana: 2026-03-08 00:00 becomes 01:00.
        (
            "America/Havana",
            "@daily",
            "2026-03-07T12:00:00Z",
            ["2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"],
        ),
        # A whole day, in Samoa: after 2011-12-29 came 2011-12-31.
        (
            "Pacific/Apia",
            "0 9 * * *",
            "2011-12-29T12:00:00-10:00",
            ["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"],
        ),
        ("Pacific/Apia", "30 * * * *", "2011-12-29T23:30:00-10:00", ["2011-12-31T00:30:00+14:00"]),
        # Seconds within a repeated hour, of a schedule that names its minutes.
        (
            "Europe/Berlin",
            "*/30 30 2 * * *",
            "2026-10-25T02:30:00+02:00",
            ["2026-10-25T02:30:30+02:00", "2026-10-26T02:30:00+01:00"],
        ),
    ],
)
def test_daylight_saving(zone: str, expression: str, after: str, expected: list[str]) -> None:
    assert fires(expression, zone, after, len(expected)) == expected
