"""A story is cut down to what breaks it, and no further."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.simulation.plan import Plan
from tests.simulation.shrink import shrink
from tests.simulation.telling import Told
from tests.simulation.witness import Witness, read_witness

PLAN = Plan(7, 600.0)


def does(plan: Plan, actor: str, number: int) -> bool:
    return number in plan.spelled_out()[actor]


def tell_all(plans: Iterable[Plan]) -> Iterator[Told]:
    """As if two workers, one fault and two wishes were to blame, and something else happened without any fault."""
    for plan in plans:
        if not plan.spelled_out()["nemesis"]:
            yield Told(plan, None, promise="another")
        elif does(plan, "nemesis", 3) and does(plan, "client0", 1) and does(plan, "client2", 6) and plan.workers >= 2:
            yield Told(plan, None, promise="this one")
        else:
            yield Told(plan, None)


def test_only_what_breaks_the_promise_is_left() -> None:
    plan, _ = shrink(PLAN, "this one", tell_all)
    assert plan.deeds == {"nemesis": (3,), "client0": (1,), "client1": (), "client2": (6,)}
    assert (plan.replicas, plan.workers) == (1, 2)
    assert plan.seconds < 150.0


def test_another_promise_is_not_taken_for_it() -> None:
    plan, _ = shrink(Plan(7, 600.0, deeds={"nemesis": ()}), "another", tell_all)
    assert not any(plan.deeds.values())
    assert plan.workers == 1


def test_a_deed_that_is_left_out_changes_no_other() -> None:
    whole = list(PLAN.turns("client1"))
    without = list(Plan(7, 600.0, deeds={"client1": (0, 5)}).turns("client1"))
    assert [(at, dice.fraction()) for at, dice in without] == [(at, dice.fraction()) for at, dice in (whole[0], whole[5])]


def test_a_kept_story_is_read_as_it_was_written(tmp_path: Path) -> None:
    witness = Witness(Plan(7, 30.0, workers=1, deeds={"nemesis": (3,), "client0": ()}), "nothing is lost", "fence")
    path = tmp_path / "story.json"
    path.write_text(witness.as_text())
    assert read_witness(path) == witness
