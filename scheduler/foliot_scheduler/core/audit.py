"""Who changed what: the record that a change leaves, when somebody asked for it.

Theory of operation. What the engine does by itself (a schedule fires, a lease runs out) and what workers report follows from rows
that tell of it. What a caller asked for does not: nothing in a cancelled task says who cancelled it. So each command that carries
out a caller's wish leaves a record in the very commit that makes the change. A wish that was refused, or that repeats an earlier
one leaves none. A call that makes many tasks is one wish, and leaves one record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from foliot_scheduler.core.effects import AuditRecord, Refusal, Repeated

if TYPE_CHECKING:
    from foliot_scheduler.core.access import Role
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Micros, Project

IDS_MAX: Final = 100
"""Ids that one record names: a bulk call's first ones. All of a call's tasks are found by the time at which they were made."""

_SUBJECTS: Final = ("task_id", "job_id", "run_id", "webhook_id")
"""What commands call the thing that they are about."""


class Origin(NamedTuple):
    """Whose wish a command carries out."""

    actor: str
    """The API key's id, or the token's subject; empty where nobody had to say who they are."""
    role: Role
    project: Project
    method: str
    """The RPC that was called: Service/Method."""
    request_id: str
    """Of the caller's request, if it names one."""


def record_of(origin: Origin, command: Command, reply: Reply, *, record_id: bytes, now: Micros) -> AuditRecord | None:
    """Write the record of a wish; None for one that was refused or granted before."""
    if isinstance(reply, Refusal | Repeated):
        return None
    ids = _touched(command, reply)
    return AuditRecord(record_id, now, *origin, len(ids), b"".join(ids[:IDS_MAX]))


def _touched(command: Command, reply: Reply) -> list[bytes]:
    if isinstance(reply, list):
        return list(reply)
    made = getattr(reply, "id", None)
    if isinstance(made, bytes):
        return [made]
    return [value for name in _SUBJECTS if isinstance(value := getattr(command, name, None), bytes)]
