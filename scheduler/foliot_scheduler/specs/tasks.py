"""TaskSpecs of the contract to TaskPlans of the core: validation, defaults, and a memory of recent ones.

Theory of operation. Bulk submits mostly repeat a spec, so the way is: serialize the spec as it came (0.3 µs), look
the bytes up, and only for unknown ones check every rule and build a plan. The *normal form* of a spec, which is
stored and sent to workers, is the bytes as they came with the missing defaults appended: protobuf lets the fields
of a message be concatenated, so nothing is serialized twice. Plans are immutable and shared by all tasks of one
spec, which also keeps a long queue small.
"""

from __future__ import annotations

from typing import Final

from foliot.v1 import spec_pb2
from foliot_scheduler.core.model import (
    PRIORITY_DEFAULT,
    PRIORITY_HIGHEST,
    ConcurrencyLimit,
    Kind,
    Placement,
    RetryPolicy,
    TaskPlan,
)
from foliot_scheduler.core.types import Span
from foliot_scheduler.specs.enums import KINDS
from foliot_scheduler.specs.retry import ONE_ATTEMPT, check_retry, plan_retry, retry_message
from foliot_scheduler.specs.rules import (
    Violations,
    check_count,
    check_duration,
    check_tags,
    check_text,
    check_timestamp,
    micros_of,
    shown,
    span_of,
)
from foliot_scheduler.specs.work import TIMEOUT_MAX, check_work

NAME_BYTES_MAX: Final = 255
DESCRIPTION_BYTES_MAX: Final = 4 * 1024
QUEUE_BYTES_MAX: Final = 100
LIMITS_MAX: Final = 8
LIMIT_KEY_BYTES_MAX: Final = 255
LABELS_MAX: Final = 16
LABEL_BYTES_MAX: Final = 255
QUEUE_DEFAULT: Final = "default"
TIMEOUT_DEFAULT: Final = Span(3_600_000_000)

_REMEMBERED_MAX: Final = 4_096
"""Specs kept; when they are that many, all are forgotten and the ones in use come back at once."""

_REMEMBERED_BYTES_MAX: Final = 2_048
"""Longer specs are not kept, so the memory stays under 32 MiB whatever is submitted."""

_DEFAULT_PRIORITY: Final = spec_pb2.TaskSpec(priority=PRIORITY_DEFAULT).SerializeToString()
_DEFAULT_QUEUE: Final = spec_pb2.TaskSpec(queue=QUEUE_DEFAULT).SerializeToString()
_DEFAULT_TIMEOUT: Final = bytes([0x32, 0x03, 0x08, 0x90, 0x1C])
assert spec_pb2.TaskSpec.FromString(_DEFAULT_TIMEOUT).timeout.seconds * 1_000_000 == TIMEOUT_DEFAULT

# By whether priority, queue and timeout are missing.
_DEFAULTS: Final = {
    (priority, queue, timeout): _DEFAULT_PRIORITY * priority + _DEFAULT_QUEUE * queue + _DEFAULT_TIMEOUT * timeout
    for priority in (False, True)
    for queue in (False, True)
    for timeout in (False, True)
}


def check_task_spec(path: str, spec: spec_pb2.TaskSpec, violations: Violations, *, named: bool = True) -> None:
    """Hold a spec to every rule of the contract; `named` says that the name is required, as outside of a job."""
    if named or spec.name:
        check_text(f"{path}.name", spec.name, NAME_BYTES_MAX, violations, required=True)
    if not 0 <= spec.priority <= PRIORITY_HIGHEST:
        violations.add(f"{path}.priority", "must be 1 to 10, or 0 for the default, 5", "out_of_range")
    if spec.queue:
        check_text(f"{path}.queue", spec.queue, QUEUE_BYTES_MAX, violations)
    if spec.HasField("timeout"):
        check_duration(f"{path}.timeout", spec.timeout, TIMEOUT_MAX, violations)
    if spec.HasField("retry"):
        check_retry(f"{path}.retry", spec.retry, violations)
    if spec.HasField("start_at"):
        check_timestamp(f"{path}.start_at", spec.start_at, violations)
    work = spec.WhichOneof("work")
    if work is not None:
        check_work(path, spec, work, violations)
    _check_labelling(path, spec, violations)


def _check_labelling(path: str, spec: spec_pb2.TaskSpec, violations: Violations) -> None:
    if spec.description:
        check_text(f"{path}.description", spec.description, DESCRIPTION_BYTES_MAX, violations)
    if spec.tags:
        check_tags(f"{path}.tags", spec.tags, violations)
    if spec.limits:
        _check_limits(f"{path}.limits", spec, violations)
    if spec.labels:
        _check_labels(f"{path}.labels", spec, violations)


