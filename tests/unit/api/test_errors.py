"""Failures of all kinds as the contract's errors."""

from __future__ import annotations

import grpc
import pytest
import structlog.testing

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.api.errors import to_foliot_error
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.store.errors import ConflictError, Fenced, StoreUnavailable


def translated(error: Exception) -> FoliotError:
    return to_foliot_error(error, method="foliot.v1.JobService.GetJob", clock=ManualClock())


REFUSALS = [
    ("wrong_state", grpc.StatusCode.FAILED_PRECONDITION),
    ("version_conflict", grpc.StatusCode.ABORTED),
    ("not_found", grpc.StatusCode.NOT_FOUND),
    ("unknown_dependency", grpc.StatusCode.INVALID_ARGUMENT),
    ("dependency_cycle", grpc.StatusCode.INVALID_ARGUMENT),
    ("idempotency_mismatch", grpc.StatusCode.ALREADY_EXISTS),
    ("overloaded", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ("stale_lease", grpc.StatusCode.FAILED_PRECONDITION),
    ("has_dependents", grpc.StatusCode.FAILED_PRECONDITION),
]


@pytest.mark.parametrize(("reason", "code"), REFUSALS)
def test_refusals_keep_their_reason_and_facts(reason: str, code: grpc.StatusCode) -> None:
    error = translated(Refusal(reason, "why", {"state": "running"}))
    assert (error.reason.name.lower(), error.code, error.message) == (reason, code, "why")
    assert error.metadata == {"state": "running"}


def test_overload_says_when_to_come_back() -> None:
    assert translated(Refusal("overloaded", "full")).retry_after_s == 1.0


def test_ids_in_refusals_become_canonical() -> None:
    error = translated(Refusal("has_dependents", "others wait", {"ids": "00112233445566778899aabbccddeeff," + "f" * 32}))
    assert error.metadata["ids"] == "00112233-4455-6677-8899-aabbccddeeff,ffffffff-ffff-ffff-ffff-ffffffffffff"


def test_a_database_that_is_away_is_said_without_its_host() -> None:
    error = translated(StoreUnavailable("could not read: db.internal refused"))
    assert (error.reason, error.retry_after_s) == (ErrorReason.DATABASE_UNAVAILABLE, 1.0)
    assert "db.internal" not in error.message


def test_a_fenced_write_means_that_another_leads() -> None:
    assert translated(Fenced("epoch 3 is over")).reason is ErrorReason.NO_LEADER


def test_a_call_that_took_too_long() -> None:
    assert translated(TimeoutError()).code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_our_own_errors_pass() -> None:
    error = FoliotError.invalid("name", "is required")
    assert translated(error) is error


@pytest.mark.parametrize("bug", [KeyError("x"), ConflictError("a row is there already"), AssertionError("no")])
def test_a_bug_is_logged_once_under_the_id_that_the_caller_is_given(bug: Exception) -> None:
    with structlog.testing.capture_logs() as logs:
        error = translated(bug)
    assert error.reason is ErrorReason.INTERNAL
    assert [(line["event"], line["log_level"], line["error_id"]) for line in logs] == [
        ("api.call_failed", "error", error.metadata["error_id"])
    ]
    assert error.metadata["error_id"] in error.message
    assert str(bug) not in error.message
