"""What must be true at the end of a story, judged by what the bodies wrote down, what clients were told, and the rows."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from foliot.kit.ids import parse_uuid
from foliot.v1 import spec_pb2
from foliot_scheduler.core.model import Outcome
from foliot_scheduler.core.retry import backoff
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import TaskId
from foliot_scheduler.specs.enums import TRIGGER_RULES
from tests.simulation import books, check_fires, check_order
from tests.simulation.virtual import START_US

if TYPE_CHECKING:
    from foliot.v1 import task_pb2
    from tests.simulation.bodies import Evidence
    from tests.simulation.cluster import Worker
    from tests.simulation.story import Story
    from tests.unit.core.fake_journal import TaskRow

ByTask = defaultdict[TaskId, list["Evidence"]]

STOPS_WITHIN_S = 8.0
"""How long after a cancellation that was answered a worker that is cut off may begin the task: the life of a lease, what a
deposed leader may add to it, and a second."""

BADLY = frozenset({Outcome.FAILED, Outcome.TIMED_OUT, Outcome.NON_RETRYABLE})


def check(story: Story) -> None:
    """Raise AssertionError for a promise that was broken."""
    failure = story.failure()
    assert failure is None, f"a process failed: {failure!r}"
    journal = story.database.journal
    assert not journal.live, f"{len(journal.live)} tasks never ended"
    assert not journal.runs, "a run never ended"
    assert not journal.batches, "a lease never ended"
    assert not any(journal.notes.values()), "dependents were never asked again"
    by_task: ByTask = defaultdict(list)
    for one in story.evidence:
        by_task[one.task_id].append(one)
    _check_promises(story, by_task)
    _check_orders(story)
    _check_records(story, by_task)
    _check_attempts(story, by_task)
    _check_waits(story, by_task)
    _check_holders(story, by_task)
    _check_limits(story, by_task)
    _check_checkpoints(by_task)
    check_order.check(story, by_task)
    check_fires.check(story)
    if story.plan.gentle:
        _check_nothing_is_run_again(story)
    _check_nothing_is_left(story)
    books.check_counts(story)


def _check_promises(story: Story, by_task: ByTask) -> None:
    """What was acknowledged is there, once, and what was cancelled stays so."""
    ledger, journal = story.ledger, story.database.journal
    history = journal.history
    for task_id in ledger.tasks:
        assert task_id in history or task_id in ledger.deletes_asked, "an acknowledged task is lost"
    for task_id in ledger.deletes_told:
        assert task_id not in history, "a deleted task came back"
    for task_id, told_at in ledger.cancels_told.items():
        if task_id in ledger.retries_asked or task_id in ledger.deletes_asked:
            continue
        assert history[task_id].state is TaskState.CANCELLED, "a cancelled task came back"
        for one in by_task[task_id]:
            began_late = one.what == "start" and one.at > told_at + STOPS_WITHIN_S
            assert not began_late or _was_stopped(story, one, told_at), f"a cancelled task was begun: {one}"
    for task_id, state in ledger.ended.items():
        if task_id not in ledger.retries_asked and task_id not in ledger.deletes_asked:
            assert history[task_id].state == state or state == "failed", f"a {state} task became {history[task_id].state}"
    for run_id in ledger.runs:
        assert run_id in journal.runs_ended, "an acknowledged run is lost"
    names: set[str] = set()
    for row in history.values():
        if row.run_id is None:
            assert row.plan.name not in names, f"the task {row.plan.name} was created twice"
            assert row.plan.name not in ledger.refused, f"the task {row.plan.name} was refused and is there"
            names.add(row.plan.name)


def _check_orders(story: Story) -> None:
    """What is stored of a task is what somebody asked for."""
    for task_id, row in story.database.journal.history.items():
        if row.run_id is not None:
            continue
        order: task_pb2.NewTask = story.ledger.orders[row.plan.name]
        assert set(row.depends_on) == {parse_uuid(text) for text in order.dependencies}, "a task has other dependencies"
        if order.trigger_rule:
            assert row.trigger_rule is TRIGGER_RULES[order.trigger_rule], "a task has another trigger rule"
        if task_id not in story.ledger.updates_asked:
            assert row.plan.priority == order.spec.priority, "a task has another priority"
        assert row.plan.retry.max_attempts == order.spec.retry.max_attempts, "a task has another retry policy"
        assert len(row.plan.limits) == len(order.spec.limits), "a task has other limits"


def _check_records(story: Story, by_task: ByTask) -> None:
    """A recorded end is one that a body wrote down, of that very attempt, and a success of that very lease too."""
    for task_id, row in story.database.journal.history.items():
        if row.state is TaskState.SUCCEEDED:
            told = {(one.attempt, one.token) for one in by_task[task_id] if one.what == "end:OUTCOME_SUCCEEDED"}
            assert row.outcome is Outcome.SUCCEEDED
            assert (row.attempt, int.from_bytes(row.output, "big")) in told, "a success is recorded that nobody had"
    leases: dict[tuple[TaskId, int], int] = {}
    for one in story.evidence:
        if one.what == "start":
            assert leases.setdefault((one.task_id, one.attempt), one.token) == one.token, "one attempt has two leases"
    starts = [(one.task_id, one.attempt) for one in story.evidence if one.what == "start"]
    assert len(starts) == len(set(starts)), "one attempt was begun twice"


class _Ended(NamedTuple):
    attempt: int
    outcome: Outcome


def _outcomes(story: Story, task_id: TaskId, row: TaskRow) -> list[_Ended]:
    """How each attempt of a task is recorded to have ended, and a check that each is recorded once."""
    attempts = story.database.journal.attempts
    found = [
        _Ended(number, attempts[task_id, number].outcome) for number in range(1, row.attempt + 1) if (task_id, number) in attempts
    ]
    if row.outcome is not None:
        found.append(_Ended(row.attempt, row.outcome))
    numbers = [one.attempt for one in found]
    assert numbers == list(range(1, row.attempt + 1)), f"of {row.attempt} attempts {numbers} are recorded"
    return found


def _check_attempts(story: Story, by_task: ByTask) -> None:
    """Each attempt is recorded once, as its body wrote it down, and there are no more than the policy allows."""
    for task_id, row in story.database.journal.history.items():
        told = {one.attempt: one for one in by_task[task_id] if one.what.startswith("end:OUTCOME_")}  # not: fell asleep
        asked = {one.attempt: one.at for one in by_task[task_id] if one.what == "asked to stop"}
        began = {one.attempt: one.at for one in by_task[task_id] if one.what == "start"}
        outcomes = _outcomes(story, task_id, row)
        for number, outcome in outcomes:
            if outcome in {Outcome.FAILED, Outcome.NON_RETRYABLE}:
                name = f"end:OUTCOME_{outcome.name}"
                assert number in told, f"attempt {number} is recorded as {outcome}, and nobody ended it"
                assert told[number].what == name, f"attempt {number} is recorded as {outcome}, and ended with {told[number].what}"
            elif outcome is Outcome.TIMED_OUT and number in began:  # else the answer of a claim was lost
                ran_s = asked.get(number, told[number].at if number in told else float("inf")) - began[number]
                assert ran_s > row.plan.timeout / 1e6 - 0.001, f"an attempt was timed out after {ran_s} s"
        bad = sum(one.outcome in BADLY for one in outcomes)
        most = row.plan.retry.max_attempts * (1 + story.ledger.retries_asked[task_id])
        assert bad <= most, f"{bad} attempts of {most} failed"
        if not story.ledger.retries_asked[task_id] and row.state is TaskState.FAILED and row.outcome in row.plan.retry.retry_on:
            assert bad == row.plan.retry.max_attempts, f"given up after {bad} attempts of {row.plan.retry.max_attempts}"


def _check_waits(story: Story, by_task: ByTask) -> None:
    """No attempt begins before the task's start time, or before the wait after a failed one is over."""
    attempts = story.database.journal.attempts
    for task_id, told in by_task.items():
        row = story.database.journal.history.get(task_id)
        if row is None:
            continue
        began = {one.attempt: one.at for one in told if one.what == "start"}
        over = [one for one in told if one.what.startswith("end:") or one.what == "asked to stop"]
        ended = {one.attempt: one.at for one in reversed(over)}
        if row.plan.start_at is not None and began:
            assert min(began.values()) >= (row.plan.start_at - START_US) / 1e6 - 0.001, "a task was begun before its start time"
        failed = 0
        for number in range(1, row.attempt):
            record = attempts.get((task_id, number))
            failed += record is not None and record.outcome in BADLY
            if record is None or record.outcome not in BADLY or number + 1 not in began or number not in ended:
                continue
            if not story.ledger.retries_asked[task_id]:
                least_s = backoff(row.plan.retry, failed, lambda: 1.0) / 1e6
                waited_s = began[number + 1] - ended[number]
                assert waited_s > least_s - 0.001, f"an attempt began {waited_s} s after a failed one, not {least_s}"


