"""Enums of the contract and of the core, one into the other.

A table holds the members by what they mean, so that neither side's numbers or texts leak into the other. What a
table does not hold (`UNSPECIFIED`, or a number that this version does not know) is for the reader to refuse or to
default.
"""

from __future__ import annotations

from typing import Final

from foliot.v1 import access_pb2, job_pb2, run_pb2, spec_pb2
from foliot_scheduler.core.access import Role
from foliot_scheduler.core.model import ConcurrencyPolicy, JobState, Kind, MisfirePolicy, Outcome, Trigger, TriggerRule
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import RunState, TaskState

ROLES: Final[dict[int, Role]] = {
    access_pb2.ROLE_VIEWER: Role.VIEWER,
    access_pb2.ROLE_OPERATOR: Role.OPERATOR,
    access_pb2.ROLE_ADMIN: Role.ADMIN,
    access_pb2.ROLE_WORKER: Role.WORKER,
}
TRIGGER_RULES: Final[dict[int, TriggerRule]] = {
    spec_pb2.TRIGGER_RULE_UNSPECIFIED: TriggerRule.ALL_SUCCESS,
    spec_pb2.TRIGGER_RULE_ALL_SUCCESS: TriggerRule.ALL_SUCCESS,
    spec_pb2.TRIGGER_RULE_ALL_DONE: TriggerRule.ALL_DONE,
    spec_pb2.TRIGGER_RULE_ONE_SUCCESS: TriggerRule.ONE_SUCCESS,
    spec_pb2.TRIGGER_RULE_ONE_FAILED: TriggerRule.ONE_FAILED,
    spec_pb2.TRIGGER_RULE_NONE_FAILED: TriggerRule.NONE_FAILED,
    spec_pb2.TRIGGER_RULE_ALWAYS: TriggerRule.ALWAYS,
}
OUTCOMES: Final[dict[int, Outcome]] = {
    spec_pb2.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    spec_pb2.OUTCOME_FAILED: Outcome.FAILED,
    spec_pb2.OUTCOME_TIMED_OUT: Outcome.TIMED_OUT,
    spec_pb2.OUTCOME_NON_RETRYABLE: Outcome.NON_RETRYABLE,
    spec_pb2.OUTCOME_CANCELLED: Outcome.CANCELLED,
    spec_pb2.OUTCOME_LOST: Outcome.LOST,
}
TASK_STATES: Final[dict[int, TaskState]] = {
    spec_pb2.TASK_STATE_BLOCKED: TaskState.BLOCKED,
    spec_pb2.TASK_STATE_SCHEDULED: TaskState.SCHEDULED,
    spec_pb2.TASK_STATE_READY: TaskState.READY,
    spec_pb2.TASK_STATE_RUNNING: TaskState.RUNNING,
    spec_pb2.TASK_STATE_SUCCEEDED: TaskState.SUCCEEDED,
    spec_pb2.TASK_STATE_FAILED: TaskState.FAILED,
    spec_pb2.TASK_STATE_CANCELLED: TaskState.CANCELLED,
    spec_pb2.TASK_STATE_SKIPPED: TaskState.SKIPPED,
}
RUN_STATES: Final[dict[int, RunState]] = {
    run_pb2.RUN_STATE_PENDING: RunState.PENDING,
    run_pb2.RUN_STATE_RUNNING: RunState.RUNNING,
    run_pb2.RUN_STATE_SUCCEEDED: RunState.SUCCEEDED,
    run_pb2.RUN_STATE_FAILED: RunState.FAILED,
    run_pb2.RUN_STATE_CANCELLED: RunState.CANCELLED,
}
RUN_TRIGGERS: Final[dict[int, Trigger]] = {
    run_pb2.RUN_TRIGGER_MANUAL: Trigger.MANUAL,
    run_pb2.RUN_TRIGGER_SCHEDULE: Trigger.SCHEDULE,
    run_pb2.RUN_TRIGGER_REDRIVE: Trigger.REDRIVE,
}
JOB_STATES: Final[dict[int, JobState]] = {
    job_pb2.JOB_STATE_ACTIVE: JobState.ACTIVE,
    job_pb2.JOB_STATE_PAUSED: JobState.PAUSED,
    job_pb2.JOB_STATE_DELETED: JobState.DELETED,
}
JOB_SHAPES: Final[dict[int, JobShape]] = {
    job_pb2.JOB_SHAPE_SCHEDULED_COMMAND: JobShape.SCHEDULED_COMMAND,
    job_pb2.JOB_SHAPE_SCHEDULED_HTTP: JobShape.SCHEDULED_HTTP,
    job_pb2.JOB_SHAPE_OTHER: JobShape.OTHER,
}
MISFIRE_POLICIES: Final[dict[int, MisfirePolicy]] = {
    job_pb2.MISFIRE_POLICY_UNSPECIFIED: MisfirePolicy.FIRE_ONCE,
    job_pb2.MISFIRE_POLICY_SKIP: MisfirePolicy.SKIP,
    job_pb2.MISFIRE_POLICY_FIRE_ONCE: MisfirePolicy.FIRE_ONCE,
    job_pb2.MISFIRE_POLICY_FIRE_ALL: MisfirePolicy.FIRE_ALL,
}
CONCURRENCY_POLICIES: Final[dict[int, ConcurrencyPolicy]] = {
    job_pb2.CONCURRENCY_POLICY_UNSPECIFIED: ConcurrencyPolicy.ALLOW,
    job_pb2.CONCURRENCY_POLICY_ALLOW: ConcurrencyPolicy.ALLOW,
    job_pb2.CONCURRENCY_POLICY_FORBID: ConcurrencyPolicy.FORBID,
    job_pb2.CONCURRENCY_POLICY_REPLACE: ConcurrencyPolicy.REPLACE,
    job_pb2.CONCURRENCY_POLICY_QUEUE: ConcurrencyPolicy.QUEUE,
}
KINDS: Final[dict[str | None, Kind]] = {
    None: Kind.MARKER,
    "command": Kind.COMMAND,
    "http": Kind.HTTP,
    "binary": Kind.BINARY,
    "function": Kind.FUNCTION,
}
"""By the set field of TaskSpec's oneof `work`."""

TRIGGER_RULE_NUMBERS: Final = {rule: spec_pb2.TriggerRule.ValueType(n) for n, rule in TRIGGER_RULES.items() if n}
OUTCOME_NUMBERS: Final = {outcome: spec_pb2.Outcome.ValueType(n) for n, outcome in OUTCOMES.items()}
TASK_STATE_NUMBERS: Final = {state: spec_pb2.TaskState.ValueType(n) for n, state in TASK_STATES.items()}
RUN_STATE_NUMBERS: Final = {state: run_pb2.RunState.ValueType(n) for n, state in RUN_STATES.items()}
RUN_TRIGGER_NUMBERS: Final = {trigger: run_pb2.RunTrigger.ValueType(n) for n, trigger in RUN_TRIGGERS.items()}
JOB_STATE_NUMBERS: Final = {state: job_pb2.JobState.ValueType(n) for n, state in JOB_STATES.items()}
JOB_SHAPE_NUMBERS: Final = {shape: job_pb2.JobShape.ValueType(n) for n, shape in JOB_SHAPES.items()}
ROLE_NUMBERS: Final = {role: access_pb2.Role.ValueType(n) for n, role in ROLES.items()}
