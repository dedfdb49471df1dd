"""Writes JSON-like values as YAML 1.2, in the plain block style that people read.

A writer of our own, because the document is the only YAML here: strings that could mean something else are written as
JSON strings, which are YAML too.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Plain scalars that no YAML reader, of 1.1 or 1.2, takes for anything but a string.
_PLAIN = re.compile(r"[A-Za-z_/$][A-Za-z0-9_/$.{}()-]*(?: [A-Za-z0-9_/$.(){}-]+)*")
# What JSON lets stand and YAML (1.2.2, 5.1) wants escaped, line separators included.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_RESERVED = re.compile(r"(?i:y|n|yes|no|on|off|true|false|null|~)")


def to_yaml(value: Any) -> str:
    """Return a value of dicts, lists, strings, numbers, booleans and None as a YAML document."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, inner in value.items() for line in _entry(f"{_scalar(str(key))}:", inner)]
    if isinstance(value, list) and value:
        return [line for inner in value for line in _item(inner)]
    return [_scalar(value)]


def _entry(head: str, value: Any) -> list[str]:
    if isinstance(value, dict | list) and value:
        return [head, *("  " + line for line in _lines(value))]
    return [f"{head} {_scalar(value)}"]


def _item(value: Any) -> list[str]:
    first, *rest = _lines(value)
    return ["- " + first, *("  " + line for line in rest)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _RESERVED.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
