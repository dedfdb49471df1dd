"""Whose wish a call is, for the audit records of what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot_scheduler.actors.acting import ORIGIN
from foliot_scheduler.core.access import ADMINISTER, WRITE, Access
from foliot_scheduler.core.audit import Origin
from foliot_scheduler.core.effects import AuditRecord
from foliot_scheduler.core.types import Micros, Project

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call, MetadataEntries

REQUEST_ID_ENTRY: Final = "foliot-request-id"
"""Metadata entry with the id of the request that a call is made for; a gateway sends that of the HTTP request."""

REQUEST_ID_CHARS_MAX: Final = 128
"""What is kept of it: as much as the gateway takes from its callers."""


def is_audited(access: Access) -> bool:
    """Whether an RPC's changes leave records: those of operators and admins do; what workers report tells of itself."""
    return access in {WRITE, ADMINISTER}


def begin_wish(call: Call, method: str, metadata: MetadataEntries) -> None:
    """Note whose wish the running task carries out from now on."""
    request_id = next((str(value) for key, value in metadata if key == REQUEST_ID_ENTRY), "")
    caller = call.caller
    ORIGIN.set(Origin(caller.subject, caller.role, call.project, method, request_id[:REQUEST_ID_CHARS_MAX]))


def wish_record(clock: Clock, touched: bytes, *, project: Project | None = None) -> AuditRecord | None:
    """Write the record of a change that needs no leader, in the call's project or another; None where nobody asked for it."""
    origin = ORIGIN.get()
    if origin is None:
        return None
    told = origin if project is None else origin._replace(project=project)
    return AuditRecord(clock.uuid7(), Micros(clock.now_us()), *told, 1, touched)
