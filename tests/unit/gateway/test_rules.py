"""What a field must be is said in words, whatever the reader of JSON calls it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, UnsetType

from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.reading import parse_body, parse_query


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    best_colour: Colour | None = None
    kind: Literal["http"] | UnsetType = msgspec.UNSET


class Body(msgspec.Struct, forbid_unknown_fields=True):
    state: Annotated[Literal["on", "off"], Meta(description="A state.")] | UnsetType = msgspec.UNSET
    parts: list[Part] = []
    named: dict[str, Part] = {}
    one: Part | None = None
    size: Annotated[int, Meta(ge=1, le=10)] = 1
    share: Annotated[float, Meta(ge=0)] = 0
    text: Annotated[str, Meta(min_length=1, max_length=3)] = "a"
    digest: Annotated[str, Meta(pattern="^[0-9a-f]+$", extra={"rule": "must be hexadecimal digits"})] = "0"
    code: Annotated[str, Meta(pattern="^[A-Z]$")] = "A"
    tags: Annotated[list[str], Meta(max_length=1)] = []
    labels: Annotated[dict[str, str], Meta(max_length=1)] = {}
    flag: bool = False
    free: int | str | None = None


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ('{"state": "up"}', "state", "must be one of off, on"),
        ('{"parts": [{"bestColour": "green"}]}', "parts[0].bestColour", "must be one of red, blue"),
        ('{"named": {"a": {"bestColour": "green"}}}', "named[...].bestColour", "must be one of red, blue"),
        ('{"one": {"bestColour": "green"}}', "one.bestColour", "must be one of red, blue"),
        ('{"one": {"kind": "grpc"}}', "one.kind", "must be http"),
        ('{"size": 0}', "size", "must be at least 1"),
        ('{"size": 11}', "size", "must be at most 10"),
        ('{"size": "1"}', "size", "must be a whole number, not text"),
        ('{"size": 1.5}', "size", "must be a whole number, not a decimal number"),
        ('{"share": -1}', "share", "must be at least 0"),
        ('{"text": ""}', "text", "must not be empty"),
        ('{"text": "abcd"}', "text", "must have at most 3 characters"),
        ('{"digest": "x"}', "digest", "must be hexadecimal digits"),
        ('{"code": "x"}', "code", "expected str matching regex '^[A-Z]$'"),
        ('{"tags": ["a", "b"]}', "tags", "must have at most 1 element"),
        ('{"labels": {"a": "", "b": ""}}', "labels", "must have at most 1 entry"),
        ('{"flag": 1}', "flag", "must be true or false, not a whole number"),
        ('{"free": []}', "free", "must be a whole number or text or null, not a list"),
        ("[]", "", "must be an object, not a list"),
    ],
)
def test_what_a_field_must_be_is_said_in_words(body: str, field: str, rule: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_body(body.encode(), "application/json", Body, rule_status=422)
    (found,) = raised.value.fault.fields
    assert (found.field, found.rule) == (field, rule)


class Query(msgspec.Struct, forbid_unknown_fields=True):
    order: Literal["asc", "desc"] = "asc"
    states: list[Colour] = []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (b"order=up", "`order`: must be one of asc, desc."),
        (b"states=red&states=green", "`states[1]`: must be one of red, blue."),
    ],
)
def test_a_parameter_names_its_choices(query: bytes, detail: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_query(query, Query)
    assert raised.value.fault.detail == detail
