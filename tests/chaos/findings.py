"""What the checker says: promises, and how they were broken."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Promise(enum.StrEnum):
    """What can be broken; the values are how reports name it."""

    LOST = "lost or never ended"
    EFFECT = "done twice for one key"
    TWICE = "attempts recorded twice or not at all"
    RECORD = "records that no body agrees with"
    HOLDER = "two holders at once"
    ORDER = "started before what it waits for"
    FIRE = "due times missed or doubled"
    LATE = "fires too late"
    CHECKPOINT = "confirmed checkpoints not given"
    CANCELLED = "cancelled and not so"


class Violation(NamedTuple):
    """One broken promise."""

    promise: Promise
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"
