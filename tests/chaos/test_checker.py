"""The checker finds what it is there to find: a good history passes, and each forged one breaks the promise that it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import CANCEL_WITHIN_S, STOP_WITHIN_S
from tests.chaos.evidence import FAILED, STOPPED, SUCCEEDED
from tests.chaos.findings import Promise
from tests.chaos.forgery import OTHER, WORKER, asked, body, broken, graph, retried, simple, task, ticking
from tests.chaos.history import Asked, History, Interval, RecordedAttempt, RecordedRun, decode, encode


def test_good_histories_pass() -> None:
    assert not broken(History())
    assert not broken(simple())
    assert not broken(retried())


def test_a_history_can_be_kept_and_judged_again() -> None:
    for history in (retried(), ticking(), graph(4.0)):
        assert decode(encode(history)) == history


# ---- what was acknowledged


def test_an_acknowledged_task_that_is_not_there_is_lost() -> None:
    history = simple()
    history.ended.clear()
    history.evidence.clear()
    assert broken(history) == {Promise.LOST}


def test_a_task_that_never_ends_is_lost() -> None:
    history = simple()
    history.live, history.ended = [task("a", state="running")], []
    assert broken(history) == {Promise.LOST}


def test_an_acknowledged_run_that_is_not_there_is_lost() -> None:
    assert broken(History(asked=[Asked("run", "k", 1.0, target="job", answers=[["r"]], answered_at=2.0)])) == {Promise.LOST}


def test_a_run_that_never_ends_is_lost() -> None:
    assert broken(History(runs=[RecordedRun("r", "job", "running")])) == {Promise.LOST}


def test_clients_that_are_not_answered_any_more_are_found() -> None:
    assert broken(History(stuck=True)) == {Promise.LOST}


@pytest.mark.parametrize("kind", ["task", "run", "read"])
def test_a_refusal_of_what_makes_sense_is_found(kind: str) -> None:
    assert broken(History(asked=[Asked(kind, "k", 1.0, failures=["NOT_FOUND"], refused=True)])) == {Promise.LOST}


def test_a_cancellation_may_come_too_late_but_not_miss_its_task() -> None:
    too_late = Asked("cancel", "", 1.0, target="a", failures=["FAILED_PRECONDITION"], refused=True)
    assert not broken(History(asked=[too_late]))
    unknown = Asked("cancel", "", 1.0, target="a", failures=["NOT_FOUND"], refused=True)
    assert broken(History(asked=[unknown])) == {Promise.LOST}


def test_what_was_never_acknowledged_may_be_missing() -> None:
    assert not broken(History(asked=[asked("a", answers=[], answered_at=0.0)]))


def test_a_task_that_ends_otherwise_than_it_must_is_found() -> None:
    history = simple()
    history.ended = [task("a", state="failed")]
    history.evidence = body("a", 1, 2, 3, note=FAILED)
    assert broken(history) == {Promise.RECORD}


# ---- one effect


def test_a_repeated_call_with_another_answer_is_found() -> None:
    history = simple()
    history.asked = [asked("a", answers=[["a"], ["b"]])]
    assert broken(history) == {Promise.EFFECT}


def test_a_wish_that_made_two_tasks_is_found_even_if_it_was_never_acknowledged() -> None:
    twin = replace(task("b"), name="n-a")
    history = History(
        asked=[asked("a", answers=[], answered_at=0.0)],
        ended=[task("a"), twin],
        evidence=[*body("a", 1, 2, 3), *body("b", 1, 2, 3)],
    )
    assert broken(history) == {Promise.EFFECT}


def test_more_runs_than_were_asked_for_are_found() -> None:
    wish = Asked("run", "k", 1.0, target="job", answers=[["r"]], answered_at=2.0)
    runs = [RecordedRun("r", "job", "succeeded"), RecordedRun("s", "job", "succeeded")]
    assert broken(History(asked=[wish], runs=runs, graphs={"job": {}})) == {Promise.EFFECT}


# ---- attempts and their records


@pytest.mark.parametrize("numbers", [[1, 1], [], [2], [1, 2, 3]])
def test_attempts_recorded_twice_or_not_at_all_are_found(numbers: list[int]) -> None:
    history = retried()
    history.attempts = [RecordedAttempt("a", number, "lost", 9.0) for number in numbers]
    assert broken(history) == {Promise.TWICE}


def test_a_task_recorded_as_ended_twice_is_found() -> None:
    history = simple()
    history.ended *= 2
    assert broken(history) == {Promise.TWICE}


def test_a_task_that_is_both_live_and_ended_is_found() -> None:
    history = simple()
    history.live = [task("a", state="ready")]
    assert Promise.TWICE in broken(history)


def test_a_success_that_no_body_had_is_found() -> None:
    history = simple()
    history.evidence = body("a", 1, 2, None)
    history.killed = {WORKER: 2.5}
    assert broken(history) == {Promise.RECORD}


def test_a_success_of_another_lease_is_found() -> None:
    history = retried()
    history.ended = [task("a", attempt=2, output='"1"')]
    assert broken(history) == {Promise.RECORD}


def test_a_failure_that_no_body_had_is_found() -> None:
    history = retried()
    history.attempts = [RecordedAttempt("a", 1, "failed", 9.0)]
    assert broken(history) == {Promise.RECORD}


def test_a_result_that_a_living_worker_had_must_not_be_lost() -> None:
    history = retried()
    history.evidence = [*body("a", 1, 2, 3), *body("a", 2, 10, 11, pid=OTHER)]
    history.killed = {}
    assert broken(history) == {Promise.RECORD}


@pytest.mark.parametrize("trouble", ["killed", "stopped", "unlinked"])
def test_a_worker_that_died_or_stood_still_or_was_cut_off_may_lose_a_result(trouble: str) -> None:
    history = retried()
    history.evidence = [*body("a", 1, 2, 3), *body("a", 2, 10, 11, pid=OTHER)]
    history.killed = {}
    setattr(history, trouble, {WORKER: 4.0 if trouble == "killed" else [Interval(4.0, 6.0)]})
    assert not broken(history)


def test_a_task_that_ran_and_is_not_there_is_found() -> None:
    assert broken(History(evidence=body("a", 1, 2, 3))) == {Promise.RECORD}


def test_an_attempt_that_ran_and_is_not_recorded_is_found() -> None:
    history = simple()
    history.evidence += body("a", 2, 5, 6)
    assert broken(history) == {Promise.RECORD}


# ---- holders


def test_one_attempt_started_twice_is_found() -> None:
    history = simple()
    history.evidence += body("a", 1, 4, 5, pid=OTHER)
    assert broken(history) == {Promise.HOLDER}


def test_two_bodies_of_one_task_at_once_are_found() -> None:
    history = retried()
    history.evidence = [*body("a", 1, 2, 10.5, note=STOPPED), *body("a", 2, 10, 11, pid=OTHER)]
    history.killed = {}
    assert broken(history) == {Promise.HOLDER}


def test_a_body_that_never_says_that_it_ended_holds_its_task_while_its_worker_lives() -> None:
    history = retried()
    history.killed = {}
    assert broken(history) == {Promise.HOLDER}


def test_being_cut_off_is_no_excuse_for_going_on() -> None:
    history = retried()
    history.evidence = [*body("a", 1, 2, 10.5, note=STOPPED), *body("a", 2, 10, 11, pid=OTHER)]
    history.killed, history.unlinked = {}, {WORKER: [Interval(3.0, 12.0)]}
    assert broken(history) == {Promise.HOLDER}


def test_a_worker_that_stood_still_may_overlap_until_it_has_noticed() -> None:
    history = retried()
    history.killed, history.stopped = {}, {WORKER: [Interval(3.0, 12.0)]}
    history.evidence = [*body("a", 1, 2, 12.0 + STOP_WITHIN_S, note=STOPPED), *body("a", 2, 10, 11, pid=OTHER)]
    assert not broken(history)
    history.evidence = [*body("a", 1, 2, 12.1 + STOP_WITHIN_S, note=STOPPED), *body("a", 2, 10, 11, pid=OTHER)]
    assert broken(history) == {Promise.HOLDER}


def test_an_end_without_a_start_is_found() -> None:
    history = simple()
    history.evidence = history.evidence[1:]
    assert Promise.HOLDER in broken(history)


# ---- checkpoints and cancellations


def test_an_attempt_without_the_checkpoint_that_was_confirmed_is_found() -> None:
    history = retried()
    history.evidence = [*body("a", 1, 2, None, saved=((2.5, 0), (3.0, 1))), *body("a", 2, 10, 11, pid=OTHER, seen=1)]
    assert not broken(history)
    history.evidence = [*body("a", 1, 2, None, saved=((2.5, 0), (3.0, 1))), *body("a", 2, 10, 11, pid=OTHER, seen=0)]
    assert broken(history) == {Promise.CHECKPOINT}


def cancelled(state: str, *, began: float) -> History:
    """A task that was cancelled at 3.0."""
    cancel = Asked("cancel", "", 2.9, target="a", answers=[["a"]], answered_at=3.0)
    ended = None if state == "cancelled" else began + 1
    return History(
        asked=[asked("a"), cancel],
        ended=[task("a", state=state)],
        evidence=body("a", 1, began, ended or began + 1, note=STOPPED if ended is None else SUCCEEDED),
    )


def test_a_cancelled_task_stays_cancelled() -> None:
    assert not broken(cancelled("cancelled", began=2.0))
    assert broken(cancelled("succeeded", began=2.0)) == {Promise.CANCELLED}


def test_a_cancelled_task_does_not_start_long_afterwards() -> None:
    assert broken(cancelled("cancelled", began=3.1 + CANCEL_WITHIN_S)) == {Promise.CANCELLED}
