"""Failures as all processes see them: one exception, one table of statuses, one encoding.

A `FoliotError` crosses gRPC as a google.rpc.Status in the trailing metadata entry `grpc-status-details-bin`: an
ErrorInfo of domain "foliot" whose reason is the name of an `ErrorReason` of the contract, a BadRequest when fields are
at fault, and a RetryInfo when it is worth trying again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, cast

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # its package ships no stubs

from foliot.v1 import error_pb2

DOMAIN: Final = "foliot"
"""Domain of the ErrorInfo that marks an error as ours."""

STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata entry that carries the google.rpc.Status (gRPC's convention for rich errors)."""


NOT_TAKEN: Final = "not_taken"
"""Metadata entry, "true", of a NO_LEADER of which it is certain that the call has had no effect and will have none."""


class ErrorReason(enum.IntEnum):
    """Why a call failed; the contract's `foliot.v1.ErrorReason` under shorter names. See there for what each means."""

    UNSPECIFIED = error_pb2.ERROR_REASON_UNSPECIFIED
    INVALID_FIELD = error_pb2.ERROR_REASON_INVALID_FIELD
    DEPENDENCY_CYCLE = error_pb2.ERROR_REASON_DEPENDENCY_CYCLE
    UNKNOWN_DEPENDENCY = error_pb2.ERROR_REASON_UNKNOWN_DEPENDENCY
    DUPLICATE_KEY = error_pb2.ERROR_REASON_DUPLICATE_KEY
    NOT_FOUND = error_pb2.ERROR_REASON_NOT_FOUND
    WRONG_STATE = error_pb2.ERROR_REASON_WRONG_STATE
    VERSION_CONFLICT = error_pb2.ERROR_REASON_VERSION_CONFLICT
    HAS_DEPENDENTS = error_pb2.ERROR_REASON_HAS_DEPENDENTS
    IDEMPOTENCY_MISMATCH = error_pb2.ERROR_REASON_IDEMPOTENCY_MISMATCH
    OVERLOADED = error_pb2.ERROR_REASON_OVERLOADED
    NO_LEADER = error_pb2.ERROR_REASON_NO_LEADER
    DATABASE_UNAVAILABLE = error_pb2.ERROR_REASON_DATABASE_UNAVAILABLE
    STALE_LEASE = error_pb2.ERROR_REASON_STALE_LEASE
    PROTOCOL_VIOLATION = error_pb2.ERROR_REASON_PROTOCOL_VIOLATION
    INTERNAL = error_pb2.ERROR_REASON_INTERNAL
    UNAUTHENTICATED = error_pb2.ERROR_REASON_UNAUTHENTICATED
    PERMISSION_DENIED = error_pb2.ERROR_REASON_PERMISSION_DENIED


STATUS_OF_REASON: Final[Mapping[ErrorReason, grpc.StatusCode]] = {
    ErrorReason.UNSPECIFIED: grpc.StatusCode.UNKNOWN,
    ErrorReason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.DEPENDENCY_CYCLE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.UNKNOWN_DEPENDENCY: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.DUPLICATE_KEY: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.WRONG_STATE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.VERSION_CONFLICT: grpc.StatusCode.ABORTED,
    ErrorReason.HAS_DEPENDENTS: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.IDEMPOTENCY_MISMATCH: grpc.StatusCode.ALREADY_EXISTS,
    ErrorReason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.NO_LEADER: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.DATABASE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.STALE_LEASE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.PROTOCOL_VIOLATION: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.INTERNAL: grpc.StatusCode.INTERNAL,
    ErrorReason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorReason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
}
"""The status of each reason, as the contract states it."""

# What an error without our details stands for: the connection broke, or the server's code raised something unexpected.
# Other statuses keep their code and have no reason of ours.
_REASON_OF_FOREIGN_STATUS: Final[Mapping[grpc.StatusCode, ErrorReason]] = {
    grpc.StatusCode.UNAVAILABLE: ErrorReason.NO_LEADER,
    grpc.StatusCode.INTERNAL: ErrorReason.INTERNAL,
    grpc.StatusCode.UNKNOWN: ErrorReason.INTERNAL,
    # A proxy in front may check credentials too.
    grpc.StatusCode.UNAUTHENTICATED: ErrorReason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorReason.PERMISSION_DENIED,
}

_CODE_OF_NUMBER: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

