"""What the scheduler's errors mean to callers of `tasks`: its words for the contract's fields and states, and its ids."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.apis.tasks.identifiers import TASK
from foliot_gateway.apis.tasks.words import STATUS_OF_NAME
from foliot_gateway.http.fault import Fault
from foliot_gateway.http.foliot_fault import translate

RULE_STATUS: Final = 422
"""The status of a well-formed body that breaks a rule."""

_UUID: Final = re.compile(r"(?<![0-9A-Za-z-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9A-Za-z-])")
# Parts of the contract's paths that this API has no level for.
_DROPPED: Final = frozenset({"task", "spec", "filter", "webhook"})
_NAMES: Final = {
    "checkpoint_json": "checkpoint_data",
    "command.line": "",
    "idempotency_key": "Idempotency-Key",
    "page_size": "limit",
    "retry": "",
    "retry.max_attempts": "max_retries",
    "start_at": "scheduled_at",
    "states": "status",
    "task_id": "id",
    "timeout": "timeout_seconds",
    "update_fields": "",
    "webhook_id": "id",
}


def rename(path: str) -> str:
    """Return the name in this API of a field of the contract: `task.spec.start_at` is `scheduled_at`."""
    shown: list[str] = []
    before = ""
    for segment in path.split("."):
        name, bracket, rest = segment.partition("[")
        if segment in _DROPPED:
            continue
        new = _NAMES.get(f"{before}.{name}", _NAMES.get(name, name))
        before = name
        if new:
            shown.append(new + bracket + rest)
    return ".".join(shown)


def translate_error(error: FoliotError) -> Fault:
    """Return what an error of the scheduler means."""
    fault = translate(error, rule_status=RULE_STATUS, rename=rename)
    if not fault.facts:
        return fault
    facts = dict(fault.facts)
    detail = fault.detail
    for name in ("path", "tasks"):
        if name in facts:
            facts[name] = [shown_ids(key) for key in fault.facts[name]]  # type: ignore[attr-defined]  # lists, by `translate`
            detail = shown_ids(detail)
    state = error.metadata.get("state", "")
    if error.reason is ErrorReason.WRONG_STATE and state in STATUS_OF_NAME:
        facts["state"] = STATUS_OF_NAME[state]
        detail = re.sub(rf"\b{state}\b", STATUS_OF_NAME[state], detail)
    return dataclasses.replace(fault, facts=facts, detail=detail)


def shown_ids(text: str) -> str:
    """Return a text of the scheduler with the UUIDs of tasks in it as this API shows them."""
    return _UUID.sub(lambda found: TASK.shown(found[0]), text)
