"""Requests from bytes: what is refused, and where the error says it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.job_pb2 import CreateJobRequest, JobSpec, JobTask
from foliot.v1.spec_pb2 import CommandWork, TaskSpec
from foliot.v1.task_pb2 import NewTask, SubmitTasksRequest
from foliot_scheduler.api.wire import parse_request


def refused(raw: bytes) -> tuple[str, str]:
    with pytest.raises(FoliotError) as caught:
        parse_request(CreateJobRequest, raw)
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    [violation] = caught.value.fields
    return violation.field, violation.rule


def raw_request() -> bytes:
    tasks = [JobTask(key="a"), JobTask(key="b", spec=TaskSpec(command=CommandWork(line="LINE", environment={"K": "VALUE"})))]
    return CreateJobRequest(spec=JobSpec(name="NAME", tags=["one", "TWO!"], tasks=tasks)).SerializeToString()


def test_a_valid_request_is_read() -> None:
    assert parse_request(CreateJobRequest, raw_request()).spec.tasks[1].key == "b"
    assert parse_request(CreateJobRequest, b"") == CreateJobRequest()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"NAME", "spec.name"),
        (b"TWO!", "spec.tags[1]"),
        (b"LINE", "spec.tasks[1].spec.command.line"),
        (b"VALUE", "spec.tasks[1].spec.command.environment.value"),
    ],
)
def test_invalid_utf8_is_named(text: bytes, field: str) -> None:
    raw = raw_request()
    assert refused(raw.replace(text, b"\xff\xfe" + text[2:])) == (field, "not_utf8")


def test_an_unknown_field_is_named_where_it_stands() -> None:
    unknown = b"\xa0\x3f\x01"  # field 1012, a number
    assert refused(raw_request() + unknown) == ("", "unknown_field")
    task = JobTask(key="a").SerializeToString() + unknown
    spec = b"\x22" + bytes([len(task)]) + task
    assert refused(b"\x0a" + bytes([len(spec)]) + spec) == ("spec.tasks[0]", "unknown_field")


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x00"])
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    with pytest.raises(FoliotError) as caught:
        parse_request(CreateJobRequest, raw)
    assert caught.value.reason is ErrorReason.INVALID_FIELD


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        parse_request(SubmitTasksRequest, raw)
    except FoliotError as error:
        reason = error.reason
    else:
        return
    assert reason is ErrorReason.INVALID_FIELD


@given(st.data())
def test_a_request_with_flipped_bytes_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(SubmitTasksRequest(tasks=[NewTask(spec=TaskSpec(name="näme", tags=["a"]))]).SerializeToString())
    for _ in range(3):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_request(SubmitTasksRequest, bytes(raw))
    except FoliotError as error:
        reason = error.reason
    else:
        return
    assert reason is ErrorReason.INVALID_FIELD
