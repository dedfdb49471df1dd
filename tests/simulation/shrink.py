"""Cuts a story that breaks a promise down to what it takes to break it.

Delta debugging (Zeller and Hildebrandt, 2002) over all that is done in the story, faults and wishes alike, after the cheap cuts:
fewer processes, and an earlier end. A cut is kept if the same promise is broken. Which cuts are tried, and in which order they
count, follows from the story alone, so the result is the same however many processes try.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.simulation.plan import Plan
    from tests.simulation.telling import Told

    TellAll = Callable[[Iterable[Plan]], Iterator[Told]]

WINDOW: Final = 8
"""How many cuts are tried at once. Once one is good the rest of its window is wasted, so not many more than there are cores."""

Deed = tuple[str, int]
"""Who does it, and its number."""


def shrink(plan: Plan, promise: str, tell_all: TellAll) -> tuple[Plan, int]:
    """Answer the smallest plan found, and how many stories that took. `tell_all` tells plans, in their order."""
    search = _Search(plan, promise, tell_all)
    search.plan = replace(plan, deeds=plan.spelled_out())
    while True:
        before = search.plan
        search.end_earlier()
        search.take(replace(search.plan, replicas=count) for count in range(1, search.plan.replicas))
        search.take(replace(search.plan, workers=count) for count in range(1, search.plan.workers))
        search.do_less()
        if search.plan == before:
            return before, search.tries


class _Search:
    def __init__(self, plan: Plan, promise: str, tell_all: TellAll) -> None:
        self.plan = plan
        self.tries = 0
        self._promise = promise
        self._tell_all = tell_all

    def take(self, candidates: Iterable[Plan]) -> bool:
        """Go on with the first of these that still breaks the promise; say whether one does."""
        left = list(candidates)
        while left:
            window, left = left[:WINDOW], left[WINDOW:]
            self.tries += len(window)
            for told in self._tell_all(window):
                if told.promise == self._promise:
                    self.plan = told.plan
                    return True
        return False

    def end_earlier(self) -> None:
        """Cut the end off: what is done there, not the time it takes things to end."""
        while self.plan.seconds > 1.0 and self.take(_until(self.plan, self.plan.seconds * part / 4) for part in (1, 2, 3)):
            pass

    def do_less(self) -> None:
        """Delta debugging: leave out ever smaller parts of what is done, until no single deed can be left out."""
        parts = 2
        while deeds := _deeds(self.plan):
            parts = min(parts, len(deeds))
            chunks = [deeds[len(deeds) * n // parts : len(deeds) * (n + 1) // parts] for n in range(parts)]
            smaller = [chunk for chunk in chunks if len(chunk) < len(deeds)] if parts > 1 else [[]]
            if parts > 1 and self.take(_with(self.plan, chunk) for chunk in smaller):
                parts = 2
            elif self.take(_with(self.plan, [deed for deed in deeds if deed not in chunk]) for chunk in map(set, chunks)):
                parts = max(parts - 1, 2)
            elif parts == len(deeds):
                return
            else:
                parts *= 2


def _deeds(plan: Plan) -> list[Deed]:
    return [(actor, number) for actor, numbers in plan.deeds.items() for number in numbers]


def _with(plan: Plan, deeds: Sequence[Deed]) -> Plan:
    return replace(plan, deeds={actor: tuple(n for who, n in deeds if who == actor) for actor in plan.deeds})


def _until(plan: Plan, seconds: float) -> Plan:
    shorter = replace(plan, seconds=seconds)
    ends = {actor: len(numbers) for actor, numbers in replace(shorter, deeds={}).spelled_out().items()}
    return replace(shorter, deeds={actor: tuple(n for n in numbers if n < ends[actor]) for actor, numbers in plan.deeds.items()})
