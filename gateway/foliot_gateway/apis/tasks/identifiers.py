"""The identifiers that `tasks` shows. A worker's is the worker's own name for itself."""

from __future__ import annotations

from typing import Final

from foliot_gateway.http.identifiers import IdKind

TASK: Final = IdKind(prefix="task-", noun="task")
WEBHOOK: Final = IdKind(prefix="webhook-", noun="webhook")
DELIVERY: Final = IdKind(prefix="", noun="delivery")
