"""Reads requests strictly: what is not understood is refused, naming the field, and never guessed or clamped."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeVar, get_origin
from urllib.parse import parse_qsl

import msgspec

from foliot_gateway.http.fault import FaultError, FieldFault, refuse
from foliot_gateway.http.json_keys import DuplicateJsonKeyError, check_keys
from foliot_gateway.http.operation import Neighbour, NoBody
from foliot_gateway.http.rules import in_words

Struct = TypeVar("Struct", bound=msgspec.Struct)
Decoded = TypeVar("Decoded")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

QUERY_PARAMETERS_MAX = 100
"""Far above what any documented operation has; bounds what parsing costs."""
IDEMPOTENCY_KEY_CHARS_MAX = 255
"""The contract's limit for `idempotency_key`."""
ECHO_CHARS_MAX = 200
"""How much of a caller's own text an error repeats."""

_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*?)`(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*?)`(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_OTHER = re.compile(r"^(?P<rule>.*?)(?: - at (?P<key>key in )?`\$(?P<path>.*)`)?$", re.DOTALL)
# An escaped NUL, its backslash not itself escaped.
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def field_fault(message: str, struct: type) -> FieldFault:
    """Return which field of a `struct` a msgspec validation message is about, and its rule."""
    if found := _UNKNOWN.match(message):
        return FieldFault(_joined(found["path"], found["name"]), "is not a field here")
    if found := _MISSING.match(message):
        return FieldFault(_joined(found["path"], found["name"]), "is required")
    other = _OTHER.match(message)
    assert other is not None, "the pattern takes any text"
    path = other["path"] or ""
    # A key's type is not looked up: those of documented fields have none of the rules that need it.
    rule = in_words(other["rule"], path, object if other["key"] else struct)
    if not rule.startswith("must be one of"):
        rule = rule[:ECHO_CHARS_MAX]
    return FieldFault(_joined(path, ""), f"a key here: {rule}" if other["key"] else rule)


async def read_body(receive: Receive, *, bytes_max: int, timeout_s: float) -> bytes:
    """Return the whole body.

    Raises FaultError: 413 as soon as it has more than `bytes_max` bytes, however it is framed; 408 when it is not
    complete after `timeout_s` seconds; 400 when the client goes away before its end.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise refuse(400, "incomplete_body", "The connection ended before the body did.")
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > bytes_max:
                    raise too_large(bytes_max)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        detail = f"The body was not complete after {timeout_s:g} seconds."
        raise refuse(408, "slow_body", detail) from None


def too_large(bytes_max: int) -> FaultError:
    """Return the refusal of a body over the limit."""
    return refuse(413, "body_too_large", f"A body may have {bytes_max} bytes at most.")


def parse_body(
    raw: bytes,
    content_type: str,
    struct: type[Struct],
    *,
    rule_status: int,
    neighbour: Neighbour | None = None,
    takes_nul: bool = False,
) -> Struct:
    """Return the body as `struct`.

    Raises FaultError: 415 for another media type than JSON, 400 for what is not JSON in UTF-8, for an object that has a key
    twice, and for what was meant for the neighbour, `rule_status` for JSON that breaks a rule of the struct.
    """
    if struct is NoBody and not raw:
        return struct()
    check_media_type(content_type)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"The body is not valid UTF-8: byte {error.start} cannot be read."
        raise refuse(400, "malformed_json", detail, FieldFault("", "must be JSON in UTF-8")) from None
    if not takes_nul and _ESCAPED_NUL.search(raw):
        # PostgreSQL stores no NUL in text, and but for outputs no documented field has a use for one.
        detail = "The body holds a NUL character (\\u0000)."
        raise refuse(rule_status, "invalid_field", detail, FieldFault("", "must be without NUL characters"))
    try:
        found_body = _decoded(raw, struct)
    except msgspec.ValidationError as error:
        _decoded(raw, msgspec.Raw)  # what is no JSON is that first, whatever else is wrong with what came before
        if neighbour is not None:
            _refuse_misdirected(raw, neighbour)
        found = field_fault(str(error), struct)
        raise refuse(rule_status, "invalid_field", sentence(found), found) from None
    _refuse_duplicate_keys(text)
    return found_body


def _refuse_duplicate_keys(text: str) -> None:
    """Raise FaultError 400 for JSON of which nobody can say what it means."""
    try:
        check_keys(text)
    except DuplicateJsonKeyError as error:
        found = FieldFault(error.key[:ECHO_CHARS_MAX], "must be given once in its object")
        raise refuse(400, "duplicate_key", sentence(found), found) from None
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> FaultError:
    found = FieldFault("", "must not be nested this deeply")
    return refuse(400, "malformed_json", "The body is nested too deeply.", found)


def _decoded(raw: bytes, wanted: type[Decoded]) -> Decoded:
    """Return JSON as the wanted type; raises ValidationError for another type, and FaultError 400 for what is no JSON."""
    try:
        return msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        found = FieldFault("", "must be JSON")
        raise refuse(400, "malformed_json", f"The body is not valid JSON: {error}.", found) from None
    except RecursionError:
        raise _too_deep() from None


def _refuse_misdirected(raw: bytes, neighbour: Neighbour) -> None:
    """Raise FaultError 400 for a body that has fields of the neighbour's."""
    try:
        given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return
    if found := sorted(neighbour.fields & given.keys()):
        faults = [FieldFault(name, "is a field of the other API") for name in found]
        raise refuse(400, "wrong_api", neighbour.detail, *faults)


def check_content_encoding(content_encoding: str) -> None:
    """Raise FaultError 415 for a body that is compressed: a small one could become more than the limit says."""
    if content_encoding.strip().lower() not in {"", "identity"}:
        found = FieldFault("Content-Encoding", "must be absent or identity")
        raise refuse(415, "unsupported_encoding", "The body must not be compressed.", found)


def check_media_type(content_type: str) -> None:
    """Raise FaultError 415 unless the Content-Type header says JSON (in UTF-8)."""
    media_type, _, rest = content_type.partition(";")
    media_type = media_type.strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", rest, re.IGNORECASE)
        if charset is None or charset[1].lower() in {"utf-8", "utf8", "us-ascii"}:
            return
    found = FieldFault("Content-Type", "must be application/json in UTF-8")
    raise refuse(415, "unsupported_media_type", "The body must be application/json.", found)


def parse_query(raw: bytes, struct: type[Struct]) -> Struct:
    """Return the query parameters as `struct`; raises FaultError 400, naming the parameter."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=QUERY_PARAMETERS_MAX,
        )
    except ValueError as error:
        raise refuse(400, "invalid_parameter", f"The query string cannot be read: {error}.") from None
    lists = _list_parameters(struct)
    values: dict[str, str | list[str]] = {}
    for name, value in pairs:
        shown = name[:ECHO_CHARS_MAX]
        if not name:
            raise refuse(400, "invalid_parameter", "The query string holds a parameter without a name.")
        if "\0" in value:
            raise _parameter(FieldFault(shown, "must be without NUL characters"))
        held = values.setdefault(name, [] if name in lists else value)
        if isinstance(held, list):
            held.append(value)
        elif sum(1 for other, _ in pairs if other == name) > 1:
            raise _parameter(FieldFault(shown, "must be given once"))
    try:
        result = msgspec.convert(values, struct, strict=False)
    except msgspec.ValidationError as error:
        found = field_fault(str(error), struct)
        # What is in a query is text, all of it: that says nothing.
        rule = "is not a parameter here" if found.rule == "is not a field here" else found.rule.removesuffix(", not text")
        raise _parameter(FieldFault(found.field, rule)) from None
    _check_integers(values, result)
    return result


def parse_idempotency_key(value: str | None) -> str:
    """Return the Idempotency-Key header's value, empty if it is absent; raises FaultError 400."""
    if value is None:
        return ""
    if not value or len(value) > IDEMPOTENCY_KEY_CHARS_MAX or not (value.isascii() and value.isprintable()):
        rule = f"must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters"
        raise _parameter(FieldFault("Idempotency-Key", rule))
    return value


def sentence(found: FieldFault) -> str:
    """Return the fault as a sentence for people."""
    where = f"`{found.field}`" if found.field else "The body"
    return f"{where}: {found.rule}." if found.field else f"{where} {found.rule}."


@functools.cache
def _list_parameters(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Return the parameters that may be repeated. Cached: it is the same for every request, and msgspec works it out anew."""
    return frozenset(info.encode_name for info in msgspec.structs.fields(struct) if get_origin(info.type) is list)


def _check_integers(values: Mapping[str, str | list[str]], result: object) -> None:
    """Refuse the spellings of integers that msgspec's lax mode takes beside the plain one, such as `1.0`."""
    for name, value in msgspec.to_builtins(result, order=None).items():
        given = values.get(name)
        if type(value) is int and isinstance(given, str) and given != str(value):
            raise _parameter(FieldFault(name, "must be a whole number in plain digits"))


def _parameter(found: FieldFault) -> FaultError:
    return refuse(400, "invalid_parameter", sentence(found), found)


def _joined(path: str | None, name: str) -> str:
    parent = (path or "").lstrip(".")
    return f"{parent}.{name}".strip(".")[:ECHO_CHARS_MAX]
