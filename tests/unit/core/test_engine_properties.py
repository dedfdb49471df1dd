"""The engine under everything at once: random stories in which the promises of the scheduler must hold after every step.

A story is made by its seed. `CORE_STORIES=5000` tells more of them than usual, `CORE_SEED=123` starts with another one; a
failure names its seed, and `CORE_STORIES=1 CORE_SEED=<seed>` repeats exactly it.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from foliot_scheduler.core import transitions
from tests.unit.core.simulation import Simulation, replay

STORIES = int(os.environ.get("CORE_STORIES", "80"))
FIRST_SEED = int(os.environ.get("CORE_SEED", "1"))
PER_TEST = 20
"""Few enough that a test stays far below its timeout on a slow machine."""

STEPS = 150


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + STORIES, PER_TEST))
def test_the_promises_hold_in_every_story(first: int) -> None:
    for seed in range(first, min(first + PER_TEST, FIRST_SEED + STORIES)):
        try:
            tell(seed)
        except Exception as error:
            error.add_note(f"seed {seed}: repeat it with CORE_STORIES=1 CORE_SEED={seed}")
            raise


class Noted(dict[Any, Any]):
    """A table that notes which of its entries were looked up."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.seen: set[object] = set()

    def __getitem__(self, key: object) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)


def test_some_story_makes_every_legal_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nothing can do has no place in the tables."""
    tables = {name: Noted(getattr(transitions, name)) for name in ("TASK_TRANSITIONS", "RUN_TRANSITIONS")}
    for name, table in tables.items():
        monkeypatch.setattr(transitions, name, table)
    for seed in range(1, 1 + PER_TEST):
        tell(seed)
    for name, table in tables.items():
        assert table.seen == set(table), name


def tell(seed: int) -> None:
    """Tell a story to its end, then once more."""
    sim = Simulation(seed)
    sim.run(STEPS)
    sim.check_committed()
    sim.settle_down()
    assert replay(sim) == sim.decisions, "the same commands gave other effects"
