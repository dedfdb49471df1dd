"""The error shape of `tasks` and `chadburn`: `{"error": {"code", "message", "details"}}`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.http.fault import Fault, FieldFault


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """More about an error, for programs."""

    fields: Annotated[
        list[FieldFault], Meta(description="The fields at fault, if any: where each is, and the rule it breaks.")
    ] = []
    path: Annotated[
        list[str],
        Meta(
            description="For a dependency cycle: the ids of its tasks, each of which waits for the next, the first one again "
            "last; of a very long one the beginning."
        ),
    ] = []
    tasks: Annotated[list[str], Meta(description="The ids of tasks at fault: unknown dependencies, or dependents.")] = []
    version: Annotated[int | UnsetType, Meta(description="For a version conflict: the current version.")] = UNSET
    state: Annotated[str, Meta(description="For a state conflict: the state.")] = ""
    error_id: Annotated[str, Meta(description="For an internal error: finds it in the log.")] = ""


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why the request was refused."""

    code: Annotated[str, Meta(description="The reason, stable, snake_case.")]
    message: Annotated[str, Meta(description="What is wrong with this request, for people.")]
    details: ErrorDetails | UnsetType = UNSET


class ErrorEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error."""

    error: ErrorObject


class EnvelopeShape:
    """Writes faults as `{"error": {"code", "message", "details"}}`."""

    media_type = "application/json"
    struct = ErrorEnvelope

    def render(self, fault: Fault, *, instance: str, request_id: str) -> ErrorEnvelope:  # noqa: ARG002 - the shape has no place for them
        """Return the body for a fault."""
        known = {name: value for name, value in fault.facts.items() if name in _FACTS}
        shown = msgspec.convert({**known, "fields": fault.fields}, ErrorDetails) if known or fault.fields else UNSET
        return ErrorEnvelope(error=ErrorObject(code=fault.code, message=fault.detail, details=shown))


_FACTS = frozenset(ErrorDetails.__struct_fields__) - {"fields"}
