"""What must be true at the end of a story, judged by what the bodies wrote down and by what the database holds."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from foliot_scheduler.core.model import Outcome, TriggerRule
from foliot_scheduler.core.transitions import TaskState

if TYPE_CHECKING:
    from foliot_scheduler.core.types import TaskId
    from tests.simulation.cluster import Evidence, Worker
    from tests.simulation.story import Story


def check(story: Story) -> None:
    """Raise AssertionError for a promise that was broken."""
    failure = story.failure()
    assert failure is None, f"a process failed: {failure!r}"
    journal = story.database.journal
    assert not journal.live, f"{len(journal.live)} tasks never ended"
    assert not journal.runs, "a run never ended"
    assert not journal.batches, "a lease never ended"
    _check_promises(story)
    by_task: defaultdict[TaskId, list[Evidence]] = defaultdict(list)
    for one in story.evidence:
        by_task[one.task_id].append(one)
    _check_records(story, by_task)
    _check_holders(story, by_task)
    _check_order(story, by_task)
    _check_fires(story)
    if story.gentle:
        _check_nothing_is_run_again(story)


def _check_promises(story: Story) -> None:
    """What was acknowledged is there, and what was cancelled stays so."""
    history = story.database.journal.history
    for client in story.clients:
        for task_id in client.promises.tasks:
            assert task_id in history, "an acknowledged task is lost"
        for task_id in client.promises.cancelled:
            assert history[task_id].state is TaskState.CANCELLED, "a cancelled task came back"
        for run_id in client.promises.runs:
            assert run_id in story.database.journal.runs_ended, "an acknowledged run is lost"


def _check_records(story: Story, by_task: dict[TaskId, list[Evidence]]) -> None:
    """A recorded success is one that a body wrote down, of that very attempt and lease."""
    for task_id, row in story.database.journal.history.items():
        if row.state is not TaskState.SUCCEEDED or row.plan.placement.function != "f":
            continue
        told = {(one.attempt, one.token) for one in by_task[task_id] if one.what == "end:OUTCOME_SUCCEEDED"}
        assert row.outcome is Outcome.SUCCEEDED
        assert (row.attempt, int.from_bytes(row.output, "big")) in told, "a success is recorded that nobody had"
    attempts = {(one.task_id, one.attempt): one.token for one in story.evidence if one.what == "start"}
    for one in story.evidence:
        assert attempts.get((one.task_id, one.attempt)) == one.token or one.what != "start", "one attempt has two leases"


def _check_holders(story: Story, by_task: dict[TaskId, list[Evidence]]) -> None:
    """No attempt starts while another of the same task goes on, unless the other's process was stopped and could not know."""
    workers = {worker.process.name: worker for worker in story.past_workers}
    for told in by_task.values():
        ends = {one.token: one.at for one in told if one.what.startswith("end")}
        starts = sorted((one for one in told if one.what == "start"), key=lambda one: (one.at, one.token))
        for earlier, later in pairwise(starts):
            ended_at = ends.get(earlier.token, float("inf"))
            if ended_at <= later.at or _gone(story, workers[earlier.worker], earlier, later.at):
                continue
            if story.database.journal.history[earlier.task_id].state is TaskState.CANCELLED:
                continue
            raise AssertionError(f"two hold one task: {earlier} and {later}")


def _gone(story: Story, worker: Worker, earlier: Evidence, at: float) -> bool:
    """Whether a worker had died, or was stopped at some time since it began."""
    return not worker.process.alive or any(began <= at and ended >= earlier.at for began, ended in worker.stops)


def _check_order(story: Story, by_task: dict[TaskId, list[Evidence]]) -> None:
    """No task starts before all that it waits for have succeeded, where its rule wants that."""
    history = story.database.journal.history
    for task_id, row in history.items():
        if row.trigger_rule is not TriggerRule.ALL_SUCCESS or not row.depends_on:
            continue
        starts = [one.at for one in by_task[task_id] if one.what == "start"]
        for parent in row.depends_on if starts else ():
            ends = [one.at for one in by_task[parent] if one.what == "end:OUTCOME_SUCCEEDED"]
            assert ends, "a task started although one that it waits for never succeeded"
            assert min(ends) <= min(starts), "a task started before one that it waits for had ended"


def _check_fires(story: Story) -> None:
    """Each run of a schedule has its due time's record, and each record of a run its run."""
    journal = story.database.journal
    by_run = {fire.run_id for fire in journal.fires.values() if fire.run_id is not None}
    scheduled = {run_id for run_id, run in journal.runs_ended.items() if run.due_at is not None}
    assert by_run == scheduled, "a due time and its run do not match"


def _check_nothing_is_run_again(story: Story) -> None:
    """Where streams break and nothing else happens, workers keep what they run, and send unconfirmed results again."""
    started = {(one.task_id, one.attempt) for one in story.evidence if one.what == "start"}
    lost = {key for key, attempt in story.database.journal.attempts.items() if attempt.outcome is Outcome.LOST}
    assert not lost & started, "an attempt is recorded as lost whose worker was there all the time"
