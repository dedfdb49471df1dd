from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Annotated, Any

import msgspec
import pytest

from foliot_gateway.http.accept import check_accept
from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.operation import Neighbour, NoBody
from foliot_gateway.http.reading import (
    field_fault,
    parse_body,
    parse_idempotency_key,
    parse_query,
    read_body,
)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1)]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    inner: list[Inner] = []
    names: dict[str, int] = {}
    text: str = ""


class Query(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    page_size: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    name: str = ""
    states: list[str] = []
    flag: bool = False


def receiver(chunks: Iterable[bytes], *, ends: bool = True) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False} if ends else {"type": "http.disconnect"})

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0)

    receive.left = messages  # type: ignore[attr-defined]  # for the test to look at
    return receive


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"colour": 1}', "colour"),
        (b'{"inner": [{"number": 1}, {"number": 0}]}', "inner[1].number"),
        (b'{"inner": [{}]}', "inner[0].number"),
        (b'{"inner": [{"number": 1, "a.b`c": 2}]}', "inner[0].a.b`c"),
        (b'{"names": {"x": "y"}}', "names[...]"),
        (b"[]", ""),
    ],
)
def test_a_broken_rule_names_its_field(body: bytes, field: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_body(body, "application/json", Body, rule_status=422)
    assert raised.value.fault.status == 422
    assert [found.field for found in raised.value.fault.fields] == [field]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"text": "a", "text": "b"}', "text"),
        (b'{"text": "a", "te\\u0078t": "b"}', "text"),
        (b'{"names": {"a": 1, "b": 2, "a": 3}}', "a"),
        (b'{"inner": [{"number": 1}, {"number": 1, "number": 1}]}', "number"),
    ],
)
def test_a_key_given_twice_is_refused_and_named(body: bytes, key: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_body(body, "application/json", Body, rule_status=422)
    fault = raised.value.fault
    assert (fault.status, fault.code, [found.field for found in fault.fields]) == (400, "duplicate_key", [key])


def test_a_number_of_any_length_is_json_and_breaks_the_rule_of_its_field() -> None:
    with pytest.raises(FaultError) as raised:
        parse_body(b'{"text": ' + b"9" * 5_000 + b"}", "application/json", Body, rule_status=422)
    assert raised.value.fault.status == 422


def test_the_same_key_in_several_objects_is_no_duplicate() -> None:
    body = b'{"inner": [{"number": 1}, {"number": 1}], "names": {"inner": 1, "number": 2}}'
    assert len(parse_body(body, "application/json", Body, rule_status=422).inner) == 2


def test_numbers_of_any_length_are_looked_at_for_their_keys_alone() -> None:
    class Anything(msgspec.Struct):
        data: msgspec.Raw

    body = b'{"data": [' + b"9" * 5_000 + b", 1e999]}"
    assert len(bytes(parse_body(body, "application/json", Anything, rule_status=422).data)) > 5_000


@pytest.mark.parametrize("text", ["\\u0000", "a\\\\\\u0000"])
def test_nul_is_refused(text: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_body(f'{{"text": "{text}"}}'.encode(), "application/json", Body, rule_status=400)
    assert raised.value.fault.status == 400


def test_an_escaped_backslash_is_no_nul() -> None:
    assert parse_body(b'{"text": "\\\\u0000"}', "application/json", Body, rule_status=422).text == "\\u0000"


def test_no_body_is_nothing_or_an_empty_object() -> None:
    assert parse_body(b"", "", NoBody, rule_status=422) == NoBody()
    assert parse_body(b"{}", "application/json", NoBody, rule_status=422) == NoBody()


def test_messages_without_a_place_are_whole() -> None:
    found = field_fault("Expected `object`, got `array`", Body)
    assert (found.field, found.rule) == ("", "must be an object, not a list")


async def test_a_body_is_read_no_further_than_its_limit() -> None:
    receive = receiver([b"x" * 60] * 100)
    with pytest.raises(FaultError) as raised:
        await read_body(receive, bytes_max=100, timeout_s=5)
    assert raised.value.fault.status == 413
    assert len(receive.left) == 99  # type: ignore[attr-defined]  # see receiver


async def test_a_body_of_the_limit_is_read() -> None:
    assert await read_body(receiver([b"x" * 50, b"y" * 50]), bytes_max=100, timeout_s=5) == b"x" * 50 + b"y" * 50


async def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(FaultError) as raised:
        await read_body(receiver([b"x"], ends=False), bytes_max=100, timeout_s=5)
    assert raised.value.fault.status == 400


async def test_a_body_that_does_not_come_is_refused() -> None:
    async def receive() -> MutableMapping[str, Any]:
        raise TimeoutError

    with pytest.raises(FaultError) as raised:
        await read_body(receive, bytes_max=100, timeout_s=5)
    assert raised.value.fault.status == 408


def test_parameters_are_read() -> None:
    query = parse_query(b"pageSize=7&name=a%20b&states=x&states=y&flag=true", Query)
    assert query == Query(page_size=7, name="a b", states=["x", "y"], flag=True)
    assert parse_query(b"", Query) == Query()


def test_a_parameter_of_another_type_is_told_what_it_must_be() -> None:
    with pytest.raises(FaultError) as raised:
        parse_query(b"pageSize=many", Query)
    assert raised.value.fault.detail == "`pageSize`: must be a whole number."


def test_a_parameter_without_a_name_is_refused() -> None:
    with pytest.raises(FaultError) as raised:
        parse_query(b"=1", Query)
    assert raised.value.fault.detail == "The query string holds a parameter without a name."


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (b"pageSize=0", "pageSize"),
        (b"pageSize=11", "pageSize"),
        (b"pageSize=1.0", "pageSize"),
        (b"pageSize=%2B1", "pageSize"),
        (b"pageSize=1&pageSize=1", "pageSize"),
        (b"page_size=1", "page_size"),
        (b"other=", "other"),
        (b"name=%00", "name"),
    ],
)
def test_a_wrong_parameter_is_named(query: bytes, field: str) -> None:
    with pytest.raises(FaultError) as raised:
        parse_query(query, Query)
    assert raised.value.fault.status == 400
    assert [found.field for found in raised.value.fault.fields] == [field]


