from __future__ import annotations

import msgspec
import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2
from foliot_gateway.apis.queue.errors import ContextShape, rename, translate_error
from foliot_gateway.apis.queue.words import ATTEMPT_STATUS, PRIORITIES, PRIORITY, STATUS
from foliot_gateway.http.fault import Fault, FieldFault

JOB_ID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("task.spec.name", "type"),
        ("task.spec.binary.url", "binary_url"),
        ("task.spec.binary.arguments[2]", "arguments[2]"),
        ("task.spec.binary.environment['A.B']", "env_variables['A.B']"),
        ("tasks[731].spec.binary.sha256", "[731].binary_sha256"),
        ("tasks[3].spec.name", "[3].type"),
        ("tasks[3]", "[3]"),
        ("tasks", ""),
        ("filter.name", "type"),
        ("executor_address", "executor_ip"),
        ("error", "error_message"),
        ("task_ids[4]", "job_ids[4]"),
        ("idempotency_key", "Idempotency-Key"),
        ("offset", "offset"),
    ],
)
def test_fields_have_the_names_of_this_api(path: str, shown: str) -> None:
    assert rename(path) == shown


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (ErrorReason.INVALID_FIELD, 400, "invalid_field"),
        (ErrorReason.WRONG_STATE, 400, "wrong_state"),
        (ErrorReason.STALE_LEASE, 400, "wrong_executor"),
        (ErrorReason.NOT_FOUND, 404, "not_found"),
        (ErrorReason.IDEMPOTENCY_MISMATCH, 422, "idempotency_mismatch"),
        (ErrorReason.OVERLOADED, 429, "overloaded"),
        (ErrorReason.NO_LEADER, 503, "no_leader"),
    ],
)
def test_errors_of_the_scheduler_have_the_documented_statuses(reason: ErrorReason, status: int, code: str) -> None:
    fault = translate_error(FoliotError(reason, "why"))
    assert (fault.status, fault.code) == (status, code)


def test_a_job_in_the_wrong_state_is_told_by_its_status() -> None:
    fault = translate_error(FoliotError(ErrorReason.WRONG_STATE, "it is succeeded", metadata={"state": "succeeded"}))
    shown = msgspec.to_builtins(ContextShape().render(fault, instance=f"/api/v1/jobs/{JOB_ID}/fail", request_id="r"))
    assert shown == {
        "error": "The job's state does not allow it: it is completed.",
        "context": {"code": "wrong_state", "job_id": JOB_ID, "status": "completed"},
    }


def test_the_context_names_the_fields() -> None:
    fields = (FieldFault("[3].type", "is required"), FieldFault("[4].type", "is required"))
    fault = Fault(status=400, code="invalid_field", detail="Two are missing.", fields=fields)
    shown = msgspec.to_builtins(ContextShape().render(fault, instance="/api/v1/jobs/bulk", request_id="r"))
    assert shown == {
        "error": "Two are missing.",
        "context": {
            "code": "invalid_field",
            "field": "[3].type",
            "fields": [{"field": "[3].type", "rule": "is required"}, {"field": "[4].type", "rule": "is required"}],
        },
    }


def test_every_state_outcome_and_priority_has_a_word() -> None:
    assert set(STATUS) == set(spec_pb2.TaskState.values()) - {spec_pb2.TASK_STATE_UNSPECIFIED}
    assert set(ATTEMPT_STATUS) == set(spec_pb2.Outcome.values())
    assert sorted(PRIORITY) == list(range(1, 11))
    assert [numbers[0] for numbers in PRIORITIES.values()] == [9, 5, 2]
