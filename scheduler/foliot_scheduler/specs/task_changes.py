"""Changes of a stored task: the fields that a caller names, merged into its spec."""

from __future__ import annotations

from collections.abc import Collection

from foliot.v1 import spec_pb2
from foliot_scheduler.core.model import TaskPlan
from foliot_scheduler.specs.fields import SPEC_FIELDS, copy_fields
from foliot_scheduler.specs.masking import unmask_task_spec
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans


def merge_task(
    stored: bytes, update: spec_pb2.TaskSpec, names: Collection[str], plans: TaskPlans, violations: Violations
) -> TaskPlan | None:
    """The plan of the stored spec with the named fields of the update (names of other messages' fields are left aside).

    None where no field of the spec is named, or where the result breaks a rule, which `violations` then says.
    """
    changed = SPEC_FIELDS.intersection(names)
    if not changed:
        return None
    before = spec_pb2.TaskSpec.FromString(stored)
    merged = spec_pb2.TaskSpec()
    merged.CopyFrom(before)
    copy_fields(merged, update, changed)
    if "work" in changed:
        unmask_task_spec(merged, before)
    return plans.accept("task.spec", merged, violations)
