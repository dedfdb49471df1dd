from __future__ import annotations

import calendar
import itertools
from datetime import UTC, datetime

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from foliot_scheduler.core.cron import SEARCH_YEARS, CronError, parse_schedule
from foliot_scheduler.core.types import Micros
from tests.unit.core.cron_support import SECOND, fires, instants, micros, plain_expressions


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["2026-11-20T13:38", "2026-11-20T13:39"]),
        ("*/15 * * * *", ["2026-11-20T13:45", "2026-11-20T14:00"]),
        ("5/20 * * * *", ["2026-11-20T13:45", "2026-11-20T14:05"]),
        ("10-30/10 8,20 * * *", ["2026-11-20T20:10", "2026-11-20T20:20", "2026-11-20T20:30", "2026-11-21T08:10"]),
        ("0 9-9 * * *", ["2026-11-21T09:00", "2026-11-22T09:00"]),
        ("0 22-4/3 * * *", ["2026-11-20T22:00", "2026-11-21T01:00", "2026-11-21T04:00", "2026-11-21T22:00"]),
        ("0 9 * * 1-5", ["2026-11-23T09:00", "2026-11-24T09:00"]),
        ("0 9 * * MON-fri", ["2026-11-23T09:00"]),
        ("0 9 * * 6-7", ["2026-11-21T09:00", "2026-11-22T09:00", "2026-11-28T09:00"]),
        ("0 9 * * fri-sun", ["2026-11-21T09:00", "2026-11-22T09:00", "2026-11-27T09:00"]),
        ("0 0 * * 0", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * 7", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 ? * sun", ["2026-11-22T00:00"]),
        ("0 0 1 jan,JUL *", ["2027-01-01T00:00", "2027-07-01T00:00"]),
        ("0 0 1 nov-feb *", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00", "2027-11-01T00:00"]),
        ("0 0 31 * *", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        # Both day columns restricted: either will do.
        ("0 0 13 * 5", ["2026-11-27T00:00", "2026-12-04T00:00", "2026-12-11T00:00", "2026-12-13T00:00"]),
        ("0 0 */1 * 1", ["2026-11-23T00:00", "2026-11-30T00:00"]),
        ("0 0 */2 * 0-6", ["2026-11-21T00:00", "2026-11-23T00:00"]),
        ("0 0 1-31 * */2", ["2026-11-21T00:00", "2026-11-22T00:00", "2026-11-24T00:00"]),
        ("0 0 1-15 * 0-6", ["2026-11-21T00:00", "2026-11-22T00:00", "2026-11-23T00:00"]),
        ("0 0 L * *", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"]),
        ("0 0 15,L * *", ["2026-11-30T00:00", "2026-12-15T00:00", "2026-12-31T00:00"]),
        ("0 0 15W * *", ["2026-12-15T00:00", "2027-01-15T00:00", "2027-02-15T00:00"]),
        ("0 0 1W * *", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"]),
        ("0 0 31W * *", ["2026-12-31T00:00", "2027-01-29T00:00", "2027-03-31T00:00"]),
        ("0 0 w1 5,8 *", ["2027-05-03T00:00", "2027-08-02T00:00"]),
        ("0 0 * * 5#2", ["2026-12-11T00:00", "2027-01-08T00:00"]),
        ("0 0 * * fri#1,mon#3", ["2026-12-04T00:00", "2026-12-21T00:00", "2027-01-01T00:00"]),
        ("0 0 13 * 5#2", ["2026-12-11T00:00", "2026-12-13T00:00", "2027-01-08T00:00", "2027-01-13T00:00"]),
        ("0 0 * * L5", ["2026-11-27T00:00", "2026-12-25T00:00", "2027-01-29T00:00"]),
        ("0 0 * * 5L", ["2026-11-27T00:00", "2026-12-25T00:00"]),
        ("0 0 * * 7L", ["2026-11-29T00:00", "2026-12-27T00:00"]),
        ("0 0 * 2 1#5", ["2044-02-29T00:00", "2072-02-29T00:00"]),
        ("  0   0 1\t1 * ", ["2027-01-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        ("@annually", ["2027-01-01T00:00"]),
        ("@monthly", ["2026-12-01T00:00"]),
        ("@weekly", ["2026-11-22T00:00"]),
        ("@daily", ["2026-11-21T00:00"]),
        ("@Midnight", ["2026-11-21T00:00"]),
        ("@hourly", ["2026-11-20T14:00"]),
    ],
)
def test_expressions_fire_when_they_say(expression: str, expected: list[str]) -> None:
    # 2026-11-20 is a Friday.
    assert fires(expression, "UTC", "2026-11-20T13:37:30Z", len(expected)) == [f"{time}:00+00:00" for time in expected]


def test_six_fields_begin_with_seconds() -> None:
    expected = ["2026-11-20T13:37:40+00:00", "2026-11-20T13:37:50+00:00", "2026-11-20T13:38:10+00:00"]

    assert fires("10,40,50 * * * * *", "UTC", "2026-11-20T13:37:39Z", 3) == expected
    assert fires("30 5 4 3 2 *", "UTC", "2026-11-20T13:37:39Z", 1) == ["2027-02-03T04:05:30+00:00"]


@pytest.mark.parametrize(
    ("expression", "zone", "field", "part"),
    [
        ("", "UTC", "expression", "empty"),
        ("   ", "UTC", "expression", "empty"),
        ("* * * *", "UTC", "expression", "five fields (minute hour day-of-month month day-of-week) or six"),
        ("* * * * * * 2027", "UTC", "expression", "a year field is not supported"),
        ("1," * 127 + "1 * * * *", "UTC", "expression", "255"),
        ("@reboot", "UTC", "expression", "@hourly"),
        ("@daily 5", "UTC", "expression", "@daily"),
        ("60 * * * *", "UTC", "minute", "60 is out of range, 0 to 59"),
        ("60 * * * * *", "UTC", "second", "60 is out of range"),
        ("* 24 * * *", "UTC", "hour", "24 is out of range, 0 to 23"),
        ("* * 0 * *", "UTC", "day_of_month", "0 is out of range, 1 to 31"),
        ("* * 32W * *", "UTC", "day_of_month", "32 is out of range"),
        ("* * * 13 *", "UTC", "month", "13 is out of range"),
        ("* * * foo *", "UTC", "month", "'foo' is not known here, jan and the like, or 1 to 12 are"),
        ("* * * * 8", "UTC", "day_of_week", "8 is out of range"),
        ("* * * * mon#6", "UTC", "day_of_week", "'mon#6'"),
        ("* * * * 8#1", "UTC", "day_of_week", "8 is out of range"),
        ("* * * * L", "UTC", "day_of_week", "'l' is not known"),
        ("mon * * * *", "UTC", "minute", "'mon' is not known here, 0 to 59 are"),
        ("*/0 * * * *", "UTC", "minute", "the step of '*/0' is not from 1 to 60"),
        ("*/90 * * * *", "UTC", "minute", "see @every"),
        ("1,,2 * * * *", "UTC", "minute", "''"),
        ("-5 * * * *", "UTC", "minute", "'-5'"),
        ("*-5 * * * *", "UTC", "minute", "'*-5'"),
        ("5-6-7 * * * *", "UTC", "minute", "'5-6-7'"),
        ("? * * * *", "UTC", "minute", "'?'"),
        ("٣ * * * *", "UTC", "minute", "'٣'"),
        # Jenkins' spread values: a random one would differ by replica.
        ("H * * * *", "UTC", "minute", "'h' is not known"),
        ("R(1-5) * * * *", "UTC", "minute", "'r(1-5)'"),
        ("0 0 30 2 *", "UTC", "day_of_month", "never fires: no month it allows has a day 30"),
        ("0 0 30,31 feb *", "UTC", "day_of_month", "never fires"),
        ("0 0 31 2,4,6,9,11 ?", "UTC", "day_of_month", "never fires"),
        ("0 0 30W 2 *", "UTC", "day_of_month", "never fires"),
        # In New York the clock skips 02:00 to 03:00 on each second Sunday of March.
        ("* 2 * 3 0#2", "America/New_York", "timezone", "never fires in America/New_York"),
        ("* * * * *", "Mars/Olympus", "timezone", "'Mars/Olympus' is not an IANA zone"),
        ("* * * * *", "America", "timezone", "not an IANA zone"),
        ("* * * * *", "../../etc/passwd", "timezone", "not an IANA zone"),
        ("* * * * *", "/etc/localtime", "timezone", "not an IANA zone"),
        ("* * * * *", "localtime", "timezone", "not an IANA zone"),
        ("* * * * *", "right/UTC", "timezone", "not an IANA zone"),
        ("* * * * *", "UTC\0", "timezone", "not an IANA zone"),
        ("* * * * *", "A" * 5_000, "timezone", "not an IANA zone"),
        ("@every", "UTC", "every", "'' is not a duration"),
        ("@every 1d", "UTC", "every", "'1d' is not a duration"),
        ("@every 1h 30m", "UTC", "every", "not a duration"),
        ("@every -5s", "UTC", "every", "not a duration"),
        ("@every 90", "UTC", "every", "not a duration"),
        ("@every 999ms", "UTC", "every", "too short"),
        ("@every 0s", "UTC", "every", "too short"),
        ("@every 100000h", "UTC", "every", "too long"),
        ("@every 1.00000001s", "UTC", "every", "microseconds"),
        ("@every 1h", "Nowhere", "timezone", "not an IANA zone"),
    ],
)
def test_errors_name_the_field_and_the_rule(expression: str, zone: str, field: str, part: str) -> None:
    with pytest.raises(CronError) as caught:
        parse_schedule(expression, zone)

    assert caught.value.field == field
    assert part in caught.value.message
    assert str(caught.value) == f"{field}: {caught.value.message}"


@given(st.text(st.sampled_from("0123456789*/,-?@LWH#. jansuevry" + "hms"), max_size=40), st.text(max_size=20))
def test_any_text_is_parsed_or_refused(expression: str, zone: str) -> None:
    for name in ("UTC", zone):
        try:
            schedule = parse_schedule(expression, name)
        except CronError:
            continue
        assert schedule.next_after(micros("2026-11-20T00:00:00Z")) is not None


# ------------------------------------------------------------------------------------------------- against croniter


@settings(max_examples=50)  # croniter takes milliseconds
@given(plain_expressions, instants)
def test_agrees_with_croniter_in_utc(expression: str, start: Micros) -> None:
    schedule = parse_schedule(expression, "UTC")
    reference = croniter(expression, datetime.fromtimestamp(start // SECOND, UTC), ret_type=float)

    actual = schedule.fires_between(start, Micros(1 << 62), 3)

    assert actual == [int(reference.get_next()) * SECOND for _ in range(3)]


@given(st.sampled_from(["L", "15W", "1W", "31W", "28W"]) | st.just("*"), st.sampled_from(["*", "L5", "0#1", "6#5", "3#2"]))
def test_agrees_with_croniter_on_special_days(day_of_month: str, day_of_week: str) -> None:
    if "*" not in (day_of_month, day_of_week):
        return  # croniter wants both of them then, where plain columns take either
    # Months of 31 days, because croniter takes 31W of a shorter month for its last weekday.
    expression = f"0 12 {day_of_month} 1,3,5,7,8,10,12 {day_of_week}"
    schedule = parse_schedule(expression, "UTC")
    reference = croniter(expression, datetime(2026, 1, 1, tzinfo=UTC), ret_type=float)

    actual = schedule.fires_between(micros("2026-01-01T00:00:00Z"), Micros(1 << 62), 60)

    assert actual == [int(reference.get_next()) * SECOND for _ in range(60)]


def test_the_search_covers_the_rarest_day() -> None:
    # The calendar repeats after 400 years, weekdays included.
    for weekday in range(7):
        years = [year for year in range(2000, 2801) if calendar.isleap(year) and calendar.weekday(year, 2, 29) == weekday]
        assert max(later - earlier for earlier, later in itertools.pairwise(years)) == 40 < SEARCH_YEARS
    assert parse_schedule("0 0 * 2 0#5", "UTC").next_after(micros("2076-12-31T00:00:00Z")) is not None
