"""The buckets of one process: as many as fit, none longer than it matters."""

from __future__ import annotations

from foliot.kit.clock import ManualClock
from foliot_gateway.http.limits.local import LocalBuckets


def test_each_key_has_a_limit_of_its_own() -> None:
    buckets = LocalBuckets(ManualClock())
    assert [buckets.take("a", 2).allowed for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 2).allowed


def test_to_look_counts_nothing() -> None:
    buckets = LocalBuckets(ManualClock())
    assert [buckets.peek("a", 1).remaining for _ in range(3)] == [1, 1, 1]
    buckets.take("a", 1)
    assert not buckets.peek("a", 1).allowed


def test_the_wall_clock_does_not_matter() -> None:
    clock = ManualClock()
    buckets = LocalBuckets(clock)
    assert buckets.take("a", 1).allowed
    clock.shift_wall(3600)
    assert not buckets.take("a", 1).allowed
    clock.shift_wall(-7200)
    clock.advance(60)
    assert buckets.take("a", 1).allowed


def test_what_another_knows_is_where_standing_in_for_it_begins() -> None:
    buckets = LocalBuckets(ManualClock())
    buckets.note("a", LocalBuckets(ManualClock()).take("a", 1).level)
    assert not buckets.take("a", 1).allowed


def test_a_key_more_than_fits_forgets_the_one_that_was_quiet_longest() -> None:
    buckets = LocalBuckets(ManualClock(), buckets_max=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, 10)
    assert len(buckets) == 2
    assert buckets.peek("a", 10).remaining == 8
    assert buckets.peek("b", 10).remaining == 10


def test_buckets_that_must_be_empty_by_now_go() -> None:
    clock = ManualClock()
    buckets = LocalBuckets(clock)
    for index in range(100):
        buckets.take(f"old-{index}", 10)
    clock.advance(61)
    for index in range(50):
        buckets.take(f"new-{index}", 10)
    assert len(buckets) == 50
