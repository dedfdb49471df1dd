"""What the scheduler's errors mean to callers of `chadburn`: its words for the contract's fields, and for what is not shown."""

from __future__ import annotations

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.apis.chadburn.identifiers import JOB
from foliot_gateway.http.fault import Fault
from foliot_gateway.http.field_names import FieldNames
from foliot_gateway.http.foliot_fault import translate

RULE_STATUS = 422
"""The status of a well-formed body that breaks a rule."""

_TASK = "spec.tasks[0].spec"
_NAMES = FieldNames(
    {
        "spec": "",
        "spec.schedule": "schedule",
        "spec.schedule.cron": "schedule",
        f"{_TASK}.command": "",
        f"{_TASK}.command.line": "command",
        f"{_TASK}.timeout": "timeout",
        f"{_TASK}.retry": "retries",
        f"{_TASK}.retry.initial_backoff": "retry_delay",
        f"{_TASK}.retry.max_backoff": "retry_delay",
        "idempotency_key": "Idempotency-Key",
        "job_id": "id",
        "page_size": "limit",
    }
)


def translate_error(error: FoliotError) -> Fault:
    """Return what an error of the scheduler means."""
    fault = translate(error, rule_status=RULE_STATUS, rename=_NAMES.rename)
    if error.reason is ErrorReason.NOT_FOUND:
        return JOB.not_found()
    return fault
