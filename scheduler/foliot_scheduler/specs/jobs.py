"""JobSpecs of the contract to JobPlans of the core: every rule of a job, its DAG and its schedule.

The stored form of a job is its spec as it was asked for: what a task leaves to the job (its name, its retry policy)
is filled in when the plan is made, so that a later change of the job's policy reaches its tasks.
"""

from __future__ import annotations

import re
from typing import Final

from foliot.kit.errors import ErrorReason, FieldViolation, FoliotError
from foliot.v1 import job_pb2
from foliot_scheduler.core.cron import CronError, CronSchedule, parse_schedule
from foliot_scheduler.core.graph import (
    NODES_MAX,
    CycleError,
    DuplicateDependencyError,
    DuplicateKeyError,
    Graph,
    GraphTooLargeError,
    UnknownDependencyError,
)
from foliot_scheduler.core.model import JobPlan, NodePlan, SchedulePlan
from foliot_scheduler.core.shapes import JobShape, shape_of
from foliot_scheduler.core.types import Span
from foliot_scheduler.specs.enums import CONCURRENCY_POLICIES, KINDS, MISFIRE_POLICIES, TRIGGER_RULES
from foliot_scheduler.specs.fields import copy_fields
from foliot_scheduler.specs.retry import ONE_ATTEMPT, check_retry, plan_retry
from foliot_scheduler.specs.rules import (
    Violations,
    check_count,
    check_duration,
    check_json_object,
    check_tags,
    check_text,
    is_longer,
    span_of,
)
from foliot_scheduler.specs.tasks import DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX, TaskPlans, check_task_spec

TASKS_MAX: Final = NODES_MAX
KEY_BYTES_MAX: Final = 255
METADATA_BYTES_MAX: Final = 64 * 1024
SURFACE_BYTES_MAX: Final = 100
JITTER_MAX: Final = Span(3_600_000_000)

_HEAD_FIELDS: Final = frozenset(job_pb2.JobSpec.DESCRIPTOR.fields_by_name) - {"tasks"}
_KEY_BAD: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def plan_job(spec: job_pb2.JobSpec) -> JobPlan:
    """Check a job's spec and plan it.

    Raises FoliotError: INVALID_FIELD naming every field at fault, DUPLICATE_KEY, UNKNOWN_DEPENDENCY or
    DEPENDENCY_CYCLE.
    """
    violations = Violations()
    _check_job(spec, violations)
    schedule = check_schedule("spec.schedule", spec.schedule, violations) if spec.HasField("schedule") else None
    if len(spec.tasks) <= TASKS_MAX:  # more are not read at all
        for number, task in enumerate(spec.tasks):
            check_job_task(f"spec.tasks[{number}]", task, violations)
            if violations.is_full:
                break
    violations.raise_if_any()
    return _build(spec, schedule, _graph_of(spec), spec.SerializeToString())


def restore_job(raw: bytes) -> JobPlan:
    """The plan of a stored job. Its rules are not checked again: they held when it was accepted."""
    spec = job_pb2.JobSpec.FromString(raw)
    schedule = None
    if spec.HasField("schedule"):
        schedule = _plan_schedule(spec.schedule, parse_schedule(spec.schedule.cron, spec.schedule.timezone))
    return _build(spec, schedule, _graph_of(spec), raw)


def check_job_task(path: str, task: job_pb2.JobTask, violations: Violations) -> None:
    """Hold one task of a job to its own rules, those of the DAG aside."""
    key = task.key
    if not key:
        violations.add(f"{path}.key", "is required", "required")
    elif is_longer(key, KEY_BYTES_MAX):
        violations.add(f"{path}.key", f"must be at most {KEY_BYTES_MAX} bytes", "too_long")
    elif _KEY_BAD.search(key):
        violations.add(f"{path}.key", "must not contain white space or control characters", "malformed")
    if task.trigger_rule not in TRIGGER_RULES:
        violations.add(f"{path}.trigger_rule", "must be one of the contract's trigger rules", "not_one_of")
    spec = task.spec
    check_task_spec(f"{path}.spec", spec, violations, named=False)
    if spec.HasField("start_at"):
        violations.add(f"{path}.spec.start_at", "must not be set inside a job: its run says when", "not_allowed")


def _check_job(spec: job_pb2.JobSpec, violations: Violations) -> None:
    check_text("spec.name", spec.name, NAME_BYTES_MAX, violations, required=True)
    check_text("spec.description", spec.description, DESCRIPTION_BYTES_MAX, violations)
    check_count("spec.tasks", len(spec.tasks), TASKS_MAX, "tasks", violations)
    if spec.HasField("retry"):
        check_retry("spec.retry", spec.retry, violations)
    if spec.metadata_json:
        check_json_object("spec.metadata_json", spec.metadata_json, METADATA_BYTES_MAX, violations)
    check_tags("spec.tags", spec.tags, violations)
    check_text("spec.surface", spec.surface, SURFACE_BYTES_MAX, violations)
    if spec.max_active_runs < 0:
        violations.add("spec.max_active_runs", "must be at least 1, or 0 for no bound", "out_of_range")


