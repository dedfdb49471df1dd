"""Changes of a stored task's spec."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from foliot.kit.errors import FoliotError
from foliot.v1.spec_pb2 import CommandWork, HttpWork, TaskSpec
from foliot_scheduler.core.model import Kind, TaskPlan
from foliot_scheduler.specs.masking import MASK
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.task_changes import merge_task
from foliot_scheduler.specs.tasks import TaskPlans

STORED = TaskSpec(
    name="old", tags=["a"], timeout=Duration(seconds=5), command=CommandWork(line="x", environment={"TOKEN": "secret"})
)


def stored_plan() -> TaskPlan:
    plan = TaskPlans().accept("task.spec", STORED, Violations())
    assert plan is not None
    return plan


def merge(update: TaskSpec, *names: str) -> TaskPlan | None:
    violations = Violations()
    plan = merge_task(stored_plan().spec, update, names, TaskPlans(), violations)
    violations.raise_if_any()
    return plan


def test_only_named_fields_change() -> None:
    plan = merge(TaskSpec(name="new", tags=["b"], priority=9), "name", "priority")
    assert plan is not None
    assert plan == stored_plan()._replace(name="new", priority=9, spec=plan.spec)


def test_a_cleared_field_gets_its_default() -> None:
    plan = merge(TaskSpec(), "timeout")
    assert plan is not None
    assert plan.timeout == 3_600_000_000
    assert TaskSpec.FromString(plan.spec).timeout.seconds == 3600


def test_work_replaces_whatever_work_there_was() -> None:
    plan = merge(TaskSpec(http=HttpWork(url="http://h/")), "work")
    assert plan is not None
    assert plan.placement.kind is Kind.HTTP
    assert TaskSpec.FromString(plan.spec).WhichOneof("work") == "http"


def test_a_mask_keeps_the_stored_secret() -> None:
    plan = merge(TaskSpec(command=CommandWork(line="y", environment={"TOKEN": MASK})), "work")
    assert plan is not None
    assert TaskSpec.FromString(plan.spec).command.environment["TOKEN"] == "secret"


def test_names_of_other_messages_leave_the_spec_alone() -> None:
    assert merge(TaskSpec(name="new"), "dependencies", "trigger_rule") is None


def test_what_breaks_a_rule_is_named() -> None:
    with pytest.raises(FoliotError) as caught:
        merge(TaskSpec(), "name")
    assert [violation.field for violation in caught.value.fields] == ["task.spec.name"]
