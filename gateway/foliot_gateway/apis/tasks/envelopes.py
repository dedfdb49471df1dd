"""What answers of `tasks` come in: `{"data"}`, and for lists `{"data", "meta"}`."""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from foliot_gateway.http.fault import FieldFault, refuse

T = TypeVar("T")

OFFSET_MAX: Final = 1_000_000
"""How far the contract skips; pages beyond are refused."""

Page = Annotated[int, Meta(description="Which page, from 1. Pages beyond the 1,000,000th entry are refused.", ge=1, le=1_000_001)]
Limit = Annotated[int, Meta(description="How many items a page has.", ge=1, le=100)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What all shapes have in common. Never a part of a cycle, so the garbage collector need not look at it."""


class PageMeta(Shape, frozen=True, kw_only=True):
    """Where a page is."""

    page: Annotated[int, Meta(description="The page's number, from 1.", ge=1)]
    limit: Annotated[int, Meta(description="How many items a page has at most.", ge=1)]
    total: Annotated[int, Meta(description="How many items there are in all.", ge=0)]
    pages: Annotated[int, Meta(description="How many pages there are.", ge=0)]


class One(Shape, Generic[T], frozen=True, kw_only=True):
    """One thing."""

    data: T


class PageOf(Shape, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    data: list[T]
    meta: PageMeta


def page_offset(page: int, limit: int) -> int:
    """Return how many items are before a page; raises FaultError 400 where the list is not read that far."""
    offset = (page - 1) * limit
    if offset > OFFSET_MAX:
        rule = f"must not begin after the {OFFSET_MAX:,}th entry"
        raise refuse(400, "invalid_parameter", f"`page`: {rule}.", FieldFault("page", rule))
    return offset


def page_meta(page: int, limit: int, total: int) -> PageMeta:
    """Return where a page is."""
    return PageMeta(page=page, limit=limit, total=total, pages=-(-total // limit))
