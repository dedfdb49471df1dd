"""The checker finds what it is there to find: a good history passes, and each forged one breaks the promise that it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checker import CANCEL_WITHIN_S, STOP_WITHIN_S, check
from tests.chaos.evidence import END, FAILED, SAVED, START, STOPPED, SUCCEEDED, Line
from tests.chaos.findings import Promise
from tests.chaos.fires import EPSILON_S, TAKE_OVER_S
from tests.chaos.history import (
    Asked,
    Claim,
    Fault,
    History,
    Interval,
    Node,
    RecordedAttempt,
    RecordedFire,
    RecordedRun,
    RecordedTask,
    ScheduledJob,
    decode,
    encode,
)

WORKER, OTHER = 11, 12


def body(task: str, attempt: int, began: float, ended: float | None, *, note: str = SUCCEEDED, pid: int = WORKER, run: str = "",
         seen: int = -1, saved: tuple[tuple[float, int], ...] = ()) -> list[Line]:  # fmt: skip
    """The lines of one execution; its token is its attempt's number."""
    lines = [Line(START, began, task, attempt, pid, attempt, run, value=seen)]
    lines += [Line(SAVED, at, task, attempt, pid, attempt, run, value=value) for at, value in saved]
    if ended is not None:
        lines.append(Line(END, ended, task, attempt, pid, attempt, run, note))
    return lines


def task(
    task_id: str, *, state: str = "succeeded", attempt: int = 1, run: str = "", key: str = "", output: str = ""
) -> RecordedTask:
    """A row; a task that succeeded has the output of its last attempt's lease."""
    outcome = state if state in {"succeeded", "failed"} else ""
    return RecordedTask(task_id, f"n-{task_id}", state, attempt, "function", outcome, run, key, "w", output or f'"{attempt}"')


def asked(task_id: str, **fields: object) -> Asked:
    """A wish for one task, acknowledged."""
    wish = Asked("task", f"k-{task_id}", 1.0, [f"n-{task_id}"], answers=[[task_id]], answered_at=1.1)
    for name, value in fields.items():
        setattr(wish, name, value)
    return wish


def broken(history: History) -> set[Promise]:
    """Which promises the checker finds broken."""
    return {violation.promise for violation in check(history).violations}


def simple() -> History:
    """One task, submitted, run and recorded."""
    return History(asked=[asked("a")], ended=[task("a")], evidence=body("a", 1, 2, 3))


def retried() -> History:
    """One task whose first attempt was lost with its worker, and whose second succeeded."""
    return History(
        asked=[asked("a")],
        ended=[task("a", attempt=2)],
        attempts=[RecordedAttempt("a", 1, "lost", 9.0)],
        evidence=[*body("a", 1, 2, None), *body("a", 2, 10, 11, pid=OTHER)],
        killed={WORKER: 4.0},
    )


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


# ---- order


def graph(
    child_began: float, *, rule: str = "all_success", parent_state: str = "succeeded", parent_ended: float = 4.0
) -> History:
    """A run of a child after one parent."""
    note = {"succeeded": SUCCEEDED, "failed": FAILED}[parent_state]
    return History(
        runs=[RecordedRun("r", "job", "succeeded")],
        asked=[Asked("run", "k", 1.0, target="job", answers=[["r"]], answered_at=2.0)],
        graphs={"job": {"p": Node(), "c": Node(("p",), rule)}},
        ended=[task("a", run="r", key="p", state=parent_state), task("b", run="r", key="c")],
        evidence=[*body("a", 1, 2, parent_ended, note=note, run="r"), *body("b", 1, child_began, child_began + 1, run="r")],
    )


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


# ---- schedules


def ticking(policy: str = "allow", *, late: float = 0.1, lasting: float = 0.2) -> History:
    """A job that fired at 11, 12 and 13, each run's body beginning so late and lasting so long."""
    history = History(schedules=[ScheduledJob("j", policy, Interval(10.1, 10.4), Interval(13.6, 13.8))])
    for due in (11, 12, 13):
        run_id, task_id = f"r{due}", f"t{due}"
        history.fires.append(RecordedFire("j", due, run_id))
        history.runs.append(RecordedRun(run_id, "j", "succeeded", due))
        history.ended.append(task(task_id, run=run_id, key="tick"))
        history.evidence += body(task_id, 1, due + late, due + late + lasting, run=run_id)
    return history


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


def test_a_fault_explains_no_more_than_the_take_over() -> None:
    history = ticking(late=TAKE_OVER_S + EPSILON_S + 2)
    history.faults = [Fault("kill the leader", "", 11.5, 12.0)]
    assert broken(history) == {Promise.LATE}


@pytest.mark.parametrize("policy", ["forbid", "queue"])
def test_runs_of_a_job_that_wants_one_at_a_time_must_not_overlap(policy: str) -> None:
    assert not broken(ticking(policy))
    assert broken(ticking(policy, lasting=1.2)) == {Promise.ORDER}


# ---- executors


def claimed(*claims: Claim, worker: str = "e1") -> History:
    """A job for executors, recorded as completed by one."""
    row = RecordedTask("a", "n-a", "succeeded", 1, "binary", "succeeded", worker=worker)
    return History(asked=[asked("a", kind="queue")], ended=[row], claims=list(claims))


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
