"""The checker finds tasks that began too early, and jobs of executors that had two at once."""

from __future__ import annotations

import pytest

from tests.chaos.findings import Promise
from tests.chaos.forgery import asked, body, broken, claimed, graph, task
from tests.chaos.history import Claim, History


@pytest.mark.parametrize(
    ("rule", "state", "allowed"),
    [
        ("all_success", "succeeded", True),
        ("all_success", "failed", False),
        ("all_done", "failed", True),
        ("one_success", "succeeded", True),
        ("one_success", "failed", False),
        ("one_failed", "failed", True),
        ("one_failed", "succeeded", False),
        ("none_failed", "succeeded", True),
        ("none_failed", "failed", False),
        ("always", "failed", True),
    ],
)
def test_a_task_begins_only_if_its_rule_allows_it(rule: str, state: str, allowed: bool) -> None:
    assert broken(graph(4.0, rule=rule, parent_state=state)) == (set() if allowed else {Promise.ORDER})


@pytest.mark.parametrize("rule", ["all_success", "all_done", "one_success", "none_failed"])
def test_a_task_that_begins_before_its_parent_ended_is_found(rule: str) -> None:
    assert broken(graph(3.9, rule=rule)) == {Promise.ORDER}


def test_the_order_of_tasks_on_their_own_is_looked_at_too() -> None:
    history = History(
        asked=[asked("a"), asked("b", parents=["a"])],
        ended=[task("a"), task("b")],
        evidence=[*body("a", 1, 2, 4), *body("b", 1, 3, 5)],
    )
    assert broken(history) == {Promise.ORDER}


# ---- executors


def test_a_job_that_was_claimed_again_after_the_lease_passes() -> None:
    silent = Claim("a", "e2", 2.0, renewed=(3.0,))
    assert not broken(claimed(silent, Claim("a", "e1", 8.1, completing_at=9.0, completed_at=9.1)))


def test_a_job_given_to_two_executors_within_the_lease_is_found() -> None:
    holder = Claim("a", "e2", 2.0, renewed=(3.0,))
    assert broken(claimed(holder, Claim("a", "e1", 7.9, completing_at=9.0, completed_at=9.1))) == {Promise.HOLDER}


def test_two_executors_that_both_completed_a_job_are_found() -> None:
    first = Claim("a", "e2", 2.0, completing_at=3.0, completed_at=3.1)
    assert Promise.TWICE in broken(claimed(first, Claim("a", "e1", 8.1, completing_at=9.0, completed_at=9.1)))


def test_a_completion_recorded_as_somebody_elses_is_found() -> None:
    assert broken(claimed(Claim("a", "e2", 2.0, completing_at=3.0, completed_at=3.1))) == {Promise.RECORD}


def test_a_completion_that_nobody_asked_for_is_found() -> None:
    assert broken(claimed(Claim("a", "e1", 2.0))) == {Promise.RECORD}