def check_schedule(path: str, schedule: job_pb2.Schedule, violations: Violations) -> SchedulePlan | None:
    """Hold a schedule to its rules and plan it; None if there are violations, of it or from before."""
    if schedule.HasField("max_jitter"):
        check_duration(f"{path}.max_jitter", schedule.max_jitter, JITTER_MAX, violations, zero=True)
    if schedule.misfire_policy not in MISFIRE_POLICIES:
        violations.add(f"{path}.misfire_policy", "must be one of the contract's misfire policies", "not_one_of")
    if schedule.concurrency_policy not in CONCURRENCY_POLICIES:
        violations.add(f"{path}.concurrency_policy", "must be one of the contract's concurrency policies", "not_one_of")
    if not schedule.cron:
        violations.add(f"{path}.cron", "is required", "required")
        return None
    try:
        cron = parse_schedule(schedule.cron, schedule.timezone)
    except CronError as error:
        if error.field == "timezone":
            violations.add(f"{path}.timezone", error.message, "malformed")
        else:
            violations.add(f"{path}.cron", str(error), "malformed")
        return None
    return None if violations else _plan_schedule(schedule, cron)


def _plan_schedule(schedule: job_pb2.Schedule, cron: CronSchedule) -> SchedulePlan:
    return SchedulePlan(
        cron,
        cron.expression,
        cron.timezone,
        span_of(schedule.max_jitter),
        MISFIRE_POLICIES[schedule.misfire_policy],
        CONCURRENCY_POLICIES[schedule.concurrency_policy],
    )


def _graph_of(spec: job_pb2.JobSpec) -> Graph:
    """The DAG. Raises FoliotError naming the tasks at fault."""
    nodes = [(task.key, tuple(task.dependencies)) for task in spec.tasks]
    try:
        return Graph.build(nodes)
    except CycleError as error:
        path = " -> ".join(error.path)
        raise FoliotError(ErrorReason.DEPENDENCY_CYCLE, str(error), metadata={"path": path}) from None
    except UnknownDependencyError as error:
        fields = [_dependency_fault(nodes, error.key, error.missing, str(error), "unknown_dependency")]
        raise FoliotError(ErrorReason.UNKNOWN_DEPENDENCY, str(error), fields=fields, metadata={"ids": error.missing}) from None
    except DuplicateKeyError as error:
        number = max(number for number, (key, _) in enumerate(nodes) if key == error.key)
        fields = [FieldViolation(f"spec.tasks[{number}].key", str(error), "duplicate")]
        raise FoliotError(ErrorReason.DUPLICATE_KEY, str(error), fields=fields, metadata={"ids": error.key}) from None
    except DuplicateDependencyError as error:
        fields = [_dependency_fault(nodes, error.key, error.dependency, str(error), "duplicate")]
        raise FoliotError(ErrorReason.INVALID_FIELD, str(error), fields=fields) from None
    except GraphTooLargeError as error:
        raise FoliotError.invalid("spec.tasks", str(error), rule="too_many") from None


def _dependency_fault(
    nodes: list[tuple[str, tuple[str, ...]]], key: str, dependency: str, description: str, rule: str
) -> FieldViolation:
    number, dependencies = next((number, found) for number, (name, found) in enumerate(nodes) if name == key)
    last = len(dependencies) - 1 - dependencies[::-1].index(dependency)
    return FieldViolation(f"spec.tasks[{number}].dependencies[{last}]", description, rule)


def shape_of_spec(spec: job_pb2.JobSpec) -> JobShape:
    """What a job consists of, by its whole spec; as its plan says."""
    first = KINDS[spec.tasks[0].spec.WhichOneof("work")] if spec.tasks else None
    return shape_of(scheduled=spec.HasField("schedule"), tasks=len(spec.tasks), first=first)


def _build(spec: job_pb2.JobSpec, schedule: SchedulePlan | None, graph: Graph, raw: bytes) -> JobPlan:
    retry = plan_retry(spec.retry) if spec.HasField("retry") else ONE_ATTEMPT
    plans = TaskPlans()  # of its own: big jobs are planned in threads
    nodes = tuple(
        NodePlan(
            task.key,
            TRIGGER_RULES[task.trigger_rule],
            plans.build(task.spec, task.spec.SerializeToString(), name=task.key, retry=retry),
        )
        for task in spec.tasks
    )
    head = job_pb2.JobSpec()
    copy_fields(head, spec, _HEAD_FIELDS)
    return JobPlan(
        spec.name, spec.surface, tuple(spec.tags), schedule, nodes, graph, spec.max_active_runs, raw, head.SerializeToString()
    )
