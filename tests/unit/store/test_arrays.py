"""Columns are written as PostgreSQL reads arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot_scheduler.store import arrays
from foliot_scheduler.store.columns import array_literal, clean, pack_attempts, unpack_attempts

_BLOBS = st.binary(max_size=20)
_INTEGERS = st.integers(-(2**31), 2**31 - 1)
_BIGINTS = st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@pytest.mark.parametrize(
    ("pack", "values"),
    [
        (arrays.pack_ids, st.binary(min_size=16, max_size=16)),
        (arrays.pack_bigints, _BIGINTS),
        (arrays.pack_integers, _INTEGERS),
        (arrays.pack_texts, _TEXTS),
        (arrays.pack_blobs, _BLOBS),
    ],
)
def test_what_is_packed_is_unpacked(pack: Callable[[Sequence[Any]], bytes], values: st.SearchStrategy[Any]) -> None:
    @given(st.one_of(st.lists(values), st.lists(values | st.none()), st.lists(st.just(None)), st.lists(values, max_size=1)))
    def check(column: list[Any]) -> None:
        assert arrays.unpack(pack(column)) == column
        assert pack(tuple(column)) == pack(column)
        assert arrays.unpack(pack(column * 3)) == column * 3

    check()


def test_attempts_are_packed_big_endian() -> None:
    assert pack_attempts((1, 70_000)) == b"\0\0\0\x01\0\x01\x11\x70"
    assert unpack_attempts(pack_attempts((1, 70_000))) == (1, 70_000)


def test_array_literals_quote_everything() -> None:
    assert array_literal(['a"b', "c\\d", "e,{f}", "", "null"]) == '{"a\\"b","c\\\\d","e,{f}","","null"}'
    assert array_literal([]) == "{}"


def test_nul_is_replaced() -> None:
    assert clean("a\0b") == "a\ufffdb"
