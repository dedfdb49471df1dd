"""Partial updates: the fields that a caller names, carried from its message into the stored one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, TypeVar

from google.protobuf.message import Message

from foliot_scheduler.specs.rules import Violations

MessageT = TypeVar("MessageT", bound=Message)

JOB_FIELDS: Final = frozenset({"name", "description", "schedule", "tasks", "retry", "metadata_json", "tags", "max_active_runs"})
"""What UpdateJob may name."""

SPEC_FIELDS: Final = frozenset(
    {
        "name", "description", "tags", "priority", "queue", "timeout", "retry", "start_at", "checkpoint_enabled",
        "limits", "labels", "work",
    }
)  # fmt: skip
"""What UpdateTask may name of the spec; `work` stands for whichever kind of work is set."""

TASK_FIELDS: Final = SPEC_FIELDS | {"dependencies", "trigger_rule"}
"""What UpdateTask may name."""

LABELLING_FIELDS: Final = frozenset({"tags", "description"})
"""What may change at any time, ended tasks included."""


def check_update_fields(names: Collection[str], allowed: Collection[str], violations: Violations) -> None:
    """Hold `update_fields` to at least one, all of them known."""
    if not names:
        violations.add("update_fields", "must name at least one field", "required")
    for number, name in enumerate(names):
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            violations.add(f"update_fields[{number}]", f"must be one of {known}", "not_one_of")


def copy_fields(target: MessageT, source: MessageT, names: Iterable[str]) -> None:
    """Make the named fields of `target` equal those of `source`; a name may be that of a oneof."""
    descriptor = target.DESCRIPTOR
    for name in names:
        if name in descriptor.oneofs_by_name:
            target.ClearField(name)
            member = source.WhichOneof(name)
            if member is not None:
                getattr(target, member).CopyFrom(getattr(source, member))
        else:
            _copy_field(target, source, name)


def _copy_field(target: Message, source: Message, name: str) -> None:
    field = target.DESCRIPTOR.fields_by_name[name]
    target.ClearField(name)
    if field.is_repeated:
        getattr(target, name).MergeFrom(getattr(source, name))
    elif field.message_type is not None:
        if source.HasField(name):
            getattr(target, name).CopyFrom(getattr(source, name))
    else:
        setattr(target, name, getattr(source, name))
