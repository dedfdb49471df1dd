"""Identifiers: 16 bytes inside, canonical UUID text (RFC 9562, section 4) at the borders."""

from __future__ import annotations

_BYTES = 16
_TEXT_LENGTH = 36


def format_uuid(value: bytes) -> str:
    """Answer the canonical text of a UUID's 16 bytes: lower case, with dashes.

    Raises ValueError if `value` is not 16 bytes long. Several times faster than going through `uuid.UUID`.
    """
    if len(value) != _BYTES:
        raise ValueError(f"a UUID has 16 bytes, not {len(value)}")
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_uuid(text: str) -> bytes:
    """Answer the 16 bytes of a UUID in its canonical text form, in either case of letters.

    Raises ValueError for everything else, including the forms with braces, with `urn:` or without dashes that
    `uuid.UUID` lets through: an id has one spelling.
    """
    if len(text) == _TEXT_LENGTH and text[8] == text[13] == text[18] == text[23] == "-":
        try:
            value = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            pass
        else:
            # fromhex skips white space and the replacement takes every dash, so a bad text may come out short.
            if len(value) == _BYTES:
                return value
    raise ValueError(f"not a UUID: {text[:64]!r}")
