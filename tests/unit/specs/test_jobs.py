"""JobSpecs: the rules of a job, its DAG and its schedule, and what reaches the plan."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2, spec_pb2
from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import CommandWork, RetryPolicy, TaskSpec
from foliot_scheduler.core.model import ConcurrencyPolicy, MisfirePolicy, TriggerRule
from foliot_scheduler.core.model import RetryPolicy as Policy
from foliot_scheduler.specs.jobs import plan_job, restore_job


def job(*tasks: JobTask, **fields: object) -> JobSpec:
    return JobSpec(**{"name": "j", "tasks": tasks, **fields})  # type: ignore[arg-type] # by name


def task(key: str, *dependencies: str, **fields: object) -> JobTask:
    return JobTask(key=key, dependencies=dependencies, **fields)  # type: ignore[arg-type] # by name


def refused(spec: JobSpec) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        plan_job(spec)
    return caught.value


def test_every_part_reaches_the_plan() -> None:
    spec = job(
        task("load", spec=TaskSpec(command=CommandWork(line="load"))),
        task("sum", "load", trigger_rule=spec_pb2.TRIGGER_RULE_ALL_DONE),
        tags=["t"],
        surface="dag_jobs",
        max_active_runs=2,
        schedule=Schedule(
            cron="0 5 * * *",
            timezone="Europe/Berlin",
            max_jitter=Duration(seconds=10),
            misfire_policy=job_pb2.MISFIRE_POLICY_SKIP,
            concurrency_policy=job_pb2.CONCURRENCY_POLICY_QUEUE,
        ),
    )
    plan = plan_job(spec)
    assert (plan.name, plan.surface, plan.tags, plan.max_active_runs) == ("j", "dag_jobs", ("t",), 2)
    assert [(node.key, node.trigger_rule) for node in plan.nodes] == [
        ("load", TriggerRule.ALL_SUCCESS),
        ("sum", TriggerRule.ALL_DONE),
    ]
    assert plan.graph.parents == ((), (0,))
    assert plan.schedule is not None
    assert (plan.schedule.expression, plan.schedule.timezone) == ("0 5 * * *", "Europe/Berlin")
    assert plan.schedule.max_jitter == 10_000_000
    assert (plan.schedule.misfire, plan.schedule.concurrency) == (MisfirePolicy.SKIP, ConcurrencyPolicy.QUEUE)
    assert JobSpec.FromString(plan.spec) == spec


def test_the_stored_form_gives_back_the_plan() -> None:
    plan = plan_job(job(task("a"), task("b", "a"), schedule=Schedule(cron="@every 90s"), retry=RetryPolicy(max_attempts=2)))
    assert restore_job(plan.spec) == plan


def test_the_schedule_has_defaults() -> None:
    schedule = plan_job(job(schedule=Schedule(cron="@hourly"))).schedule
    assert schedule is not None
    assert (schedule.timezone, schedule.max_jitter) == ("UTC", 0)
    assert (schedule.misfire, schedule.concurrency) == (MisfirePolicy.FIRE_ONCE, ConcurrencyPolicy.ALLOW)


def test_the_key_stands_in_for_the_name_of_a_task() -> None:
    nodes = plan_job(job(task("a"), task("b", spec=TaskSpec(name="named")))).nodes
    assert [node.plan.name for node in nodes] == ["a", "named"]
    assert [TaskSpec.FromString(node.plan.spec).name for node in nodes] == ["a", "named"]


def test_the_retry_policy_of_the_job_is_the_default_of_its_tasks() -> None:
    own = TaskSpec(retry=RetryPolicy(max_attempts=7))
    nodes = plan_job(job(task("a"), task("b", spec=own), retry=RetryPolicy(max_attempts=3, jitter=0))).nodes
    assert [node.plan.retry for node in nodes] == [
        Policy()._replace(max_attempts=3, jitter=0),
        Policy()._replace(max_attempts=7),
    ]
    assert TaskSpec.FromString(nodes[0].plan.spec).retry.max_attempts == 3


def test_without_a_policy_tasks_have_one_attempt() -> None:
    assert plan_job(job(task("a"))).nodes[0].plan.retry == Policy()


BROKEN: list[tuple[str, str, JobSpec]] = [
    ("spec.name", "required", JobSpec()),
    ("spec.name", "too_long", JobSpec(name="n" * 256)),
    ("spec.name", "no_nul", JobSpec(name="\0")),
    ("spec.description", "too_long", job(description="d" * 4_097)),
    ("spec.tags[0]", "required", job(tags=[""])),
    ("spec.surface", "too_long", job(surface="s" * 101)),
    ("spec.max_active_runs", "out_of_range", job(max_active_runs=-1)),
    ("spec.metadata_json", "not_json", job(metadata_json="[]")),
    ("spec.metadata_json", "not_json", job(metadata_json="{")),
    ("spec.metadata_json", "too_long", job(metadata_json='{"a": "' + "x" * 64 * 1024 + '"}')),
    ("spec.retry.max_attempts", "out_of_range", job(retry=RetryPolicy(max_attempts=101))),
    ("spec.schedule.cron", "required", job(schedule=Schedule(timezone="UTC"))),
    ("spec.schedule.cron", "malformed", job(schedule=Schedule(cron="61 * * * *"))),
    ("spec.schedule.cron", "malformed", job(schedule=Schedule(cron="* * *"))),
    ("spec.schedule.cron", "malformed", job(schedule=Schedule(cron="0 0 30 2 *"))),
    ("spec.schedule.cron", "malformed", job(schedule=Schedule(cron="@every never"))),
    ("spec.schedule.timezone", "malformed", job(schedule=Schedule(cron="@daily", timezone="Mars/Base"))),
    ("spec.schedule.timezone", "malformed", job(schedule=Schedule(cron="@daily", timezone="../../etc/passwd"))),
    ("spec.schedule.max_jitter", "out_of_range", job(schedule=Schedule(cron="@daily", max_jitter=Duration(seconds=3_601)))),
    ("spec.schedule.max_jitter", "out_of_range", job(schedule=Schedule(cron="@daily", max_jitter=Duration(seconds=-1)))),
    ("spec.schedule.misfire_policy", "not_one_of", job(schedule=Schedule(cron="@daily", misfire_policy=9))),  # type: ignore[arg-type]
    ("spec.schedule.concurrency_policy", "not_one_of", job(schedule=Schedule(cron="@daily", concurrency_policy=9))),  # type: ignore[arg-type]
    ("spec.tasks[1].key", "required", job(task("a"), task(""))),
    ("spec.tasks[0].key", "too_long", job(task("k" * 256))),
    ("spec.tasks[0].key", "malformed", job(task("a b"))),
    ("spec.tasks[0].key", "malformed", job(task("a\n"))),
    ("spec.tasks[0].key", "malformed", job(task("a\0"))),
    ("spec.tasks[0].key", "malformed", job(task("a\u00a0b"))),
    ("spec.tasks[0].trigger_rule", "not_one_of", job(task("a", trigger_rule=42))),
    ("spec.tasks[0].spec.timeout", "out_of_range", job(task("a", spec=TaskSpec(timeout=Duration(seconds=-1))))),
    ("spec.tasks[0].spec.start_at", "not_allowed", job(task("a", spec=TaskSpec(start_at=Timestamp(seconds=1))))),
    ("spec.tasks[0].spec.command.line", "required", job(task("a", spec=TaskSpec(command=CommandWork())))),
    ("spec.tasks[1].dependencies[1]", "duplicate", job(task("a"), task("b", "a", "a"))),
]


@pytest.mark.parametrize(
    ("field", "rule", "spec"), BROKEN, ids=[f"{number}-{field}-{rule}" for number, (field, rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_names_its_field(field: str, rule: str, spec: JobSpec) -> None:
    error = refused(spec)
    assert error.reason is ErrorReason.INVALID_FIELD
    assert (field, rule) in [(violation.field, violation.rule) for violation in error.fields]


def test_a_cycle_is_named_by_its_path() -> None:
    error = refused(job(task("a", "c"), task("b", "a"), task("c", "b"), task("d")))
    assert error.reason is ErrorReason.DEPENDENCY_CYCLE
    assert error.metadata["path"] in {"a -> c -> b -> a", "c -> b -> a -> c", "b -> a -> c -> b"}


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    assert refused(job(task("a", "a"))).metadata == {"path": "a -> a"}


def test_an_unknown_dependency_is_named_with_its_place() -> None:
    error = refused(job(task("a"), task("b", "a", "ghost")))
    assert error.reason is ErrorReason.UNKNOWN_DEPENDENCY
    assert error.metadata == {"ids": "ghost"}
    assert [violation.field for violation in error.fields] == ["spec.tasks[1].dependencies[1]"]


def test_a_duplicate_key_is_named_with_its_place() -> None:
    error = refused(job(task("a"), task("b"), task("a")))
    assert error.reason is ErrorReason.DUPLICATE_KEY
    assert error.metadata == {"ids": "a"}
    assert [violation.field for violation in error.fields] == ["spec.tasks[2].key"]


def test_more_tasks_than_allowed_are_refused_unread() -> None:
    spec = JobSpec(name="j")
    spec.tasks.extend([JobTask()] * 200_000)
    error = refused(spec)
    assert [(violation.field, violation.rule) for violation in error.fields] == [("spec.tasks", "too_many")]


def test_a_job_without_tasks_is_allowed() -> None:
    assert plan_job(JobSpec(name="empty")).nodes == ()
