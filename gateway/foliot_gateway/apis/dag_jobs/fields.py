"""What the scheduler's errors mean to callers of `dag_jobs`: its words for the contract's fields, and for deleted jobs."""

from __future__ import annotations

import re

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.apis.dag_jobs.identifiers import JOB
from foliot_gateway.http.fault import Fault
from foliot_gateway.http.foliot_fault import translate

RULE_STATUS = 422
"""The status of a well-formed body that breaks a rule."""

_SEGMENT = re.compile(r"(?P<name>[A-Za-z0-9_]+)(?P<rest>.*)", re.DOTALL)
# Parts of the contract's paths that this API has no level for.
_DROPPED = frozenset({"spec", "task", "job"})
_NAMES = {
    "bearer_secret": "bearerSecret",
    "cron": "",
    "function.function": "name",
    "idempotency_key": "Idempotency-Key",
    "initial_backoff": "backoffSeconds",
    "input_json": "input",
    "job_id": "id",
    "key": "id",
    "max_attempts": "maxRetries",
    "max_backoff": "maxBackoffSeconds",
    "metadata_json": "metadata",
    "multiplier": "backoffMultiplier",
    "page_size": "limit",
    "request_timeout": "timeoutSeconds",
    "retry": "retryPolicy",
    "retry_on": "type",
    "timeout": "timeoutSeconds",
    "trigger_rule": "triggerRule",
    "working_directory": "workingDirectory",
}


def rename(path: str) -> str:
    """Return the name in this API of a field of the contract: `spec.tasks[0].spec.timeout` is `tasks[0].timeoutSeconds`."""
    if path.endswith("schedule.timezone"):
        return "timezone"
    shown: list[str] = []
    before = ""
    # A map's key stands in brackets and may hold dots: what is in brackets is not taken apart.
    for segment in re.findall(r"(?:\[[^\]]*\]|[^.\[])+", path):
        found = _SEGMENT.fullmatch(segment)
        if found is None or segment in _DROPPED:
            continue
        name = found["name"]
        new = _NAMES.get(f"{before}.{name}", _NAMES.get(name, name))
        before = name
        if new:
            shown.append(new + found["rest"])
    return ".".join(shown)


def translate_error(error: FoliotError) -> Fault:
    """Return what an error of the scheduler means."""
    fault = translate(error, rule_status=RULE_STATUS, rename=rename)
    if error.reason is ErrorReason.WRONG_STATE and "DELETED" in error.metadata.get("state", "").upper():
        return JOB.not_found()
    return fault
