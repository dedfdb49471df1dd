"""The rule of the rate limits: what it never lets through, and what it never refuses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foliot_gateway.http.limits.gcra import LIMIT_MAX, REQUEST_UNITS, Bucket, Decision, decide

MINUTE_US = 60_000_000
LIMITS = st.integers(1, 300) | st.integers(1, LIMIT_MAX)


def played(limit: int, arrivals_us: list[int]) -> list[Decision]:
    """The decisions on requests at these times."""
    bucket: Bucket | None = None
    decisions = []
    for now_us in arrivals_us:
        decision = decide(bucket, now_us=now_us, limit=limit)
        bucket = Bucket(decision.level, now_us)
        decisions.append(decision)
    return decisions


def test_a_limit_of_100_lets_exactly_100_through_at_once() -> None:
    decisions = played(100, [0] * 150)
    assert [decision.allowed for decision in decisions] == [True] * 100 + [False] * 50
    assert [decision.remaining for decision in decisions[:100]] == list(range(99, -1, -1))


def test_after_the_burst_one_comes_through_each_time_its_share_of_the_minute_has_passed() -> None:
    every_us = MINUTE_US // 100
    arrivals = [0] * 100 + [every_us - 1, every_us, every_us + 1, 2 * every_us]
    assert [decision.allowed for decision in played(100, arrivals)[100:]] == [False, True, False, True]


@given(LIMITS, st.lists(st.integers(0, MINUTE_US // 4), max_size=60))
def test_no_span_of_time_lets_more_through_than_the_burst_and_its_share(limit: int, gaps_us: list[int]) -> None:
    arrivals = [sum(gaps_us[: index + 1]) for index in range(len(gaps_us))]
    taken = [now for now, decision in zip(arrivals, played(limit, arrivals), strict=True) if decision.allowed]
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            span_us = taken[last] - begin
            assert last - first + 1 <= limit + span_us * limit // MINUTE_US


@given(LIMITS, st.lists(st.integers(0, 10_000_000), min_size=1, max_size=60))
def test_who_keeps_to_the_rate_is_never_refused(limit: int, slack_us: list[int]) -> None:
    every_us = -(-MINUTE_US // limit)
    arrivals = [sum(slack_us[: index + 1]) + index * every_us for index in range(len(slack_us))]
    assert all(decision.allowed for decision in played(limit, arrivals))


@given(LIMITS, st.integers(0, LIMIT_MAX * REQUEST_UNITS), st.integers(0, 10**16), st.integers(-(10**9), 10**9))
def test_what_a_response_says_is_so(limit: int, level: int, at_us: int, elapsed_us: int) -> None:
    now_us = at_us + elapsed_us
    decision = decide(Bucket(level, at_us), now_us=now_us, limit=limit)
    assert 0 <= decision.level <= limit * REQUEST_UNITS
    after = Bucket(decision.level, now_us)
    # The remaining ones come through at once; one more does after the wait that was named, and not before.
    full = Bucket(decision.level + decision.remaining * REQUEST_UNITS, now_us)
    assert not decide(full, now_us=now_us, limit=limit).allowed
    if decision.remaining:
        assert decide(Bucket(full.level - REQUEST_UNITS, now_us), now_us=now_us, limit=limit).allowed
        assert decide(after, now_us=now_us + decision.reset_after_us, limit=limit).remaining == limit - 1
    else:
        wait_us = decision.more_after_us
        assert wait_us > 0
        assert decide(after, now_us=now_us + wait_us, limit=limit).allowed
        assert not decide(after, now_us=now_us + wait_us - 1, limit=limit).allowed


def test_a_limit_that_was_lowered_finds_the_bucket_full_and_no_fuller() -> None:
    before = played(1000, [0] * 1000)[-1]
    lowered = decide(Bucket(before.level, 0), now_us=0, limit=10)
    assert (lowered.allowed, lowered.more_after_us) == (False, MINUTE_US // 10)


def test_a_clock_that_went_back_neither_fills_nor_drains() -> None:
    assert decide(Bucket(5 * REQUEST_UNITS, 1_000_000), now_us=0, limit=10).remaining == 4
