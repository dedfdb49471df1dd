"""Answers of earlier requests: what an idempotency key stands for in PostgreSQL.

The leader remembers the keys of its last minutes and settles races between two uses of one; older keys, and those
of another leader's term, are found here before the command is sent. A key that its client made for the call is not looked
up: that would be a millisecond of the way from a submission to its start. Should a client lie, the later call is granted too,
and its answer takes the place of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.types import HOUR, MINUTE, Span
from foliot_scheduler.store import reads

if TYPE_CHECKING:
    from foliot_scheduler.core.commands import Once
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.reads import Reader

ID_BYTES: Final = 16

KEPT: Final = Span(24 * HOUR + MINUTE)
"""How long a key stands for its first request: the 24 hours that the contract says, and what a call and the leader's clock may
need besides until the commit finds the key to have run out too."""


def created_ids(repeated: Repeated) -> list[bytes]:
    """The ids of what the first request created."""
    return [repeated.ids[at : at + ID_BYTES] for at in range(0, len(repeated.ids), ID_BYTES)]


async def find_repeated(reader: Reader, project: Project, once: Once | None) -> Repeated | None:
    """Find what the first request with the key created; None if this is the first.

    Raises FoliotError IDEMPOTENCY_MISMATCH if that request was another one.
    """
    if once is None or once.is_new:
        return None
    answer = await reads.find_answer(reader, project, once.key, within=KEPT)
    if answer is None:
        return None
    if answer.digest != once.digest:
        raise FoliotError(ErrorReason.IDEMPOTENCY_MISMATCH, "the idempotency key was used with another request")
    return Repeated(b"".join(answer.ids))
