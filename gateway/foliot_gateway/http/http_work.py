"""Bodies of HTTP tasks: a string is sent as it is, any other JSON value as JSON."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UnsetType

from foliot.v1 import spec_pb2
from foliot_gateway.http import json_text

CONTENT_TYPE = "Content-Type"
JSON_TYPE = "application/json"


def write_body(
    work: spec_pb2.HttpWork, given: msgspec.Raw | UnsetType, at: str, *, rule_status: int, header: str = CONTENT_TYPE
) -> None:
    """Write a body into a request whose headers are set: JSON gets a content type unless they name one; null is no body.

    `at` is where the body stands, for errors; `header` is how the header that is added is spelt. Raises FaultError.
    """
    text = json_text.json_text(given, at, rule_status=rule_status)
    if text.startswith('"'):
        work.body = msgspec.json.decode(text, type=str).encode("utf-8")
    elif text and text != "null":
        work.body = text.encode("utf-8")
        if not any(name.lower() == CONTENT_TYPE.lower() for name in work.headers):
            work.headers[header] = JSON_TYPE


def shown_body(text: str, headers: Iterable[tuple[str, str]]) -> msgspec.Raw:
    """Return a request body as JSON: what was given as an object or array comes back as one, any other text as a string."""
    is_json = any(name.lower() == CONTENT_TYPE.lower() and "json" in value.lower() for name, value in headers)
    if is_json and text[:1] in {"{", "["}:
        try:
            msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            pass
        else:
            return msgspec.Raw(text.encode("utf-8"))
    return msgspec.Raw(msgspec.json.encode(text))
