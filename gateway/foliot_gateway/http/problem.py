"""RFC 9457 problem details: the error shape of `dag_jobs`, `schedules` and the gateway's own paths."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from foliot_gateway.http.fault import Fault, FieldFault


class ProblemField(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of the request that breaks a rule."""

    field: Annotated[
        str, Meta(description="Where it is: `tasks[2].priority`, a parameter or a header; empty for the whole body.")
    ]
    rule: Annotated[str, Meta(description="What it must be.")]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Why the request was refused (RFC 9457)."""

    type: Annotated[str, Meta(description="The reason, stable: `urn:foliot:problem:` and its name.")]
    title: Annotated[str, Meta(description="The reason in words; the same for every problem of the type.")]
    status: Annotated[int, Meta(description="The HTTP status.", ge=400, le=599)]
    detail: Annotated[str, Meta(description="What is wrong with this request.")]
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    request_id: Annotated[str, Meta(description="The request's id, as in the `X-Request-Id` header.")]
    errors: Annotated[list[ProblemField], Meta(description="The fields at fault, if any.")] = []
    path: Annotated[
        list[str],
        Meta(
            description="For a dependency cycle: the ids of its tasks, each of which waits for the next, the first one again "
            "last; of a very long one the beginning."
        ),
    ] = []
    tasks: Annotated[list[str], Meta(description="The task ids at fault: duplicates, unknown dependencies, or dependents.")] = []
    version: Annotated[int | None, Meta(description="For a version conflict: the current version.")] = None
    state: Annotated[str, Meta(description="For a state conflict: the state.")] = ""
    error_id: Annotated[str, Meta(description="For an internal error: finds it in the log.")] = ""


class ProblemShape:
    """Writes faults as `application/problem+json`."""

    media_type = "application/problem+json"
    struct = Problem

    def render(self, fault: Fault, *, instance: str, request_id: str) -> Problem:
        """Return the problem for a fault of the request to path `instance`."""
        known = {name: value for name, value in fault.facts.items() if name in _FACTS}
        shown = msgspec.convert(known, _Facts)
        return Problem(
            type=f"urn:foliot:problem:{fault.code.replace('_', '-')}",
            title=fault.code.replace("_", " ").capitalize() if fault.code else HTTPStatus(fault.status).phrase,
            status=fault.status,
            detail=fault.detail,
            instance=instance,
            request_id=request_id,
            errors=[_shown(found) for found in fault.fields],
            path=shown.path,
            tasks=shown.tasks,
            version=shown.version,
            state=shown.state,
            error_id=shown.error_id,
        )


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a fault that a problem has members for."""

    path: list[str] = []
    tasks: list[str] = []
    version: int | None = None
    state: str = ""
    error_id: str = ""


_FACTS = frozenset(_Facts.__struct_fields__)


def _shown(found: FieldFault) -> ProblemField:
    return ProblemField(field=found.field, rule=found.rule)
