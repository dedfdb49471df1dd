"""The engine under everything at once: random stories in which the promises of the scheduler must hold after every step.

A story is made by its seed. `CORE_STORIES=5000` tells more of them than usual, `CORE_SEED=123` starts with another one; a
failure names its seed, and `CORE_STORIES=1 CORE_SEED=<seed>` repeats exactly it.
"""

from __future__ import annotations

import os

import pytest

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


def tell(seed: int) -> None:
    """Tell a story to its end, then once more."""
    sim = Simulation(seed)
    sim.run(STEPS)
    sim.check_committed()
    sim.settle_down()
    assert replay(sim) == sim.decisions, "the same commands gave other effects"
