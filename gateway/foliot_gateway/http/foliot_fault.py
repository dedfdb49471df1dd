"""What the scheduler's errors mean in HTTP: one table for all APIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.http.fault import Fault, FieldFault
from foliot_gateway.http.reading import sentence

RETRY_AFTER_DEFAULT_S: Final = 1.0
"""What 429 and 503 say when the scheduler names no delay: about what an election takes at most."""

RULE: Final = 0
"""Stands in the tables for the API's own status of a body that breaks a rule."""

_OF_REASON: Final[dict[ErrorReason, tuple[int, str]]] = {
    ErrorReason.INVALID_FIELD: (RULE, "invalid_field"),
    ErrorReason.DEPENDENCY_CYCLE: (RULE, "dependency_cycle"),
    ErrorReason.UNKNOWN_DEPENDENCY: (RULE, "unknown_dependency"),
    ErrorReason.DUPLICATE_KEY: (RULE, "duplicate_id"),
    ErrorReason.NOT_FOUND: (404, "not_found"),
    ErrorReason.WRONG_STATE: (409, "wrong_state"),
    ErrorReason.VERSION_CONFLICT: (409, "version_conflict"),
    ErrorReason.HAS_DEPENDENTS: (409, "has_dependents"),
    ErrorReason.IDEMPOTENCY_MISMATCH: (422, "idempotency_mismatch"),
    ErrorReason.OVERLOADED: (429, "overloaded"),
    ErrorReason.NO_LEADER: (503, "no_leader"),
    ErrorReason.DATABASE_UNAVAILABLE: (503, "database_unavailable"),
    ErrorReason.STALE_LEASE: (409, "stale_lease"),
    ErrorReason.PROTOCOL_VIOLATION: (400, "protocol_violation"),
    ErrorReason.INTERNAL: (500, "internal"),
    ErrorReason.UNAUTHENTICATED: (401, "unauthenticated"),
    ErrorReason.PERMISSION_DENIED: (403, "forbidden"),
}

# Errors without a reason of ours: gRPC's own, and those of proxies in between.
_OF_CODE: Final[dict[grpc.StatusCode, tuple[int, str]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (RULE, "invalid_field"),
    grpc.StatusCode.UNAUTHENTICATED: (401, "unauthenticated"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "forbidden"),
    grpc.StatusCode.NOT_FOUND: (404, "not_found"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "overloaded"),
    grpc.StatusCode.UNAVAILABLE: (503, "unavailable"),
    # As while none leads, and the documented answer to that: a connection that nobody answers may use up the whole time.
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, "timed_out"),
    grpc.StatusCode.UNIMPLEMENTED: (501, "not_implemented"),
}


def translate(error: FoliotError, *, rule_status: int, rename: Callable[[str], str]) -> Fault:
    """Return what an error of the scheduler means to a caller.

    `rename` turns the contract's path of a field (`spec.tasks[0].key`) into the one of the API.
    """
    status, code = _OF_REASON.get(error.reason) or _OF_CODE.get(error.code, (500, "internal"))
    retry_after_s = error.retry_after_s
    if status in {429, 503} and retry_after_s is None:
        retry_after_s = RETRY_AFTER_DEFAULT_S
    fields = tuple(FieldFault(rename(found.field), found.description) for found in error.fields)
    detail = " ".join(sentence(found) for found in fields) if code == "invalid_field" and fields else error.message
    return Fault(
        status=status or rule_status,
        code=code,
        detail=detail,
        fields=fields,
        facts=_facts(error),
        retry_after_s=retry_after_s,
    )


def _facts(error: FoliotError) -> dict[str, object]:
    """Return what the contract's documentation of the reasons says that the metadata holds."""
    metadata = error.metadata
    cut = "truncated" in metadata
    facts: dict[str, object] = {}
    if "path" in metadata:
        facts["path"] = split_keys(metadata["path"], " -> ", cut=cut)
    if "ids" in metadata:
        facts["tasks"] = split_keys(metadata["ids"], ",", cut=cut)
    if metadata.get("version", "").isdigit():
        facts["version"] = int(metadata["version"])
    for name in ("state", "error_id"):
        if name in metadata:
            facts[name] = metadata[name]
    return facts


def split_keys(text: str, separator: str, *, cut: bool) -> list[str]:
    """Return the task keys that a metadata entry lists; `cut` says that it may end inside of one, which is left out."""
    keys = [key for key in text.split(separator) if key]
    return keys[:-1] if cut and len(keys) > 1 else keys
