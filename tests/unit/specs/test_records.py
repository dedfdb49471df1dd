"""Stored rows become the core's objects again."""

from __future__ import annotations

from dataclasses import replace

from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import CommandWork, TaskSpec
from foliot_scheduler.core.model import JobState, Outcome, Stored, TriggerRule
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, WorkerId
from foliot_scheduler.specs.jobs import plan_job
from foliot_scheduler.specs.records import JobPlans, job_from_row, task_from_row
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.rows import JobRow, TaskRow

ID_A, ID_B, ID_C = (bytes([number]) * 16 for number in (1, 2, 3))


def task_row() -> TaskRow:
    plan = TaskPlans().accept("task.spec", TaskSpec(name="n", command=CommandWork(line="true")), Violations())
    assert plan is not None
    return TaskRow(
        id=TaskId(ID_A),
        project=Project("p"),
        run_id=None,
        job_id=None,
        key="",
        position=0,
        name="n",
        priority=5,
        state=TaskState.SCHEDULED,
        trigger_rule=TriggerRule.ALL_DONE,
        depends_on=(TaskId(ID_B), TaskId(ID_C)),
        spec=plan.spec,
        attempt=3,
        failed_attempts=1,
        lost_attempts=2,
        outcome=Outcome.FAILED,
        exit_code=7,
        error="boom",
        created_at=Micros(1),
        updated_at=Micros(2),
        due_at=Micros(4),
        started_at=Micros(3),
        ended_at=None,
        worker_id=WorkerId("w"),
        worker_address="host",
        traceparent="00-x",
        checkpoint="{}",
    )


def job_row(spec: JobSpec) -> JobRow:
    return JobRow(
        id=JobId(ID_A),
        project=Project("p"),
        state=JobState.PAUSED,
        version=3,
        created_at=Micros(1),
        updated_at=Micros(2),
        next_due_at=Micros(5),
        fires_at=Micros(6),
        waiting_runs=(Micros(7), Micros(8)),
        spec=plan_job(spec).spec,
    )


def test_a_live_task() -> None:
    task = task_from_row(task_row(), TaskPlans())
    assert (task.id, task.project, task.plan.name, task.created, task.updated) == (ID_A, "p", "n", 1, 2)
    assert (task.state, task.trigger_rule, task.stored) == (TaskState.SCHEDULED, TriggerRule.ALL_DONE, Stored.LIVE)
    assert (task.run_id, task.depends_on, task.traceparent) == (None, (ID_B, ID_C), "00-x")
    assert (task.attempt, task.failed_attempts, task.lost_attempts, task.checkpoint) == (3, 1, 2, "{}")
    assert (task.worker_id, task.started, task.due, task.ended) == ("w", 3, 4, None)
    assert (task.outcome, task.exit_code, task.error) == (Outcome.FAILED, 7, "boom")


def test_an_ended_task() -> None:
    row = replace(task_row(), state=TaskState.CANCELLED, ended_at=Micros(9), due_at=None, outcome=None, run_id=RunId(ID_B))
    task = task_from_row(row, TaskPlans())
    assert (task.state, task.stored, task.ended, task.due) == (TaskState.CANCELLED, Stored.HISTORY, 9, None)
    assert (task.outcome, task.run_id) == (None, ID_B)


def test_tasks_of_one_spec_share_a_plan() -> None:
    plans = TaskPlans()
    assert task_from_row(task_row(), plans).plan is task_from_row(task_row(), plans).plan


def test_a_job() -> None:
    spec = JobSpec(name="j", tasks=[JobTask(key="a"), JobTask(key="b", dependencies=["a"])], schedule=Schedule(cron="@daily"))
    job = job_from_row(job_row(spec), JobPlans())
    assert (job.id, job.project, job.created, job.updated) == (ID_A, "p", 1, 2)
    assert (job.state, job.version, job.stored) == (JobState.PAUSED, 3, Stored.LIVE)
    assert (job.next_due, job.fires_at, job.waiting_runs) == (5, 6, [7, 8])
    assert job.plan == plan_job(spec)


def test_a_version_is_planned_once() -> None:
    plans, raw = JobPlans(), plan_job(JobSpec(name="j")).spec
    first = plans.restore(JobId(ID_A), 1, raw)
    assert plans.restore(JobId(ID_A), 1, raw) is first
    assert plans.restore(JobId(ID_A), 2, raw) is not first
    for version in range(3, 3_000):
        plans.restore(JobId(ID_A), version, raw)
    assert plans.restore(JobId(ID_A), 1, raw) is not first
