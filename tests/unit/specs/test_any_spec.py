"""Whatever spec arrives: a plan, or a refusal that names what is wrong with it. Never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.job_pb2 import JobSpec
from foliot.v1.spec_pb2 import TaskSpec
from foliot_scheduler.core.model import JobPlan
from foliot_scheduler.specs.jobs import plan_job, restore_job
from foliot_scheduler.specs.masking import mask_job_spec, mask_task_spec, unmask_task_spec
from foliot_scheduler.specs.retry import plan_retry
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans
from tests.unit.specs.arbitrary_specs import job_specs, task_specs


@given(task_specs())
def test_a_task_spec_gives_a_plan_or_names_a_field(spec: TaskSpec) -> None:
    plans, violations = TaskPlans(), Violations()
    plan = plans.accept("task.spec", spec, violations)
    assert (plan is None) == bool(violations)
    if plan is None:
        with pytest.raises(FoliotError) as caught:
            violations.raise_if_any()
        fields = caught.value.fields
        assert caught.value.reason is ErrorReason.INVALID_FIELD
        assert all(violation.field.startswith("task.spec.") and violation.description for violation in fields)
        return
    # The normal form keeps what was said, fills in the rest, and is its own normal form.
    stored = TaskSpec.FromString(plan.spec)
    assert stored.name == spec.name == plan.name
    assert 1 <= stored.priority == plan.priority <= 10
    assert stored.queue == plan.placement.queue
    assert 0 < plan.timeout <= 30 * 86_400_000_000
    assert plan_retry(stored.retry) == plan.retry
    assert plans.restore(plan.spec) == plan


def plan_or_error(spec: JobSpec) -> JobPlan | FoliotError:
    try:
        return plan_job(spec)
    except FoliotError as error:
        return error


@given(job_specs())
def test_a_job_spec_gives_a_plan_or_names_what_is_wrong(spec: JobSpec) -> None:
    plan = plan_or_error(spec)
    if isinstance(plan, FoliotError):
        assert plan.fields or plan.metadata
        assert plan.reason in {
            ErrorReason.INVALID_FIELD,
            ErrorReason.DEPENDENCY_CYCLE,
            ErrorReason.UNKNOWN_DEPENDENCY,
            ErrorReason.DUPLICATE_KEY,
        }
        return
    assert restore_job(plan.spec) == plan
    assert [node.key for node in plan.nodes] == [task.key for task in spec.tasks]


@given(task_specs())
def test_masking_is_undone_by_the_stored_spec(spec: TaskSpec) -> None:
    shown = TaskSpec()
    shown.CopyFrom(spec)
    mask_task_spec(shown)
    unmask_task_spec(shown, spec)
    assert shown == spec or any("******" in text for text in (str(spec),))


@given(job_specs())
def test_no_environment_value_is_shown(spec: JobSpec) -> None:
    mask_job_spec(spec)
    for task in spec.tasks:
        work = task.spec
        assert set(work.command.environment.values()) | set(work.binary.environment.values()) <= {"******"}