def _check_holders(story: Story, by_task: ByTask) -> None:
    """No attempt starts while another of the same task goes on, unless the other could not know, or was asked to stop."""
    for told in by_task.values():
        ends: dict[int, float] = {}
        for one in told:
            if one.what.startswith("end") or (one.what == "asked to stop" and _is_stubborn(story, one)):
                ends.setdefault(one.token, one.at)
        starts = sorted((one for one in told if one.what == "start"), key=lambda one: (one.at, one.token))
        for earlier, later in pairwise(starts):
            ended_at = min(ends.get(earlier.token, float("inf")), _left_at(story, earlier))
            if ended_at <= later.at or _was_cancelled(story, earlier.task_id):
                continue
            raise AssertionError(f"two hold one task: {earlier} and {later}")


def _check_limits(story: Story, by_task: ByTask) -> None:
    """No more tasks than a key allows are held at once by those who could know that they must not."""
    changes: defaultdict[str, list[tuple[float, int, str]]] = defaultdict(list)
    bounds: dict[str, int] = {}
    for task_id, told in by_task.items():
        row = story.database.journal.history.get(task_id)
        if row is None or not row.plan.limits or _was_cancelled(story, task_id):
            continue
        ends: dict[int, float] = {}
        for one in told:
            if one.what.startswith("end") or one.what == "asked to stop":
                ends.setdefault(one.token, one.at)
        for one in told:
            if one.what == "start":
                until = min(ends.get(one.token, float("inf")), _left_at(story, one))
                for limit in row.plan.limits:
                    bounds[limit.key] = limit.max_running
                    changes[limit.key] += [(one.at, 1, one.worker), (until, -1, one.worker)]
    for key, steps in changes.items():
        held = 0
        for at, step, worker in sorted(steps):
            held += step
            assert held <= bounds[key], f"{held} hold {key!r} at {at} s, the last of them {worker}"