# gRPC refuses header blocks over 8 KiB by default, and the status travels in one: a request with thousands of bad
# fields must still get its answer.
_VIOLATIONS_MAX: Final = 20
_TEXT_CHARS_MAX: Final = 1_000
_STATUS_BYTES_MAX: Final = 6_000


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request that breaks a rule."""

    field: str
    """Path of the field in the request, such as `task.spec.timeout` or `tasks[3].key`."""

    description: str
    """The rule and how it is broken, for people."""

    rule: str = ""
    """Stable name of the rule in snake_case, such as `required` or `too_long`; may be empty."""


class FoliotError(Exception):
    """A call failed in a way that the contract names.

    `message` is one sentence for people. `fields` are the bad fields of the request, `metadata` the facts that the
    contract names for the reason. `retry_after_s` says in how many seconds it is worth trying again. `code` follows
    from the reason and is given only for statuses that came from elsewhere and that have no reason of ours, such as
    DEADLINE_EXCEEDED.
    """

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        fields: Iterable[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fields = list(fields)
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.code = STATUS_OF_REASON[reason] if code is None else code

    def __repr__(self) -> str:
        return f"FoliotError({self.reason.name}, {self.message!r})"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle their positional arguments only; a process pool sends errors back pickled.
        return (_rebuild, (self.reason, self.message, self.fields, self.metadata, self.retry_after_s, self.code))

    @classmethod
    def invalid(cls, field: str, description: str, *, rule: str = "") -> FoliotError:
        """Make the error of one bad field."""
        return cls(
            ErrorReason.INVALID_FIELD,
            f"{field}: {description}",
            fields=[FieldViolation(field, description, rule)],
        )


def _rebuild(  # noqa: PLR0917 -- __reduce__ gives arguments by position
    reason: ErrorReason,
    message: str,
    fields: list[FieldViolation],
    metadata: dict[str, str],
    retry_after_s: float | None,
    code: grpc.StatusCode,
) -> FoliotError:
    return FoliotError(reason, message, fields=fields, metadata=metadata, retry_after_s=retry_after_s, code=code)


def to_rpc_status(error: FoliotError) -> status_pb2.Status:
    """Encode an error as a google.rpc.Status.

    At most 20 field violations and 1,000 characters of each text are kept, and less if the whole would still not fit a
    header block; the metadata entry `truncated` then says "true".
    """
    violations_max, text_max = _VIOLATIONS_MAX, _TEXT_CHARS_MAX
    status = _encode(error, violations_max, text_max)
    while status.ByteSize() > _STATUS_BYTES_MAX and text_max > 1:
        violations_max, text_max = max(1, violations_max // 2), text_max // 2
        status = _encode(error, violations_max, text_max)
    return status


def _encode(error: FoliotError, violations_max: int, text_max: int) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(
        reason=error_pb2.ErrorReason.Name(error_pb2.ErrorReason.ValueType(error.reason)), domain=DOMAIN
    )
    cut = len(error.fields) > violations_max
    for key, value in error.metadata.items():
        info.metadata[key] = value[:text_max]
        cut = cut or len(value) > text_max
    if cut:
        info.metadata["truncated"] = "true"
    status = status_pb2.Status(code=error.code.value[0], message=error.message[:text_max])
    status.details.add().Pack(info)
    if error.fields:
        bad = error_details_pb2.BadRequest()
        for violation in error.fields[:violations_max]:
            bad.field_violations.add(
                field=violation.field[:text_max],
                description=violation.description[:text_max],
                reason=violation.rule,
            )
        status.details.add().Pack(bad)
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(round(error.retry_after_s * 1_000_000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_rpc_status(status: status_pb2.Status) -> FoliotError:
    """Decode a google.rpc.Status; one without an ErrorInfo of ours is judged by its code."""
    code = _CODE_OF_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    reason: ErrorReason | None = None
    metadata: dict[str, str] = {}
    fields: list[FieldViolation] = []
    retry_after_s: float | None = None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason, metadata = _reason_named(info.reason), dict(info.metadata)
        elif detail.Unpack(bad):
            fields = [FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMicroseconds() / 1_000_000
    if reason is None:
        reason = _REASON_OF_FOREIGN_STATUS.get(code, ErrorReason.UNSPECIFIED)
    return FoliotError(reason, status.message, fields=fields, metadata=metadata, retry_after_s=retry_after_s, code=code)


def _reason_named(name: str) -> ErrorReason:
    """Find a reason by the contract's name; one that a newer server made up is unspecified."""
    return ErrorReason.__members__.get(name.removeprefix("ERROR_REASON_"), ErrorReason.UNSPECIFIED)


def from_rpc_error(error: grpc.RpcError) -> FoliotError:
    """Translate what a gRPC call raised (`grpc.aio.AioRpcError` or the synchronous kind)."""
    code = error.code()
    # The stubs describe an entry as an object of their own; both kinds of error give pairs.
    for key, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                return from_rpc_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break  # the code and the message still say something
    if code is grpc.StatusCode.CANCELLED:
        # Not by the caller, to whom gRPC raises CancelledError: a server does this to calls when it has to end.
        return server_cancelled()
    message = error.details() or code.name
    return from_rpc_status(status_pb2.Status(code=code.value[0], message=message))


def server_cancelled() -> FoliotError:
    """Make the error of a call that the server gave up, as one does that shuts down."""
    return FoliotError(ErrorReason.NO_LEADER, "the server cancelled the call")


async def abort(context: grpc.aio.ServicerContext[object, object], error: FoliotError) -> NoReturn:
    """End a served call with an error: what every service of ours calls, in one place (the interceptor)."""
    status = to_rpc_status(error)
    await context.abort(error.code, status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),))
