"""What requests have in common: ids, pages, filters, idempotency keys. Raises FoliotError INVALID_FIELD naming the field."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from foliot.kit.errors import FoliotError
from foliot.kit.ids import parse_uuid
from foliot_scheduler.api.calls import Call
from foliot_scheduler.core.commands import Once
from foliot_scheduler.core.types import JobId, RunId, TaskId
from foliot_scheduler.specs.rules import Violations, check_text

PAGE_SIZE_MAX: Final = 1_000
WITH_TASKS_PAGE_MAX: Final = 100
"""Of lists of jobs or runs with their tasks."""
PAGE_SIZE_DEFAULT: Final = 100
OFFSET_MAX: Final = 1_000_000
KEY_BYTES_MAX: Final = 255
FILTER_BYTES_MAX: Final = 255
"""Of a text that a list is filtered by: as long as the longest name that can be found."""

_PAGE_TOKEN_CHARS_MAX: Final = 4_096
_DIGEST_BYTES: Final = 8

EnumT = TypeVar("EnumT")
IdT = TypeVar("IdT", bound=bytes)


class Paged(Protocol):
    """A request for a page by number or by token."""

    page_size: int
    page_token: str
    offset: int


class Keyed(Protocol):
    """A request that is safe to repeat."""

    idempotency_key: str

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:
        """See Message."""
        ...


def task_id_of(text: str, path: str = "task_id") -> TaskId:
    """Read a task's id."""
    return TaskId(uuid_of(text, path))


def run_id_of(text: str, path: str = "run_id") -> RunId:
    """Read a run's id."""
    return RunId(uuid_of(text, path))


def job_id_of(text: str, path: str = "job_id") -> JobId:
    """Read a job's id."""
    return JobId(uuid_of(text, path))


def api_key_id_of(text: str) -> bytes:
    """Read an API key's id."""
    return uuid_of(text, "api_key_id")


def uuid_of(text: str, path: str) -> bytes:
    """Read an id of any kind."""
    if not text:
        raise FoliotError.invalid(path, "is required", rule="required")
    try:
        return parse_uuid(text)
    except ValueError:
        raise FoliotError.invalid(path, "must be a UUID in its canonical text form", rule="malformed") from None


def required_text(path: str, text: str, bytes_max: int) -> str:
    """Read a text that must be there, such as a worker's name."""
    violations = Violations()
    check_text(path, text, bytes_max, violations, required=True)
    violations.raise_if_any()
    return text


def filter_text(path: str, text: str) -> str | None:
    """Read a text to filter by; None if it is empty, which filters nothing."""
    if not text:
        return None
    return required_text(path, text, FILTER_BYTES_MAX)


def enum_of(path: str, number: int, table: Mapping[int, EnumT]) -> EnumT:
    """Read an enum's value. The table holds those allowed."""
    found = table.get(number)
    if found is None:
        raise FoliotError.invalid(path, "must be one of the contract's values", rule="not_one_of")
    return found


def enums_of(path: str, numbers: Iterable[int], table: Mapping[int, EnumT]) -> list[EnumT]:
    """Read several values of an enum, each once."""
    return list(dict.fromkeys(enum_of(f"{path}[{at}]", number, table) for at, number in enumerate(numbers)))


def page_size_of(page_size: int, *, most: int = PAGE_SIZE_MAX) -> int:
    """Read how many entries a page may have."""
    if not 0 <= page_size <= most:
        raise FoliotError.invalid("page_size", f"must be 1 to {most:,}, or 0", rule="out_of_range")
    return page_size or PAGE_SIZE_DEFAULT


def offset_of(offset: int, *, most: int = OFFSET_MAX) -> int:
    """Read how many entries are skipped."""
    if not 0 <= offset <= most:
        raise FoliotError.invalid("offset", f"must be 0 to {most:,}", rule="out_of_range")
    return offset


def once_of(request: Keyed, call: Call) -> Once | None:
    """Read what makes a request safe to repeat: its key, and the digest of everything else in it."""
    key = request.idempotency_key
    if not key:
        return None
    violations = Violations()
    check_text("idempotency_key", key, KEY_BYTES_MAX, violations)
    violations.raise_if_any()
    request.idempotency_key = ""
    try:
        raw = request.SerializeToString(deterministic=True)
    finally:
        request.idempotency_key = key
    # The type's name keeps two calls with equal bytes apart.
    return Once(key, hashlib.sha256(type(request).__name__.encode() + b"\0" + raw).digest(), call.key_is_new)


class PageTokens:
    """Writes and reads the opaque tokens of one request's pages.

    A token carries where the last page ended and a digest of the request's other fields, so that one that is used
    with other fields is refused instead of giving a page that fits nothing.
    """

    def __init__(self, request: Message, other_than: Iterable[str] = ("page_token", "page_size", "with_total")) -> None:
        copy = type(request)()
        copy.CopyFrom(request)
        for name in other_than:
            if name in copy.DESCRIPTOR.fields_by_name:
                copy.ClearField(name)
        raw = copy.SerializeToString(deterministic=True)
        self._digest = hashlib.sha256(type(request).__name__.encode() + b"\0" + raw).digest()[:_DIGEST_BYTES]

    def write(self, end: bytes) -> str:
        """Make the token of the page that follows one that ended there; empty if none does."""
        if not end:
            return ""
        return base64.urlsafe_b64encode(self._digest + end).decode().rstrip("=")

    def read(self, token: str) -> bytes:
        """Read where the last page ended; empty for the first page."""
        if not token:
            return b""
        if len(token) <= _PAGE_TOKEN_CHARS_MAX:
            try:
                raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                raw = b""
            if raw[:_DIGEST_BYTES] == self._digest:
                return raw[_DIGEST_BYTES:]
        raise bad_page_token()


def bad_page_token() -> FoliotError:
    """The error for a token that no answer to this request gave."""
    return FoliotError.invalid("page_token", "is not from an answer to a request with the same other fields", rule="malformed")


def check_token_or_offset(request: Paged) -> None:
    """Refuse a request that names both ways to a page."""
    if request.page_token and request.offset:
        raise FoliotError.invalid("offset", "must not be used with page_token", rule="not_allowed")