def _check_checkpoints(by_task: ByTask) -> None:
    """An attempt begins with the latest progress that an earlier one was told to be saved."""
    for told in by_task.values():
        saved = ""
        for one in told:
            if one.what == "saved" and (not saved or json.loads(one.checkpoint) > json.loads(saved)):
                saved = one.checkpoint
            elif one.what == "start" and saved and one.attempt > json.loads(saved)[0]:
                assert one.checkpoint, f"progress {saved} was lost"
                assert json.loads(one.checkpoint) >= json.loads(saved), f"progress {saved} was lost: {one}"


def _check_nothing_is_run_again(story: Story) -> None:
    """Where streams break and nothing else happens, workers keep what they run, and send unconfirmed results again."""
    executors = {executor.name for executor in story.executors}
    started = {(one.task_id, one.attempt) for one in story.evidence if one.what == "start" and one.worker not in executors}
    lost = {key for key, attempt in story.database.journal.attempts.items() if attempt.outcome is Outcome.LOST}
    assert not lost & started, "an attempt is recorded as lost whose worker was there all the time"


def _check_nothing_is_left(story: Story) -> None:
    """Nothing is left in memory of what has ended, and the leader has what a new one would have."""
    assert books.compare_with_recovery(story), "nobody leads at the end"
    leader = story.leader()
    assert leader is not None
    assert leader.engine is not None
    state = leader.engine.state
    left = (len(state.tasks), len(state.runs), len(state.leases), len(state.batches), state.ready.count, len(state.gates._gates))
    assert not any(left), f"the leader still holds tasks, runs, leases, batches, ready tasks, limits: {left}"
    for worker in story.workers.values():
        assert not worker.held, f"{worker.process.name} still holds leases"


def _was_cancelled(story: Story, task_id: TaskId) -> bool:
    """Whether the end of an attempt may have been a wish: then it goes on for a moment while another may begin."""
    row = story.database.journal.history.get(task_id)
    return row is None or row.state is TaskState.CANCELLED or task_id in story.ledger.retries_asked


def _is_stubborn(story: Story, one: Evidence) -> bool:
    row = story.database.journal.history.get(one.task_id)
    return row is not None and spec_pb2.TaskSpec.FromString(row.plan.spec).function.input_json == '"stubborn"'


def _worker_of(story: Story, one: Evidence) -> Worker | None:
    return next((worker for worker in story.past_workers if worker.process.name == one.worker), None)


def _left_at(story: Story, one: Evidence) -> float:
    """When the process of an attempt died or was stopped, so that it could not know any more: from then on nobody counts it."""
    worker = _worker_of(story, one)
    if worker is None:
        return float("inf")
    stops = [max(began, one.at) for began, ended in worker.stops if ended >= one.at]
    return min([worker.died_at, *stops])


def _was_stopped(story: Story, one: Evidence, since: float) -> bool:
    worker = _worker_of(story, one)
    return worker is not None and any(began <= one.at and ended >= since for began, ended in worker.stops)
