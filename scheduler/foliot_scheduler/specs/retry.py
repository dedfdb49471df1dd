"""Retry policies: the contract's message and the core's tuple."""

from __future__ import annotations

from typing import Final

from foliot.v1 import spec_pb2
from foliot_scheduler.core.model import Outcome, RetryPolicy
from foliot_scheduler.core.types import Span
from foliot_scheduler.specs.enums import OUTCOME_NUMBERS, OUTCOMES
from foliot_scheduler.specs.rules import Violations, check_duration, check_range, span_of

ATTEMPTS_MAX: Final = 100
INITIAL_BACKOFF_MAX: Final = Span(86_400_000_000)
MAX_BACKOFF_MAX: Final = Span(7 * 86_400_000_000)
MULTIPLIER_MAX: Final = 10

ONE_ATTEMPT: Final = RetryPolicy()
"""What an unset policy stands for; its other parts are the defaults of a set one."""

_RETRIABLE: Final = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.NON_RETRYABLE, Outcome.LOST})


def check_retry(path: str, policy: spec_pb2.RetryPolicy, violations: Violations) -> None:
    """Hold a policy to its rules."""
    if not 0 <= policy.max_attempts <= ATTEMPTS_MAX:
        violations.add(f"{path}.max_attempts", f"must be 1 to {ATTEMPTS_MAX}, or 0 for one attempt", "out_of_range")
    if policy.HasField("initial_backoff"):
        check_duration(f"{path}.initial_backoff", policy.initial_backoff, INITIAL_BACKOFF_MAX, violations, zero=True)
    if policy.multiplier != 0:
        check_range(f"{path}.multiplier", policy.multiplier, violations, least=1, most=MULTIPLIER_MAX)
    if policy.HasField("max_backoff"):
        check_duration(f"{path}.max_backoff", policy.max_backoff, MAX_BACKOFF_MAX, violations, zero=True)
    if policy.HasField("jitter"):
        check_range(f"{path}.jitter", policy.jitter, violations, least=0, most=1)
    for number, outcome in enumerate(policy.retry_on):
        if OUTCOMES.get(outcome) not in _RETRIABLE:
            names = "FAILED, TIMED_OUT, NON_RETRYABLE and LOST"
            violations.add(f"{path}.retry_on[{number}]", f"must be one of {names}", "not_one_of")
            break


def plan_retry(policy: spec_pb2.RetryPolicy) -> RetryPolicy:
    """What a valid policy means, defaults filled in."""
    default = ONE_ATTEMPT
    has_initial, has_cap = policy.HasField("initial_backoff"), policy.HasField("max_backoff")
    return RetryPolicy(
        max_attempts=policy.max_attempts or default.max_attempts,
        initial_backoff=span_of(policy.initial_backoff) if has_initial else default.initial_backoff,
        multiplier=policy.multiplier or default.multiplier,
        max_backoff=span_of(policy.max_backoff) if has_cap else default.max_backoff,
        jitter=policy.jitter if policy.HasField("jitter") else default.jitter,
        retry_on=frozenset(OUTCOMES[outcome] for outcome in policy.retry_on) or default.retry_on,
    )


def retry_message(policy: RetryPolicy) -> spec_pb2.RetryPolicy:
    """A policy as the contract shows it, every part set."""
    message = spec_pb2.RetryPolicy(
        max_attempts=policy.max_attempts,
        multiplier=policy.multiplier,
        jitter=policy.jitter,
        retry_on=sorted(OUTCOME_NUMBERS[outcome] for outcome in policy.retry_on),
    )
    message.initial_backoff.FromMicroseconds(policy.initial_backoff)
    message.max_backoff.FromMicroseconds(policy.max_backoff)
    return message
