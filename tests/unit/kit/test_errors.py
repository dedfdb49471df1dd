"""The error model: its table, and the way over gRPC and back."""

import pickle

import grpc
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped] # its package ships no stubs
from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.errors import (
    STATUS_OF_REASON,
    ErrorReason,
    FieldViolation,
    FoliotError,
    from_rpc_error,
    from_rpc_status,
    to_rpc_status,
)
from foliot.v1 import error_pb2

TEXT = st.text(max_size=50)


def test_reasons_are_those_of_the_contract() -> None:
    ours = {f"ERROR_REASON_{one.name}": int(one) for one in ErrorReason}
    assert ours == dict(error_pb2.ErrorReason.items())
    assert set(STATUS_OF_REASON) == set(ErrorReason)


@given(
    reason=st.sampled_from(ErrorReason),
    message=TEXT,
    fields=st.lists(st.builds(FieldViolation, TEXT, TEXT, TEXT), max_size=5),
    metadata=st.dictionaries(TEXT, TEXT, max_size=5),
    retry_after_us=st.none() | st.integers(min_value=0, max_value=10**10),
)
def test_an_error_survives_the_way_over_grpc(
    reason: ErrorReason,
    message: str,
    fields: list[FieldViolation],
    metadata: dict[str, str],
    retry_after_us: int | None,
) -> None:
    retry_after_s = None if retry_after_us is None else retry_after_us / 1_000_000
    sent = FoliotError(reason, message, fields=fields, metadata=metadata, retry_after_s=retry_after_s)
    got = from_rpc_status(status_pb2.Status.FromString(to_rpc_status(sent).SerializeToString()))
    assert got.reason is reason
    assert got.code is STATUS_OF_REASON[reason]
    assert got.message == message
    assert got.fields == fields
    assert got.metadata == metadata
    assert got.retry_after_s == retry_after_s


def test_an_error_with_too_much_to_say_fits_a_header_block() -> None:
    fields = [FieldViolation(f"tasks[{number}].key", "é" * 5_000, "too_long") for number in range(10_000)]
    sent = FoliotError(ErrorReason.INVALID_FIELD, "m" * 50_000, fields=fields, metadata={"ids": "x" * 100_000})
    status = to_rpc_status(sent)
    assert status.ByteSize() <= 6_000
    got = from_rpc_status(status)
    assert got.reason is ErrorReason.INVALID_FIELD
    assert got.metadata["truncated"] == "true"
    assert got.fields[0].field == "tasks[0].key"


def test_a_reason_of_a_newer_server_is_unspecified_and_keeps_its_status() -> None:
    status = to_rpc_status(FoliotError(ErrorReason.NOT_FOUND, "gone"))
    status.details[0].value = status.details[0].value.replace(b"ERROR_REASON_NOT_FOUND", b"ERROR_REASON_NOT_FUNNY")
    got = from_rpc_status(status)
    assert got.reason is ErrorReason.UNSPECIFIED
    assert got.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, ErrorReason.NO_LEADER),
        (grpc.StatusCode.UNKNOWN, ErrorReason.INTERNAL),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ErrorReason.UNSPECIFIED),
        (grpc.StatusCode.UNAUTHENTICATED, ErrorReason.UNAUTHENTICATED),
    ],
)
@pytest.mark.parametrize("trailing", [(), ((("grpc-status-details-bin"), b"\xff\xff"),)])
def test_an_error_without_our_details_is_judged_by_its_code(
    code: grpc.StatusCode, reason: ErrorReason, trailing: tuple[tuple[str, bytes], ...]
) -> None:
    raised = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details="why", debug_error_string=None)
    got = from_rpc_error(raised)
    assert (got.reason, got.code, got.message) == (reason, code, "why")


def test_one_bad_field_is_quickly_said() -> None:
    error = FoliotError.invalid("task.spec.timeout", "must not be negative", rule="range")
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.fields == [FieldViolation("task.spec.timeout", "must not be negative", "range")]
    assert str(error) == "task.spec.timeout: must not be negative"


def test_an_error_can_be_pickled() -> None:
    sent = FoliotError(
        ErrorReason.WRONG_STATE, "no", metadata={"state": "running"}, retry_after_s=1.5, fields=[FieldViolation("a", "b")]
    )
    got = pickle.loads(pickle.dumps(sent))
    assert isinstance(got, FoliotError)
    assert vars(got) == vars(sent)
    assert repr(got) == "FoliotError(WRONG_STATE, 'no')"