@pytest.mark.parametrize("query", [b"name", b"&&", b"name=%ff", b"name=\xff", b"a=1&" * 200])
def test_a_query_that_cannot_be_read_is_refused(query: bytes) -> None:
    with pytest.raises(FaultError) as raised:
        parse_query(query, Query)
    assert raised.value.fault.status == 400


def test_idempotency_keys() -> None:
    assert parse_idempotency_key(None) == ""
    assert parse_idempotency_key("k" * 255) == "k" * 255
    for wrong in ("", "k" * 256, "é", "a\tb"):
        with pytest.raises(FaultError):
            parse_idempotency_key(wrong)


@pytest.mark.parametrize("header", ["", "*/*", "text/html", "application/json;version=1.0", "a/b;version=9, application/json"])
def test_versions_that_exist_are_accepted(header: str) -> None:
    check_accept(header)


@pytest.mark.parametrize("header", ["application/json;version=9", "a/b; Version=2, c/d; version=3"])
def test_versions_that_do_not_exist_are_not(header: str) -> None:
    with pytest.raises(FaultError) as raised:
        check_accept(header)
    assert raised.value.fault.status == 406


def test_a_body_meant_for_another_api_is_told_where_that_is() -> None:
    neighbour = Neighbour(fields=frozenset({"b", "c"}), detail="It is over there.")
    read = functools.partial(parse_body, content_type="application/json", struct=Body, rule_status=422, neighbour=neighbour)
    with pytest.raises(FaultError) as caught:
        read(b'{"text": "x", "c": 1, "b": 2}')
    assert (caught.value.fault.status, caught.value.fault.code) == (400, "wrong_api")
    assert caught.value.fault.detail == "It is over there."
    assert [found.field for found in caught.value.fault.fields] == ["b", "c"]
    for own in (b'{"text": 1}', b"[]"):
        with pytest.raises(FaultError) as caught:
            read(own)
        assert caught.value.fault.status == 422
