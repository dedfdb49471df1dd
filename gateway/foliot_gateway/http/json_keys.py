"""Finds what JSON's grammar allows and no reader agrees on: an object that has a key twice.

RFC 8259 (4) leaves open which value counts. A proxy that looks at the first and a scheduler that takes the last would each see
another request, so such a body is refused. msgspec takes the last without a word; the standard library's reader hands out the
pairs of each object as they came, and costs about as much again.
"""

from __future__ import annotations

import json
from typing import Final


class DuplicateJsonKeyError(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        """Take the key."""
        super().__init__(key)
        self.key = key


def check_keys(text: str) -> None:
    """Raise DuplicateJsonKeyError naming the first key that an object has twice, RecursionError for what nests too deeply.

    The text is valid JSON.
    """
    _READER.decode(text)


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise DuplicateJsonKeyError(key)
        seen.add(key)


# Numbers are of no interest: float takes those of any length, which int refuses.
_READER: Final = json.JSONDecoder(object_pairs_hook=_check_pairs, parse_int=float)
