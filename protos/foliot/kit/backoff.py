"""Growing pauses between attempts."""

from __future__ import annotations

from dataclasses import dataclass

from foliot.kit.clock import Clock

# Growth stops mattering long before a float overflows: 2^64 times any first pause is past every cap.
_EXPONENT_MAX = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: a pause is drawn evenly from zero to a bound that grows with each attempt.

    Full jitter spreads clients that failed together best ("Exponential Backoff And Jitter", AWS Architecture Blog,
    2015). Raises ValueError for values that make no sense.
    """

    initial_s: float
    """Bound of the first pause, in seconds; more than 0."""

    max_s: float
    """Bound that no pause exceeds, in seconds; at least `initial_s`."""

    multiplier: float = 2.0
    """How much the bound grows from one attempt to the next; at least 1."""

    def __post_init__(self) -> None:
        if not (0 < self.initial_s <= self.max_s and self.multiplier >= 1):
            raise ValueError(f"backoff needs 0 < initial_s <= max_s and multiplier >= 1, not {self}")

    def bound(self, attempt: int) -> float:
        """Answer the longest pause, in seconds, after `attempt` failures (from 1)."""
        exponent = min(max(attempt, 1) - 1, _EXPONENT_MAX)
        return float(min(self.max_s, self.initial_s * self.multiplier**exponent))

    def delay(self, attempt: int, clock: Clock) -> float:
        """Draw the pause, in seconds, after `attempt` failures (from 1)."""
        return clock.random() * self.bound(attempt)
