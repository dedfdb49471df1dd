"""Backoff: bounds, jitter, refusals."""

import pytest

from foliot.kit.backoff import Backoff
from foliot.kit.clock import ManualClock


def test_the_bound_grows_up_to_its_cap() -> None:
    backoff = Backoff(initial_s=0.5, max_s=5, multiplier=2)
    assert [backoff.bound(attempt) for attempt in range(7)] == [0.5, 0.5, 1, 2, 4, 5, 5]
    assert backoff.bound(1_000_000) == 5


def test_delays_are_spread_over_all_of_the_bound() -> None:
    backoff = Backoff(initial_s=1, max_s=8)
    clock = ManualClock(seed=3)
    drawn = [backoff.delay(4, clock) for _ in range(1_000)]
    assert min(drawn) >= 0
    assert max(drawn) < 8
    assert min(drawn) < 0.5
    assert max(drawn) > 7.5


@pytest.mark.parametrize(("initial_s", "max_s", "multiplier"), [(0, 1, 2), (2, 1, 2), (1, 2, 0.5)])
def test_senseless_values_are_refused(initial_s: float, max_s: float, multiplier: float) -> None:
    with pytest.raises(ValueError, match="initial_s"):
        Backoff(initial_s=initial_s, max_s=max_s, multiplier=multiplier)
