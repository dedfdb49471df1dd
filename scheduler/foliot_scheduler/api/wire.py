"""Requests from their bytes: what is no valid message of its type, or holds what this version does not know, is refused.

Parsing is protobuf's. Only when that fails, or finds more than it knows, the bytes are walked here to say where:
slow, and bounded by the size of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from foliot.kit.errors import ErrorReason, FieldViolation, FoliotError

if TYPE_CHECKING:
    from collections.abc import Iterator

RequestT = TypeVar("RequestT", bound=Message)

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX: Final = 10
_DEPTH_MAX: Final = 100
"""Protobuf's own limit on nesting."""


def parse_request(request_type: type[RequestT], raw: bytes) -> RequestT:
    """Parse a request. Raises FoliotError INVALID_FIELD for malformed bytes, invalid UTF-8 and unknown fields, naming where."""
    try:
        request = request_type.FromString(raw)
    except DecodeError:
        raise _refused(request_type.DESCRIPTOR, raw) from None
    # Unknown fields are found by what is lost without them, at 0.3 µs a task of a bulk request; asking each message
    # is ten times slower.
    size = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() != size:
        raise _refused(request_type.DESCRIPTOR, raw)
    return request


# Descriptors are `Any`: which of two classes they have depends on how protobuf was built.


def _refused(descriptor: Any, raw: bytes) -> FoliotError:
    fault = _find_fault(raw, descriptor, "", 0)
    if fault is None:
        return FoliotError(ErrorReason.INVALID_FIELD, f"the request is not a valid {descriptor.name}")
    where = fault.field or descriptor.name
    return FoliotError(ErrorReason.INVALID_FIELD, f"{where}: {fault.description}", fields=[fault])


def _find_fault(raw: bytes, descriptor: Any, path: str, depth: int) -> FieldViolation | None:
    """The first thing in a message's bytes that is wrong, in the order of the bytes; None if nothing is found."""
    counts: dict[int, int] = {}
    try:
        for number, wire_type, content in _fields(raw):
            field = descriptor.fields_by_number.get(number)
            if field is None:
                return FieldViolation(path, f"has a field {number} that this version does not know", "unknown_field")
            at = f"{path}.{field.name}" if path else field.name
            if field.is_repeated and not _is_map(field):
                index = counts.get(number, 0)
                counts[number] = index + 1
                at = f"{at}[{index}]"
            if wire_type != _LENGTH or content is None:
                continue
            if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(content):
                return FieldViolation(at, "must be valid UTF-8", "not_utf8")
            if field.message_type is not None and depth < _DEPTH_MAX:
                fault = _find_fault(content, field.message_type, at, depth + 1)
                if fault is not None:
                    return fault
    except ValueError:
        return FieldViolation(path, "is not valid protobuf", "malformed")
    return None


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fields(raw: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """Number, wire type and, of those with a length, the content. Raises ValueError for malformed bytes."""
    position, end = 0, len(raw)
    while position < end:
        tag, position = _varint(raw, position)
        number, wire_type = tag >> 3, tag & 7
        content = None
        if wire_type == _VARINT:
            _, position = _varint(raw, position)
        elif wire_type == _LENGTH:
            length, position = _varint(raw, position)
            content = raw[position : position + length]
            position += length
        elif wire_type in {_FIXED32, _FIXED64}:
            position += 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError("groups are not used")
        if position > end or number == 0:
            raise ValueError("cut off")
        yield number, wire_type, content


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = 0
    for count in range(_VARINT_BYTES_MAX):
        if position + count >= len(raw):
            break
        byte = raw[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + count + 1
    raise ValueError("a number without an end")
