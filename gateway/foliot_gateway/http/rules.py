"""The rules of requests in words for people: what msgspec found, said as what the field must be.

msgspec says that a value is none of an enum's, or does not match a pattern, but not what would; so the field's type is
looked up in the struct again. A pattern is told in words where its `Meta` has them: `extra={"rule": "must be …"}`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

_BOUND = re.compile(r"^Expected `[^`]*` (?P<sign><=|>=|<|>) (?P<bound>\S+)$")
_LENGTH = re.compile(r"^Expected `(?P<type>[^`]*)` of length (?P<sign><=|>=|==) (?P<length>\d+)$")
_TYPE = re.compile(r"^Expected `(?P<wanted>[^`]*)`, got `(?P<given>[^`]*)`$")
_PATTERN = re.compile(r"^Expected `[^`]*` matching regex ", re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[\]]+)|(?P<element>\[[^\]]*\])")

_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_GIVEN = {"float": "a decimal number"}
_SIGNS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than", "==": "exactly"}
_PARTS = {"str": "character", "array": "element", "object": "entry"}
_PLURALS = {"entry": "entries"}


def in_words(rule: str, path: str, struct: type) -> str:
    """Return a rule of msgspec's in words.

    `path` is where in a `struct` it was broken, as msgspec writes it without the leading `$`: `.tasks[0].priority`. A rule
    that is not known stays as it is, its first letter made small.
    """
    if rule.startswith("Invalid enum value"):
        if choices := _choices(path, struct):
            return f"must be {choices[0]}" if len(choices) == 1 else f"must be one of {', '.join(choices)}"
    elif _PATTERN.match(rule):
        if told := _told(path, struct):
            return told
    elif bound := _BOUND.match(rule):
        return f"must be {_SIGNS[bound['sign']]} {bound['bound'].removesuffix('.0')}"
    elif length := _LENGTH.match(rule):
        return _length_rule(length["type"], length["sign"], int(length["length"]))
    elif types := _TYPE.match(rule):
        return f"must be {_named(types['wanted'])}, not {_GIVEN.get(types['given']) or _named(types['given'])}"
    rule = rule.replace("`", "")
    return rule[:1].lower() + rule[1:]


def _length_rule(kind: str, sign: str, length: int) -> str:
    if sign == ">=" and length == 1:
        return "must not be empty"
    part = next((_PARTS[name] for name in kind.split(" | ") if name in _PARTS), "character")
    parts = part if length == 1 else _PLURALS.get(part, f"{part}s")
    return f"must have {_SIGNS[sign]} {length} {parts}"


def _named(types: str) -> str:
    return " or ".join(_NAMES.get(name, name) for name in types.split(" | "))


@functools.lru_cache(maxsize=1_024)
def _choices(path: str, struct: type) -> tuple[str, ...]:
    found: list[str] = []
    for kind in _at(path, struct):
        if isinstance(kind, inspect.LiteralType):
            found += [str(value) for value in kind.values]
        elif isinstance(kind, inspect.EnumType):
            found += [str(member.value) for member in kind.cls]
    return tuple(found)


@functools.lru_cache(maxsize=1_024)
def _told(path: str, struct: type) -> str:
    for kind in _at(path, struct):
        if isinstance(kind, inspect.Metadata) and kind.extra is not None and "rule" in kind.extra:
            return str(kind.extra["rule"])
    return ""


def _at(path: str, struct: type) -> list[inspect.Type]:
    """Return the types that a value at the path may have, and what wraps them."""
    found = list(_opened(_type_info(struct)))
    for step in _STEP.finditer(path):
        found = [opened for kind in found for inner in _inner(kind, step["field"]) for opened in _opened(inner)]
    return found


def _inner(kind: inspect.Type, field: str | None) -> list[inspect.Type]:
    if field is not None and isinstance(kind, inspect.StructType):
        return [known.type for known in kind.fields if known.encode_name == field]
    if field is None and isinstance(kind, inspect.ListType):
        return [kind.item_type]
    if field is None and isinstance(kind, inspect.DictType):
        return [kind.value_type]
    return []


def _opened(kind: inspect.Type) -> Iterator[inspect.Type]:
    yield kind
    if isinstance(kind, inspect.Metadata):
        yield from _opened(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from _opened(member)


@functools.cache
def _type_info(struct: type) -> inspect.Type:
    return msgspec.inspect.type_info(struct)
