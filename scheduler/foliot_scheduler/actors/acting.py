"""On whose behalf the running task of the event loop acts.

Set where a call comes in, read where its command is handed to the leader: so that no layer between the two has to hand on what is
none of its business. Parts that act by themselves run in tasks of their own, where nobody is named.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from foliot_scheduler.core.audit import Origin

ORIGIN: Final[ContextVar[Origin | None]] = ContextVar("foliot_origin", default=None)
"""None: nobody's wish."""
