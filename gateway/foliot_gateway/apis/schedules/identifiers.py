"""Identifiers as `schedules` shows them: a prefix, a UUID, and the project where it is not the default one.

This API's callers name a project when they create or list, and never again: where authentication is off, nothing but the
id can say which project is meant. Where it is on, the scheduler refuses an id of another project than the caller's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.identifiers import IdKind

DEFAULT_PROJECT: Final = "default"
"""The contract's project of callers who name none."""
PROJECT_PATTERN: Final = "^[A-Za-z0-9._~@-]{1,100}$"
"""What a project's name may be here: what stands in a path without being escaped; the scheduler's own rule."""

SCHEDULE: Final = IdKind(prefix="sch_", noun="schedule")
RUN: Final = IdKind(prefix="run_", noun="run")

_SEPARATOR: Final = "."
_PROJECT: Final = re.compile(PROJECT_PATTERN)


@dataclass(frozen=True, slots=True)
class Reference:
    """What an id names."""

    uuid: str
    project: str
    """Empty: the caller's own."""


def shown(kind: IdKind, uuid: str, project: str) -> str:
    """Return the id of what has this UUID in this project."""
    bare = kind.shown(uuid)
    # Other names are of credentials made before there was this rule, whose callers need none in the id.
    return f"{bare}{_SEPARATOR}{project}" if project != DEFAULT_PROJECT and _PROJECT.match(project) else bare


def read(kind: IdKind, given: str) -> Reference:
    """Return what an id names; raises FaultError 404 for what is no id of this kind."""
    bare, separator, project = given.partition(_SEPARATOR)
    found = Reference(kind.uuid(bare), project)
    if separator and shown(kind, found.uuid, project) != given:
        raise FaultError(kind.not_found())  # an id has one spelling
    return found
