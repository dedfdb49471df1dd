"""The checker finds due times that were missed, doubled, invented, skipped in vain or late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import check
from tests.chaos.findings import Promise
from tests.chaos.fires import EPSILON_S, TAKE_OVER_S
from tests.chaos.forgery import broken, ticking
from tests.chaos.history import Fault, RecordedFire, RecordedRun


def test_a_schedule_that_was_kept_passes() -> None:
    assert not broken(ticking())
    assert check(ticking()).lateness.calm == pytest.approx([0.1, 0.1, 0.1])


def test_a_missed_due_time_is_found() -> None:
    history = ticking()
    del history.fires[1], history.runs[1], history.ended[1]
    history.evidence = [line for line in history.evidence if line.run != "r12"]
    assert broken(history) == {Promise.FIRE}


def test_a_due_time_recorded_twice_is_found() -> None:
    history = ticking()
    history.fires.append(history.fires[0])
    assert broken(history) == {Promise.FIRE}


def test_a_due_time_with_two_runs_is_found() -> None:
    history = ticking()
    history.runs.append(RecordedRun("again", "j", "succeeded", 12))
    assert broken(history) == {Promise.FIRE}


def test_a_fire_that_nothing_was_due_for_is_found() -> None:
    for due in (9.0, 12.5, 14.0):
        history = ticking()
        history.fires[2] = replace(history.fires[2], due_at=due)
        history.runs[2] = replace(history.runs[2], due_at=due)
        assert Promise.FIRE in broken(history)


def test_a_fire_whose_run_no_body_ran_for_is_found() -> None:
    history = ticking()
    history.evidence = [line for line in history.evidence if line.run != "r12"]
    assert Promise.FIRE in broken(history)


def test_a_skip_needs_a_reason_that_the_policy_knows() -> None:
    def skipping(policy: str, reason: str) -> set[Promise]:
        history = ticking(policy)
        history.fires[1] = RecordedFire("j", 12, "", reason)
        del history.runs[1], history.ended[1]
        history.evidence = [line for line in history.evidence if line.run != "r12"]
        return broken(history)

    assert not skipping("forbid", "another run goes on")
    assert skipping("allow", "another run goes on") == {Promise.FIRE}
    assert skipping("forbid", "misfire") == {Promise.FIRE}


def test_a_skip_while_no_run_goes_on_is_found() -> None:
    history = ticking("forbid")
    del history.runs[:2], history.ended[:2]
    history.fires[:2] = [RecordedFire("j", due, "", "another run goes on") for due in (11, 12)]
    history.evidence = [line for line in history.evidence if line.run == "r13"]
    assert broken(history) == {Promise.FIRE}
    history.faults = [Fault("kill the leader", "", 10.0, 11.0)]
    assert not broken(history)


def test_a_late_fire_is_found_unless_a_fault_explains_it() -> None:
    history = ticking(late=EPSILON_S + 0.1)
    assert broken(history) == {Promise.LATE}
    assert not check(history, strict_lateness=False).violations
    history.faults = [Fault("kill the leader", "", 11.5, 12.0)]
    assert not broken(history)
    assert not check(history).lateness.calm


@pytest.mark.parametrize("fault", [("kill a follower", "scheduler-1"), ("kill Redis", "redis"), ("cut links", "gateway-1 to 2")])
def test_a_fault_that_no_schedule_may_feel_explains_nothing(fault: tuple[str, str]) -> None:
    history = ticking(late=EPSILON_S + 0.1)
    history.faults = [Fault(*fault, 11.0, 13.0)]
    assert broken(history) == {Promise.LATE}


def test_a_fault_explains_no_more_than_the_take_over() -> None:
    history = ticking(late=TAKE_OVER_S + EPSILON_S + 2)
    history.faults = [Fault("kill the leader", "", 11.5, 12.0)]
    assert broken(history) == {Promise.LATE}


@pytest.mark.parametrize("policy", ["forbid", "queue"])
def test_runs_of_a_job_that_wants_one_at_a_time_must_not_overlap(policy: str) -> None:
    assert not broken(ticking(policy))
    assert broken(ticking(policy, lasting=1.2)) == {Promise.ORDER}
