"""The core's objects for tests of the store: only what a test is about has to be named."""

from __future__ import annotations

from typing import Any

from foliot.kit.clock import ManualClock
from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.effects import WriteSet
from foliot_scheduler.core.graph import Graph
from foliot_scheduler.core.model import (
    ConcurrencyPolicy,
    Job,
    JobPlan,
    Kind,
    Lease,
    LeaseBatch,
    MisfirePolicy,
    NodePlan,
    Outcome,
    Placement,
    RetryPolicy,
    Run,
    SchedulePlan,
    Task,
    TaskPlan,
    Trigger,
    TriggerRule,
    Worker,
    WorkerProfile,
)
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, Span, TaskId, Token, WorkerId

CLOCK = ManualClock(seed=1)
PROJECT = Project("p")


def new_id() -> TaskId:
    return TaskId(CLOCK.uuid7())


def plan(**values: Any) -> TaskPlan:
    basic = TaskPlan("resize", Placement("default", Kind.COMMAND, "", ()), 5, (), (), None, Span(1), RetryPolicy(), b"spec")
    return basic._replace(**values)


def task(task_plan: TaskPlan | None = None, **values: Any) -> Task:
    now = Micros(CLOCK.now_us())
    return Task(
        **{
            "id": new_id(),
            "project": PROJECT,
            "plan": task_plan or plan(),
            "created": now,
            "updated": now,
            "state": TaskState.READY,
            **values,
        }
    )


def end(of: Task, /, state: TaskState = TaskState.SUCCEEDED, **values: Any) -> Task:
    of.state = state
    of.attempt = max(of.attempt, 1)
    of.ended = of.updated = Micros(CLOCK.now_us() + 5)
    of.started = Micros(CLOCK.now_us() + 1)
    of.outcome = Outcome.SUCCEEDED if state is TaskState.SUCCEEDED else Outcome.FAILED
    of.worker_id = WorkerId("w1")
    for name, value in values.items():
        setattr(of, name, value)
    return of


def job_plan(keys: tuple[str, ...] = ("a", "b"), **values: Any) -> JobPlan:
    return JobPlan(
        **{
            "name": "nightly",
            "surface": "dag_jobs",
            "tags": ("blue",),
            "schedule": SchedulePlan(
                parse_schedule("* * * * *", "UTC"), "* * * * *", "UTC", Span(0), MisfirePolicy.SKIP, ConcurrencyPolicy.ALLOW
            ),
            "nodes": tuple(NodePlan(key, TriggerRule.ALL_SUCCESS, plan(name=key)) for key in keys),
            "graph": Graph.build([(key, ()) for key in keys]),
            "max_active_runs": 0,
            "spec": b"job spec",
            "head": b"head",
            **values,
        }
    )


def job(**values: Any) -> Job:
    now = Micros(CLOCK.now_us())
    return Job(
        **{
            "id": JobId(CLOCK.uuid7()),
            "project": PROJECT,
            "plan": job_plan(),
            "created": now,
            "updated": now,
            "next_due": Micros(now + 60),
            "fires_at": Micros(now + 61),
            **values,
        }
    )


def run(of: Job, **values: Any) -> Run:
    started = Run(
        **{
            "id": RunId(CLOCK.uuid7()),
            "project": of.project,
            "job_id": of.id,
            "job_version": of.version,
            "plan": of.plan,
            "trigger": Trigger.MANUAL,
            "created": Micros(CLOCK.now_us()),
            **values,
        }
    )
    started.tasks = [
        task(node.plan, run=started, run_id=started.id, position=position) for position, node in enumerate(of.plan.nodes)
    ]
    return started


def worker(name: str = "w1", **values: Any) -> Worker:
    profile = WorkerProfile(
        WorkerId(name),
        "host",
        "1.0",
        4,
        frozenset({"default"}),
        (("zone", "a"),),
        frozenset({Kind.COMMAND}),
        frozenset(),
        ("fast",),
    )
    now = Micros(CLOCK.now_us())
    return Worker(**{"profile": profile, "registered": now, "session": 1, "lease_until": now, "last_heard": now, **values})


def lease(of: Task, on: Worker, token: int) -> Lease:
    batch = LeaseBatch(Token(token), on.profile.id, Micros(CLOCK.now_us()), (of.id,), (of.attempt,), 1)
    of.lease = Lease(Token(token), of, of.attempt, on, batch)
    return of.lease


def tasks_of(*tasks: Task) -> WriteSet:
    return WriteSet(tasks={each.id: each for each in tasks})
