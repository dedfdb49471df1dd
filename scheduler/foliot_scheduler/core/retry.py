"""Whether an ended attempt is followed by another, and after which wait."""

from foliot_scheduler.core.model import Outcome, RetryPolicy
from foliot_scheduler.core.types import Draw, Span

EXPONENT_MAX = 64
"""Beyond it the cap has long been reached, for any multiplier above 1.01; keeps the power finite."""


def is_retried(policy: RetryPolicy, outcome: Outcome, failed_attempts: int) -> bool:
    """Return whether a failed attempt is followed by another; `failed_attempts` counts it already.

    Lost attempts do not come here: they are repeated up to a cap of the scheduler's own.
    """
    return outcome in policy.retry_on and failed_attempts < policy.max_attempts


def backoff(policy: RetryPolicy, failed_attempts: int, draw: Draw) -> Span:
    """Return the wait in µs before the next attempt: exponential, capped, and with jitter.

    Drawn evenly from [(1 - jitter) * b, b]; with jitter 1 this is the "full jitter" that spreads a thundering herd best
    (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """
    exponent = min(failed_attempts - 1, EXPONENT_MAX)
    longest = min(float(policy.max_backoff), policy.initial_backoff * policy.multiplier**exponent)
    return Span(int(longest * (1.0 - policy.jitter * draw())))
