"""Requests about tasks, checked and turned into what commands carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.kit.ids import parse_uuid
from foliot_scheduler.api.requests import enums_of, filter_text, run_id_of
from foliot_scheduler.core.commands import NewTask, TaskChange
from foliot_scheduler.core.model import PRIORITY_HIGHEST, PRIORITY_LOWEST
from foliot_scheduler.core.types import TaskId, WorkerId
from foliot_scheduler.specs.enums import TASK_STATES, TRIGGER_RULES
from foliot_scheduler.specs.fields import LABELLING_FIELDS, TASK_FIELDS, check_update_fields
from foliot_scheduler.specs.rules import Violations, check_count, check_json
from foliot_scheduler.specs.task_changes import merge_task
from foliot_scheduler.store.lists import TaskFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot.v1 import task_pb2
    from foliot_scheduler.specs.tasks import TaskPlans

TASKS_MAX: Final = 10_000
DEPENDENCIES_MAX: Final = 1_000
IDS_MAX: Final = 1_000
"""Of tasks that one request names."""
CHECKPOINT_BYTES_MAX: Final = 1024 * 1024
KINDS: Final = ("command", "http", "binary", "function")


def new_task(request: task_pb2.SubmitTaskRequest, plans: TaskPlans) -> NewTask:
    """Read one task to submit. Raises FoliotError naming every field at fault."""
    if not request.HasField("task"):
        raise FoliotError.invalid("task", "is required", rule="required")
    violations = Violations()
    found = _read(request.task, "task", -1, plans, violations)
    violations.raise_if_any()
    assert found is not None
    return found


def new_tasks(tasks: Sequence[task_pb2.NewTask], plans: TaskPlans) -> list[NewTask]:
    """Read many tasks to submit. Raises FoliotError naming the fields at fault, the first twenty of them."""
    violations = Violations()
    if not tasks:
        violations.add("tasks", "must have at least one task", "required")
    check_count("tasks", len(tasks), TASKS_MAX, "tasks", violations)
    violations.raise_if_any()
    found = []
    for number, task in enumerate(tasks):
        one = _read(task, "tasks[{}]", number, plans, violations)
        if one is not None:
            found.append(one)
        elif violations.is_full:
            break
    violations.raise_if_any()
    return found


def _read(task: task_pb2.NewTask, path: str, number: int, plans: TaskPlans, violations: Violations) -> NewTask | None:
    """Read one task; None if it breaks a rule. A `{}` in the path stands for `number`, filled in only where it is needed."""
    if not task.HasField("spec"):
        violations.add(path.format(number) + ".spec", "is required", "required")
        return None
    plan = plans.accept(path + ".spec", task.spec, violations, number)
    trigger_rule = TRIGGER_RULES.get(task.trigger_rule)
    if trigger_rule is None:
        violations.add(path.format(number) + ".trigger_rule", "must be one of the contract's trigger rules", "not_one_of")
    dependencies: tuple[TaskId, ...] = ()
    if task.dependencies:
        before = len(violations)
        dependencies = _dependencies(path.format(number), task.dependencies, violations)
        if len(violations) != before:
            return None
    if plan is None or trigger_rule is None:
        return None
    return NewTask(plan, dependencies, trigger_rule)


def _dependencies(path: str, texts: Sequence[str], violations: Violations) -> tuple[TaskId, ...]:
    check_count(f"{path}.dependencies", len(texts), DEPENDENCIES_MAX, "dependencies", violations)
    return _distinct_ids(f"{path}.dependencies", texts, violations)


def _distinct_ids(path: str, texts: Sequence[str], violations: Violations) -> tuple[TaskId, ...]:
    ids: dict[TaskId, None] = {}
    for number, text in enumerate(texts):
        at = f"{path}[{number}]"
        try:
            task_id = TaskId(parse_uuid(text))
        except ValueError:
            violations.add(at, "must be a UUID in its canonical text form", "malformed")
            continue
        if task_id in ids:
            violations.add(at, "is named twice", "duplicate")
        ids[task_id] = None
    return tuple(ids)


def ids_to_cancel(request: task_pb2.CancelTasksRequest) -> tuple[TaskId, ...]:
    """Read which tasks to cancel. Raises FoliotError naming the fields at fault."""
    if not request.task_ids:
        raise FoliotError.invalid("task_ids", "must name at least one task", rule="required")
    return _some_ids("task_ids", request.task_ids)


def _some_ids(path: str, texts: Sequence[str]) -> tuple[TaskId, ...]:
    violations = Violations()
    check_count(path, len(texts), IDS_MAX, "tasks", violations)
    violations.raise_if_any()
    ids = _distinct_ids(path, texts, violations)
    violations.raise_if_any()
    return ids


def check_checkpoint(request: task_pb2.SaveCheckpointRequest) -> None:
    """Hold a checkpoint to its rules. Raises FoliotError naming every field at fault."""
    violations = Violations()
    if not request.checkpoint_json:
        violations.add("checkpoint_json", "is required", "required")
    else:
        check_json("checkpoint_json", request.checkpoint_json, CHECKPOINT_BYTES_MAX, violations)
    if request.attempt < 0:
        violations.add("attempt", "must be at least 1, or 0 for any", "out_of_range")
    violations.raise_if_any()


def task_filter(given: task_pb2.TaskFilter) -> TaskFilter:
    """Read which tasks a list is to hold. Raises FoliotError naming the field at fault."""
    if given.kind and given.kind not in KINDS:
        raise FoliotError.invalid("filter.kind", f"must be one of {', '.join(KINDS)}", rule="not_one_of")
    if not 0 <= given.priority <= PRIORITY_HIGHEST:
        raise FoliotError.invalid("filter.priority", "must be 1 to 10, or 0 for any", rule="out_of_range")
    worker_id = filter_text("filter.worker_id", given.worker_id)
    return TaskFilter(
        states=frozenset(enums_of("filter.states", given.states, TASK_STATES)),
        tag=filter_text("filter.tag", given.tag),
        run_id=run_id_of(given.run_id, "filter.run_id") if given.run_id else None,
        worker_id=None if worker_id is None else WorkerId(worker_id),
        queue=filter_text("filter.queue", given.queue),
        standalone=given.standalone,
        kind=given.kind or None,
        priority=given.priority or None,
        name=filter_text("filter.name", given.name),
        priorities=_priorities(given),
        ids=_some_ids("filter.task_ids", given.task_ids),
    )


def _priorities(given: task_pb2.TaskFilter) -> frozenset[int]:
    if given.priority and given.priorities:
        raise FoliotError.invalid("filter.priorities", "must not be used with priority", rule="not_allowed")
    for number, priority in enumerate(given.priorities):
        if not PRIORITY_LOWEST <= priority <= PRIORITY_HIGHEST:
            path = f"filter.priorities[{number}]"
            raise FoliotError.invalid(path, f"must be {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}", rule="out_of_range")
    return frozenset(given.priorities)


def task_change(request: task_pb2.UpdateTaskRequest, stored_spec: bytes, plans: TaskPlans, *, in_run: bool) -> TaskChange:
    """Merge an update into a stored spec. Raises FoliotError naming the fields at fault."""
    violations = Violations()
    names = set(request.update_fields)
    check_update_fields(request.update_fields, TASK_FIELDS, violations)
    violations.raise_if_any()
    plan = merge_task(stored_spec, request.task.spec, names, plans, violations)
    if in_run:
        for name in sorted(names & {"dependencies", "trigger_rule"}):
            violations.add(f"task.{name}", "must not be changed in a run: its job says it", "not_allowed")
    depends_on = None
    if "dependencies" in names:
        depends_on = _dependencies("task", request.task.dependencies, violations)
    trigger_rule = None
    if "trigger_rule" in names:
        trigger_rule = TRIGGER_RULES.get(request.task.trigger_rule)
        if trigger_rule is None:
            violations.add("task.trigger_rule", "must be one of the contract's trigger rules", "not_one_of")
    violations.raise_if_any()
    return TaskChange(plan, depends_on, trigger_rule, labels_only=names <= LABELLING_FIELDS)
