"""Rules that fields of requests obey, and the collection of those they break.

Every rule of the contract's comments is checked by code in this package; the words that callers read are made here,
so that one rule reads the same wherever it is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from foliot.kit.errors import ErrorReason, FieldViolation, FoliotError
from foliot_scheduler.core.types import Micros, Span

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

_KEPT_MAX: Final = 20
"""Violations kept of one request, the rest are counted: as many as fit an answer (see foliot.kit.errors)."""

_PATH_TEXT_MAX: Final = 64
"""Characters of a caller's own text (a map's key) inside a path."""

TAGS_MAX: Final = 50
TAG_BYTES_MAX: Final = 100

_SECONDS_MAX: Final = 315_576_000_000
"""Of a google.protobuf.Duration, by its own definition: 10,000 years."""

_TIMESTAMP_S_MIN: Final = -62_135_596_800
_TIMESTAMP_S_MAX: Final = 253_402_300_799
"""Of a google.protobuf.Timestamp, by its own definition: the years 1 to 9999."""

_NANOS_MAX: Final = 999_999_999

# A Raw is checked and kept as text: the syntax is all that matters here, and this is the fastest way to know it.
_ANY_JSON: Final = msgspec.json.Decoder(msgspec.Raw)
_JSON_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Violations:
    """The rules that one request breaks, in the order they were found."""

    __slots__ = ("_count", "_kept")

    def __init__(self) -> None:
        self._kept: list[FieldViolation] = []
        self._count = 0

    def __bool__(self) -> bool:
        """Whether a rule is broken."""
        return self._count > 0

    def __len__(self) -> int:
        """How many are broken, those that were not kept included."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether further ones are only counted: a long request need not be read to its end."""
        return self._count >= _KEPT_MAX

    def add(self, path: str, description: str, rule: str) -> None:
        """Take note that the field at `path` breaks the rule; `rule` is the rule's name in snake_case."""
        self._count += 1
        if len(self._kept) < _KEPT_MAX:
            self._kept.append(FieldViolation(path, description, rule))

    def raise_if_any(self) -> None:
        """Raise the FoliotError INVALID_FIELD that names them, if there is one."""
        if not self._count:
            return
        first = self._kept[0]
        message = f"{first.field}: {first.description}"
        if self._count > 1:
            message += f" (and {self._count - 1} more)"
        raise FoliotError(ErrorReason.INVALID_FIELD, message, fields=self._kept)


def is_longer(text: str, bytes_max: int) -> bool:
    """Whether the text takes more bytes in UTF-8."""
    length = len(text)
    return length > bytes_max or (length * 4 > bytes_max and len(text.encode()) > bytes_max)


def shown(text: str) -> str:
    """A caller's own text, short enough for a path."""
    return text if len(text) <= _PATH_TEXT_MAX else text[:_PATH_TEXT_MAX] + "…"


def check_text(path: str, text: str, bytes_max: int, violations: Violations, *, required: bool = False) -> None:
    """Hold a text to its length and to having no NUL, which neither PostgreSQL nor a process's environment takes.

    What is required is no white space alone either: nobody could tell it from nothing.
    """
    if required and not text:
        violations.add(path, "is required", "required")
    elif required and text.isspace():
        violations.add(path, "must not be white space alone", "blank")
    elif is_longer(text, bytes_max):
        violations.add(path, f"must be at most {_bytes_in_words(bytes_max)}", "too_long")
    elif "\0" in text:
        violations.add(path, "must not contain NUL", "no_nul")


def _bytes_in_words(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"


def check_count(path: str, count: int, count_max: int, what: str, violations: Violations) -> None:
    """Hold a list or map to its number of entries."""
    if count > count_max:
        violations.add(path, f"must have at most {count_max:,} {what}, not {count:,}", "too_many")


def check_range(path: str, number: float, violations: Violations, *, least: float, most: float) -> None:
    """Hold a number to its bounds; NaN is outside of all."""
    if not least <= number <= most:
        violations.add(path, f"must be {least:,} to {most:,}", "out_of_range")


def check_tags(path: str, tags: Iterable[str], violations: Violations) -> None:
    """Hold tags to their rules: at most 50, each at most 100 bytes, none empty."""
    number = -1
    for number, tag in enumerate(tags):
        check_text(f"{path}[{number}]", tag, TAG_BYTES_MAX, violations, required=True)
    check_count(path, number + 1, TAGS_MAX, "tags", violations)


def check_json(path: str, text: str, bytes_max: int, violations: Violations) -> None:
    """Hold a text to being JSON."""
    check_text(path, text, bytes_max, violations)
    try:
        _ANY_JSON.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        violations.add(path, f"must be JSON: {_json_fault(error)}", "not_json")


def check_json_object(path: str, text: str, bytes_max: int, violations: Violations) -> None:
    """Hold a text to being a JSON object."""
    check_text(path, text, bytes_max, violations)
    try:
        _JSON_OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        violations.add(path, f"must be a JSON object: {_json_fault(error)}", "not_json")


def _json_fault(error: Exception) -> str:
    return "it nests too deep" if isinstance(error, RecursionError) else str(error)


def span_of(duration: Duration) -> Span:
    """A valid duration in microseconds, away from zero where it is not whole."""
    nanos = duration.nanos
    return Span(duration.seconds * 1_000_000 + (-(-nanos // 1000) if nanos > 0 else nanos // 1000))


def check_duration(path: str, duration: Duration, longest: Span, violations: Violations, *, zero: bool = False) -> None:
    """Hold a duration to more than 0 (0 too where `zero` says so) and at most `longest`."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(nanos) > _NANOS_MAX or abs(seconds) > _SECONDS_MAX or seconds * nanos < 0:
        violations.add(path, "is not a valid duration: a part is out of range or the signs differ", "malformed")
        return
    span = span_of(duration)
    if span < 0 or (span == 0 and not zero):
        violations.add(path, "must not be negative" if zero else "must be more than 0", "out_of_range")
    elif span > longest:
        violations.add(path, f"must be at most {span_in_words(longest)}", "out_of_range")


def span_in_words(span: Span) -> str:
    """A length of time for people: its largest whole unit."""
    for unit, size in (("days", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000)):
        if span % size == 0:
            return f"{span // size} {unit}"
    return f"{span} µs"


def micros_of(timestamp: Timestamp) -> Micros:
    """A valid timestamp as microseconds since the epoch."""
    return Micros(timestamp.seconds * 1_000_000 + timestamp.nanos // 1000)


def check_timestamp(path: str, timestamp: Timestamp, violations: Violations) -> None:
    """Hold a timestamp to what its own definition allows."""
    if not (_TIMESTAMP_S_MIN <= timestamp.seconds <= _TIMESTAMP_S_MAX and 0 <= timestamp.nanos <= _NANOS_MAX):
        violations.add(path, "is not a valid timestamp: outside of the years 1 to 9999", "malformed")


def check_pairs(
    path: str, pairs: Mapping[str, str], violations: Violations, *, pairs_max: int, bytes_max: int, what: str
) -> None:
    """Hold a map to its number of entries and its size in all."""
    check_count(path, len(pairs), pairs_max, what, violations)
    size = sum(len(name.encode()) + len(value.encode()) for name, value in pairs.items())
    if size > bytes_max:
        violations.add(path, f"must take at most {_bytes_in_words(bytes_max)} in all", "too_long")
