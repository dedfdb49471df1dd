"""Identifiers as text."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.ids import format_uuid, parse_uuid


@given(st.binary(min_size=16, max_size=16))
def test_text_and_bytes_agree_with_the_standard_library(value: bytes) -> None:
    text = format_uuid(value)
    assert text == str(uuid.UUID(bytes=value))
    assert parse_uuid(text) == parse_uuid(text.upper()) == value


@pytest.mark.parametrize("value", [b"", b"x" * 15, b"x" * 17])
def test_other_lengths_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        format_uuid(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not-a-uuid",
        "0190a5b2c3d47e5f8a9b0c1d2e3f4a5b",
        "{0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}",
        "urn:uuid:0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a5",
        "0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a5g",
        "0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a  ",
        " 190a5b2-c3d4-7e5f-8a9b- c1d2e3f4a5b",
        "0190a5b-2c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f-a5b",
        "0190a5b2-c3d4-7e5f-8a9b-0c1d2e3f4a5٣",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        parse_uuid(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = parse_uuid(text)
    except ValueError:
        return
    assert format_uuid(value) == text.lower()
