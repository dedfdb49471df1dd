"""Randomness that is the same on every machine and in every version of Python: a seed is all a failure needs to be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Dice:
    """SplitMix64 (Steele, Lea and Flood, 2014)."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def _next(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def fraction(self) -> float:
        """From 0 up to, but not including, 1."""
        return self._next() / 2.0**64

    def number(self, least: int, most: int) -> int:
        """Both ends included."""
        return least + self._next() % (most - least + 1)

    def chance(self, likelihood: float) -> bool:
        return self.fraction() < likelihood

    def pick(self, things: Sequence[T]) -> T:
        return things[self._next() % len(things)]

    def some(self, things: Sequence[T], likelihood: float) -> list[T]:
        """Each thing with the same likelihood."""
        return [thing for thing in things if self.chance(likelihood)]
