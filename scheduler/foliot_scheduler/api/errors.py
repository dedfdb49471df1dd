"""Failures of all kinds as FoliotErrors: refusals of the core, errors of the store, and bugs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from foliot.kit.errors import ErrorReason, FoliotError, from_rpc_error
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot_scheduler.actors.leader import NO_LEADER_RETRY_S
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.store.errors import StoreError

if TYPE_CHECKING:
    from foliot.kit.clock import Clock

OVERLOADED_RETRY_S: Final = 1.0
"""When to come back to a leader that has too much: about as long as it takes to work off a full mailbox."""

DATABASE_RETRY_S: Final = 1.0
"""When to come back while PostgreSQL is away: a restart takes a few of these."""

_RETRY_S: Final = {
    ErrorReason.OVERLOADED: OVERLOADED_RETRY_S,
    ErrorReason.DATABASE_UNAVAILABLE: DATABASE_RETRY_S,
    ErrorReason.NO_LEADER: NO_LEADER_RETRY_S,
}
_REASONS: Final = {reason.name.lower(): reason for reason in ErrorReason}

# The core speaks of ids by their 32 hexadecimal digits; callers know them as UUIDs.
_RAW_ID: Final = re.compile(r"(?<![0-9a-f-])[0-9a-f]{32}(?![0-9a-f-])")

log = get_logger(__name__)


def refused(refusal: Refusal) -> FoliotError:
    """What a caller is told of a wish that was not granted."""
    reason = _REASONS.get(refusal.reason, ErrorReason.INTERNAL)
    metadata = {key: _RAW_ID.sub(_canonical, value) for key, value in refusal.metadata.items()}
    retry_after_s = _RETRY_S.get(reason) if refusal.retry_after is None else refusal.retry_after / 1e6
    return FoliotError(reason, refusal.message, metadata=metadata, retry_after_s=retry_after_s)


def _canonical(found: re.Match[str]) -> str:
    return format_uuid(bytes.fromhex(found[0]))


def to_foliot_error(error: Exception, *, method: str, clock: Clock) -> FoliotError:
    """What a caller is told of whatever a call raised; a bug is logged here, once, with an id that the caller is given."""
    match error:
        case FoliotError():
            return error
        case Refusal():
            return refused(error)
        case StoreError() if error.reason != "internal":
            reason = _REASONS[error.reason]
            return FoliotError(reason, _STORE_MESSAGES[reason], retry_after_s=_RETRY_S[reason])
        case grpc.aio.AioRpcError():
            return from_rpc_error(error)
        case TimeoutError():
            code = grpc.StatusCode.DEADLINE_EXCEEDED
            return FoliotError(ErrorReason.UNSPECIFIED, "the call took too long", code=code)
        case _:
            error_id = clock.uuid7().hex()
            log.error("api.call_failed", method=method, error_id=error_id, exc_info=error)
            message = f"an internal error, found in the scheduler's log under {error_id}"
            return FoliotError(ErrorReason.INTERNAL, message, metadata={"error_id": error_id})


# The store's own texts may name hosts and tables; they go to the log of whoever lost the connection.
_STORE_MESSAGES: Final = {
    ErrorReason.DATABASE_UNAVAILABLE: "PostgreSQL does not answer",
    ErrorReason.OVERLOADED: "PostgreSQL has no connection free",
    ErrorReason.NO_LEADER: "the leader was replaced before it could answer",
}
