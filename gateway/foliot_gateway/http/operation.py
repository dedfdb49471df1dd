"""How an API declares itself: its operations as values, from which routes and OpenAPI both are made.

One declaration gives both, so that the document cannot drift from the behaviour: what `query` and `body` name is what
is parsed, and what is parsed is what is documented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec

from foliot.kit.clock import Clock
from foliot.kit.errors import FoliotError
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.callers import Caller
from foliot_gateway.http.fault import ErrorShape, Fault
from foliot_gateway.http.redis_health import RedisHealth

Query = TypeVar("Query")
Body = TypeVar("Body")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters."""


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No body, or an empty object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Query, Body]):
    """One request, read and checked."""

    backend: Backend
    """The scheduler, reached with the caller's credentials."""
    path: Mapping[str, str]
    """The path parameters, decoded."""
    query: Query
    """The query parameters."""
    body: Body
    """The body."""
    idempotency_key: str
    """The Idempotency-Key header; empty if there is none."""
    caller: Callable[[], Awaitable[Caller]]
    """Who calls: asked for where it matters, and remembered between requests. Raises FoliotError."""
    redis: RedisHealth
    """How Redis does."""
    clock: Clock
    """What time it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a handler answers."""

    status: int
    """The HTTP status."""
    body: object = None
    """What to write as JSON; a text where the media type is another; nothing with 204."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers."""
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathParameter:
    """A path parameter's documentation."""

    description: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDoc:
    """A successful (or at least documented) answer, for the OpenAPI document."""

    status: int
    description: str
    body: Any = None
    """The type of the body: a struct, or a list of one, or str for a text; None where there is none."""
    example: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header names and what they say."""
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another API that documents the same method and path, and is served elsewhere: what was meant for it is told where."""

    fields: frozenset[str]
    """Top-level fields that its bodies have and those of the operation do not."""
    detail: str
    """Where it is served, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Query, Body]):
    """One method of one path."""

    method: Method
    path: str
    """Below the API's prefix; `{name}` is a parameter, and a last segment may end in a `:verb`."""
    name: str
    """camelCase, unique in the API: the OpenAPI operationId."""
    tag: str
    summary: str
    description: str = ""
    handler: Callable[[Call[Query, Body]], Awaitable[Reply]]
    query: type[Query]
    body: type[Body]
    body_example: object = None
    replies: tuple[ReplyDoc, ...]
    refusals: Mapping[int, str] = field(default_factory=dict)
    """The statuses of errors that this operation has beside the common ones, and when."""
    idempotent: bool = False
    """Whether the Idempotency-Key header is read."""
    takes_nul: bool = False
    """Whether texts in the body may hold NUL, as what a program wrote may."""
    neighbour: Neighbour | None = None
    """Whose bodies are refused with 400 and its place, instead of by their unknown fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A documented API, to be mounted at any prefix of any listener."""

    name: str
    """snake_case, unique: the name in the configuration and in the OpenAPI document."""
    title: str
    description: str
    claims: tuple[str, ...]
    """Path prefixes whose unknown paths get this API's error shape; the longest prefix wins."""
    operations: tuple[Operation[Any, Any], ...]
    parameters: Mapping[str, PathParameter]
    """The path parameters, by name."""
    errors: ErrorShape
    translate: Callable[[FoliotError], Fault]
    """What an error of the scheduler means to this API's callers."""
    rule_status: int
    """The status of a well-formed body that breaks a rule: 422, or 400 where the document knows no 422."""
