"""What the scheduler's errors mean to callers of `schedules`: its words for the contract's fields and states."""

from __future__ import annotations

from dataclasses import replace

from foliot.kit.errors import FoliotError
from foliot_gateway.http.fault import Fault
from foliot_gateway.http.field_names import FieldNames
from foliot_gateway.http.foliot_fault import translate

RULE_STATUS = 422
"""The status of a well-formed body that breaks a rule."""

_TASK = "spec.tasks[0].spec"
_NAMES = FieldNames(
    {
        "spec": "",
        "spec.schedule": "",
        "spec.schedule.max_jitter": "max_jitter_ms",
        f"{_TASK}.http": "target",
        f"{_TASK}.http.bearer_secret": "target.auth.ref",
        f"{_TASK}.http.request_timeout": "target.timeout_ms",
        f"{_TASK}.retry": "retry",
        f"{_TASK}.retry.initial_backoff": "retry.backoff_ms",
        f"{_TASK}.retry.max_backoff": "retry.max_backoff_ms",
        "foliot-project": "project_id",
        "idempotency_key": "Idempotency-Key",
        "job_id": "schedule_id",
        "page_size": "limit",
        "page_token": "cursor",
    }
)
_PARAMETERS = frozenset({"cursor", "limit"})


def translate_error(error: FoliotError) -> Fault:
    """Return what an error of the scheduler means."""
    fault = translate(error, rule_status=RULE_STATUS, rename=_NAMES.rename)
    if fault.fields and all(found.field in _PARAMETERS for found in fault.fields):
        return replace(fault, status=400, code="invalid_parameter")
    return fault