def _check_limits(path: str, spec: spec_pb2.TaskSpec, violations: Violations) -> None:
    check_count(path, len(spec.limits), LIMITS_MAX, "limits", violations)
    seen = set()
    for number, limit in enumerate(spec.limits):
        check_text(f"{path}[{number}].key", limit.key, LIMIT_KEY_BYTES_MAX, violations, required=True)
        if limit.max_running < 1:
            violations.add(f"{path}[{number}].max_running", "must be at least 1", "out_of_range")
        if limit.key in seen:
            # A task that counted twice under one key could wait for itself.
            violations.add(f"{path}[{number}].key", "is named twice", "duplicate")
        seen.add(limit.key)


def _check_labels(path: str, spec: spec_pb2.TaskSpec, violations: Violations) -> None:
    check_count(path, len(spec.labels), LABELS_MAX, "labels", violations)
    for name, value in spec.labels.items():
        at = f"{path}[{shown(name)!r}]"
        if not name:
            violations.add(at, "must have a name", "required")
        check_text(at, name, LABEL_BYTES_MAX, violations)
        check_text(at, value, LABEL_BYTES_MAX, violations)


class TaskPlans:
    """Makes plans of specs, and remembers recent ones. For use by one thread."""

    __slots__ = ("_accepted", "_placements", "_stored")

    def __init__(self) -> None:
        self._accepted: dict[bytes, TaskPlan] = {}
        """By the bytes of a checked spec as it came."""
        self._stored: dict[bytes, TaskPlan] = {}
        """By the normal form."""
        self._placements: dict[Placement, Placement] = {}

    def accept(self, path: str, spec: spec_pb2.TaskSpec, violations: Violations, number: int = -1) -> TaskPlan | None:
        """The plan of a task on its own; None, and the violations grown, if it breaks a rule.

        `path` is where the spec stands in the request; a `{}` in it stands for `number`.
        """
        raw = spec.SerializeToString()
        plan = self._accepted.get(raw)
        if plan is None:
            before = len(violations)
            check_task_spec(path.format(number), spec, violations)
            if len(violations) != before:
                return None
            plan = self.build(spec, raw)
            self._remember(self._accepted, raw, plan)
        return plan

    def restore(self, raw: bytes) -> TaskPlan:
        """The plan of a stored spec. Its rules are not checked again: they held when it was accepted."""
        plan = self._stored.get(raw)
        if plan is None:
            plan = self.build(spec_pb2.TaskSpec.FromString(raw), raw)
            self._remember(self._stored, raw, plan)
        return plan

    def build(self, spec: spec_pb2.TaskSpec, raw: bytes, *, name: str = "", retry: RetryPolicy = ONE_ATTEMPT) -> TaskPlan:
        """The plan of a valid spec and its bytes; `name` and `retry` stand in for what the spec leaves out."""
        priority, queue = spec.priority, spec.queue
        has_timeout = spec.HasField("timeout")
        if not (priority and queue and has_timeout):
            raw += _DEFAULTS[not priority, not queue, not has_timeout]
        if spec.HasField("retry"):
            retry = plan_retry(spec.retry)
        elif retry is not ONE_ATTEMPT:
            raw += spec_pb2.TaskSpec(retry=retry_message(retry)).SerializeToString()
        own_name = spec.name
        if not own_name and name:
            raw += spec_pb2.TaskSpec(name=name).SerializeToString()
        kind = KINDS[spec.WhichOneof("work")]
        labels, tags = spec.labels, spec.tags
        placement = Placement(
            queue or QUEUE_DEFAULT,
            kind,
            spec.function.function if kind is Kind.FUNCTION else "",
            tuple(sorted(labels.items())) if labels else (),
        )
        limits = spec.limits
        return TaskPlan(
            own_name or name,
            self._shared(placement),
            priority or PRIORITY_DEFAULT,
            tuple(tags) if tags else (),
            tuple(ConcurrencyLimit(limit.key, limit.max_running) for limit in limits) if limits else (),
            micros_of(spec.start_at) if spec.HasField("start_at") else None,
            span_of(spec.timeout) if has_timeout else TIMEOUT_DEFAULT,
            retry,
            raw,
        )

    def _shared(self, placement: Placement) -> Placement:
        if len(self._placements) >= _REMEMBERED_MAX:
            self._placements.clear()
        return self._placements.setdefault(placement, placement)

    @staticmethod
    def _remember(memory: dict[bytes, TaskPlan], raw: bytes, plan: TaskPlan) -> None:
        if len(raw) <= _REMEMBERED_BYTES_MAX:
            if len(memory) >= _REMEMBERED_MAX:
                memory.clear()
            memory[raw] = plan
