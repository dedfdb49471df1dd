"""Backoff: exponential, capped, with jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot_scheduler.core.model import Outcome, RetryPolicy
from foliot_scheduler.core.retry import backoff, is_retried
from foliot_scheduler.core.types import HOUR, SECOND, Span

DOUBLING = RetryPolicy(10, Span(SECOND), 2.0, Span(60 * SECOND), 0.0)


def test_each_wait_is_longer_until_the_cap() -> None:
    assert [backoff(DOUBLING, n, lambda: 0.7) // SECOND for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 8.0), (0.5, 4.0), (0.999999, 0.000008)])
def test_full_jitter_draws_from_the_whole_wait(drawn: float, seconds: float) -> None:
    assert backoff(DOUBLING._replace(jitter=1.0), 4, lambda: drawn) == pytest.approx(seconds * SECOND, abs=1)


def test_half_jitter_keeps_half_of_the_wait() -> None:
    policy = DOUBLING._replace(jitter=0.5)
    assert backoff(policy, 1, lambda: 0.0) == SECOND
    assert backoff(policy, 1, lambda: 0.999999999) == pytest.approx(SECOND / 2, abs=1)


POLICIES = st.builds(
    RetryPolicy,
    initial_backoff=st.integers(0, 24 * HOUR).map(Span),
    multiplier=st.floats(1, 10),
    max_backoff=st.integers(0, 7 * 24 * HOUR).map(Span),
    jitter=st.floats(0, 1),
)


@given(policy=POLICIES, failed=st.integers(1, 10_000), drawn=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_negative_endless_or_over_the_cap(policy: RetryPolicy, failed: int, drawn: float) -> None:
    assert 0 <= backoff(policy, failed, lambda: drawn) <= policy.max_backoff


@pytest.mark.parametrize(("failed", "again"), [(1, True), (2, True), (3, False), (4, False)])
def test_the_policy_counts_all_attempts_the_first_included(failed: int, again: bool) -> None:
    assert is_retried(RetryPolicy(max_attempts=3), Outcome.FAILED, failed) is again


@pytest.mark.parametrize("outcome", set(Outcome) - {Outcome.FAILED, Outcome.TIMED_OUT})
def test_by_default_failures_and_timeouts_are_retried_alone(outcome: Outcome) -> None:
    assert not is_retried(RetryPolicy(max_attempts=3), outcome, 1)
    assert is_retried(RetryPolicy(max_attempts=3, retry_on=frozenset({outcome})), outcome, 1)
