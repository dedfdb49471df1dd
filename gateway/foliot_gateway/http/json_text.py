"""JSON values that are passed on as the text they came as, so that their numbers and the order of their keys stay."""

from __future__ import annotations

from typing import NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from foliot_gateway.http.fault import FieldFault, refuse
from foliot_gateway.http.reading import field_fault, sentence

JSON_BYTES_MAX = 1024 * 1024
"""The longest value that the contract takes anywhere; what is longer need not be looked into."""


def json_object(raw: msgspec.Raw | UnsetType, at: str, *, rule_status: int) -> str:
    """Return a JSON object as its text, empty if it is absent; raises FaultError for any other value.

    `at` is where it stands in the body, `rule_status` the status of a broken rule.
    """
    text = json_text(raw, at, rule_status=rule_status)
    if text and not text.startswith("{"):
        broken(at, "expected object", rule_status=rule_status)
    return text


def json_text(raw: msgspec.Raw | UnsetType, at: str, *, rule_status: int) -> str:
    """Return any JSON value as its text, empty if it is absent; raises FaultError where it is none."""
    if raw is UNSET:
        return ""
    held = bytes(raw)
    if len(held) > JSON_BYTES_MAX:
        broken(at, "must be at most 1 MiB", rule_status=rule_status)
    try:
        msgspec.json.decode(held)  # it was only skipped over so far
    except msgspec.MsgspecError as error:
        broken(at, field_fault(str(error), object).rule, rule_status=rule_status)
    except RecursionError:
        broken(at, "must not be nested this deeply", rule_status=rule_status)
    return held.decode("utf-8").strip()


def broken(at: str, rule: str, *, rule_status: int) -> NoReturn:
    """Raise FaultError for one field that breaks a rule."""
    found = FieldFault(at, rule)
    raise refuse(rule_status, "invalid_field", sentence(found), found)
