"""Who calls: what every call's metadata says. The one place that reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from foliot.kit.errors import FoliotError
from foliot_scheduler.core.types import DEFAULT_PROJECT, Project

if TYPE_CHECKING:
    from foliot_scheduler.api.ports import ServicerContext

PROJECT_ENTRY: Final = "foliot-project"
"""Metadata entry that names the project."""

FORWARDED_ENTRY: Final = "foliot-forwarded"
"""Metadata entry of a call that another replica passed on; it is not passed on again."""

PROJECT_CHARS_MAX: Final = 100

MetadataEntries = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """What a service knows of its caller."""

    project: Project
    """Everything the call sees or makes belongs to it."""
    forwarded: bool = False
    """Whether another replica passed it on."""


_DEFAULT: Final = Call(DEFAULT_PROJECT)


def remaining_s(context: ServicerContext) -> float | None:
    """What is left of a call's deadline; None if it has none, which gRPC's stubs do not say."""
    return cast("float | None", context.time_remaining())


def read_call(metadata: MetadataEntries | None) -> Call:
    """Read a call's metadata. Raises FoliotError for what breaks a rule."""
    project, forwarded = "", False
    for key, value in metadata or ():
        if key == PROJECT_ENTRY and isinstance(value, str):
            project = value
        elif key == FORWARDED_ENTRY:
            forwarded = True
    if len(project) > PROJECT_CHARS_MAX:
        raise FoliotError.invalid(PROJECT_ENTRY, f"must be at most {PROJECT_CHARS_MAX} characters", rule="too_long")
    if not project and not forwarded:
        return _DEFAULT
    return Call(Project(project) if project else DEFAULT_PROJECT, forwarded)
