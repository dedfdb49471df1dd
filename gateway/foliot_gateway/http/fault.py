"""Why a request is refused, before any API gives it a shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

NO_FACTS: Mapping[str, object] = {}
"""What a fault carries when there is nothing more to say."""


class FieldFault(msgspec.Struct, frozen=True):
    """One field of the request, and the rule it breaks."""

    field: str
    """Where it is, as the caller wrote it: `tasks[2].priority`, `limit`, a header's name; empty for the whole body."""
    rule: str
    """What it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A refusal in neutral terms; an API's `ErrorShape` turns it into that API's body."""

    status: int
    """The HTTP status."""
    code: str
    """A stable snake_case name of the reason."""
    detail: str
    """A sentence for people. Never carries a secret or a stack trace."""
    fields: tuple[FieldFault, ...] = ()
    """The fields at fault, if any."""
    facts: Mapping[str, object] = field(default_factory=lambda: NO_FACTS)
    """More for programs to read: a cycle's path, the current version, the dependents."""
    retry_after_s: float | None = None
    """When to try again, in seconds; unset: trying again changes nothing."""
    allow: str = ""
    """The methods that the path has, for 405."""

    def headers(self) -> dict[str, str]:
        """Return the response headers that the fault asks for."""
        found: dict[str, str] = {}
        if self.retry_after_s is not None:
            # Retry-After has whole seconds (RFC 9110, 10.2.3), and 0 would invite a busy loop.
            found["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.allow:
            found["allow"] = self.allow
        if self.status == 401:  # noqa: PLR2004 - the one status that RFC 9110 ties to this header
            found["www-authenticate"] = 'ApiKey realm="foliot", Bearer realm="foliot"'
        return found


class FaultError(Exception):
    """Raised by whatever finds a request at fault; answered with the fault in the API's shape."""

    def __init__(self, fault: Fault) -> None:
        """Take the fault to answer."""
        super().__init__(fault.detail)
        self.fault = fault


def refuse(status: int, code: str, detail: str, *fields: FieldFault) -> FaultError:
    """Return the exception for a fault of the request itself, to be raised."""
    return FaultError(Fault(status=status, code=code, detail=detail, fields=fields))


class ErrorShape(Protocol):
    """How one API writes its errors."""

    @property
    def media_type(self) -> str:
        """The content type of an error."""

    @property
    def struct(self) -> type[msgspec.Struct]:
        """The struct of an error's body, for the OpenAPI document."""

    def render(self, fault: Fault, *, instance: str, request_id: str) -> msgspec.Struct:
        """Return the body for a fault of the request to path `instance`."""
