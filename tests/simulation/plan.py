"""What a story is made of, as data: enough to tell it again, and to leave parts of it out."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Iterator

PACES_S: Final = {"nemesis": 20.0, "client0": 6.0, "client1": 6.0, "client2": 6.0}
"""Who acts, and how long each pauses between two deeds at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Each actor does one deed after another, each at its time and by its own dice: so one that is left out changes no other."""

    seed: int
    seconds: float = 600.0
    """How long clients wish and the nemesis harms."""
    gentle: bool = False
    """Whether streams break, and nothing else happens."""
    replicas: int = 3
    workers: int = 3
    deeds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """By actor: the numbers of the deeds that are done, in order. An actor who is not named does all."""

    def turns(self, actor: str) -> Iterator[tuple[float, Dice]]:
        """The deeds of an actor: when each is due, in seconds since the beginning, and the dice it is drawn by."""
        kept = self.deeds.get(actor)
        for number, (at, dice) in enumerate(self._all_turns(actor)):
            if kept is None or number in kept:
                yield at, dice

    def spelled_out(self) -> dict[str, tuple[int, ...]]:
        """All deeds that are done, by actor, none left to be understood."""
        return {
            actor: self.deeds[actor] if actor in self.deeds else tuple(n for n, _ in enumerate(self._all_turns(actor)))
            for actor in PACES_S
        }

    def as_json(self) -> dict[str, Any]:
        """What `plan_of` reads."""
        return asdict(self)

    def _all_turns(self, actor: str) -> Iterator[tuple[float, Dice]]:
        at, number = 0.0, 0
        while True:
            digest = hashlib.blake2b(f"{self.seed} {actor} {number}".encode(), digest_size=8).digest()
            dice = Dice(int.from_bytes(digest, "big"))
            at += dice.fraction() * PACES_S[actor]
            if at >= self.seconds:
                return
            yield at, dice
            number += 1


def plan_of(given: dict[str, Any]) -> Plan:
    """Read what `Plan.as_json` wrote."""
    return Plan(**{**given, "deeds": {actor: tuple(numbers) for actor, numbers in given["deeds"].items()}})
