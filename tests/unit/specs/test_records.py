"""Stored rows become the core's objects again."""

from __future__ import annotations

from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import CommandWork, TaskSpec
from foliot_scheduler.core.model import JobState, Outcome, Stored, Trigger, TriggerRule
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import JobId
from foliot_scheduler.specs.jobs import plan_job
from foliot_scheduler.specs.records import JobPlans, job_from_row, run_from_row, split_ids, task_from_row
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans

ID_A, ID_B, ID_C = (bytes([number]) * 16 for number in (1, 2, 3))


def task_row(**changes: object) -> dict[str, object]:
    plan = TaskPlans().accept("task.spec", TaskSpec(name="n", command=CommandWork(line="true")), Violations())
    assert plan is not None
    row: dict[str, object] = {
        "id": ID_A, "project": "p", "spec": plan.spec, "created_at": 1, "updated_at": 2, "state": "scheduled",
        "trigger_rule": "all_done", "run_id": None, "position": 0, "depends_on": ID_B + ID_C, "traceparent": "00-x",
        "attempt": 2, "failed_attempts": 1, "lost_attempts": 1, "worker_id": "w", "started_at": 3, "outcome": "failed",
        "exit_code": 7, "error": "boom", "due_at": 4,
    }  # fmt: skip
    return row | changes


def job_row(spec: JobSpec, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": ID_A, "project": "p", "spec": plan_job(spec).spec, "created_at": 1, "updated_at": 2, "state": "paused",
        "version": 3, "next_due_at": 5, "fires_at": 6, "waiting_runs": [7, 8],
    }  # fmt: skip
    return row | changes


def test_a_live_task() -> None:
    task = task_from_row(task_row(), TaskPlans())
    assert (task.id, task.project, task.plan.name, task.created, task.updated) == (ID_A, "p", "n", 1, 2)
    assert (task.state, task.trigger_rule, task.stored) == (TaskState.SCHEDULED, TriggerRule.ALL_DONE, Stored.LIVE)
    assert (task.run_id, task.depends_on, task.traceparent) == (None, (ID_B, ID_C), "00-x")
    assert (task.attempt, task.failed_attempts, task.lost_attempts) == (2, 1, 1)
    assert (task.worker_id, task.started, task.due, task.ended) == ("w", 3, 4, None)
    assert (task.outcome, task.exit_code, task.error) == (Outcome.FAILED, 7, "boom")


def test_an_ended_task() -> None:
    row = task_row(state="cancelled", ended_at=9, outcome=None, depends_on=None, run_id=ID_B)
    del row["due_at"]
    task = task_from_row(row, TaskPlans())
    assert (task.state, task.stored, task.ended, task.due) == (TaskState.CANCELLED, Stored.HISTORY, 9, None)
    assert (task.outcome, task.depends_on, task.run_id) == (None, (), ID_B)


def test_tasks_of_one_spec_share_a_plan() -> None:
    plans = TaskPlans()
    assert task_from_row(task_row(), plans).plan is task_from_row(task_row(id=ID_B), plans).plan


def test_a_job() -> None:
    spec = JobSpec(name="j", tasks=[JobTask(key="a"), JobTask(key="b", dependencies=["a"])], schedule=Schedule(cron="@daily"))
    job = job_from_row(job_row(spec), JobPlans())
    assert (job.id, job.project, job.created, job.updated) == (ID_A, "p", 1, 2)
    assert (job.state, job.version, job.stored) == (JobState.PAUSED, 3, Stored.LIVE)
    assert (job.next_due, job.fires_at, job.waiting_runs) == (5, 6, [7, 8])
    assert job.plan == plan_job(spec)


def test_a_job_in_which_nothing_waits() -> None:
    row = job_row(JobSpec(name="j"), next_due_at=None, fires_at=None, waiting_runs=None)
    job = job_from_row(row, JobPlans())
    assert (job.next_due, job.fires_at, job.waiting_runs) == (None, None, [])


def test_a_version_is_planned_once() -> None:
    plans, raw = JobPlans(), plan_job(JobSpec(name="j")).spec
    first = plans.restore(JobId(ID_A), 1, raw)
    assert plans.restore(JobId(ID_A), 1, raw) is first
    assert plans.restore(JobId(ID_A), 2, raw) is not first
    for version in range(3, 1_000):
        plans.restore(JobId(ID_A), version, raw)
    assert plans.restore(JobId(ID_A), 1, raw) is not first


def test_runs_live_and_ended() -> None:
    row: dict[str, object] = {
        "id": ID_B, "project": "p", "job_id": ID_A, "job_version": 2, "trigger": "schedule", "created_at": 1, "due_at": 2,
        "state": "running", "started_at": 3, "cancelled": True,
    }  # fmt: skip
    plan = plan_job(JobSpec(name="j"))
    run = run_from_row(row, plan)
    assert (run.id, run.job_id, run.job_version, run.trigger) == (ID_B, ID_A, 2, Trigger.SCHEDULE)
    assert (run.created, run.due_at, run.state, run.started) == (1, 2, RunState.RUNNING, 3)
    assert (run.ended, run.cancelled, run.stored) == (None, True, Stored.LIVE)
    ended = run_from_row(row | {"state": "cancelled", "ended_at": 9}, plan)
    assert (ended.state, ended.ended, ended.stored) == (RunState.CANCELLED, 9, Stored.HISTORY)


def test_packed_ids() -> None:
    assert split_ids(None) == ()
    assert split_ids(b"") == ()
    assert split_ids(ID_A + ID_B) == (ID_A, ID_B)
