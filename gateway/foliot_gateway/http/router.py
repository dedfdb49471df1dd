"""Turns a site into an ASGI application: one route for each operation, every error in its API's shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from foliot.client import Client
from foliot.kit.clock import Clock
from foliot.kit.errors import FoliotError
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.callers import Callers
from foliot_gateway.http.edge import AsgiApp, Edge, Scope, Send, fault_body
from foliot_gateway.http.fault import Fault, FaultError
from foliot_gateway.http.hosts import HostGuard
from foliot_gateway.http.in_flight import InFlight
from foliot_gateway.http.limits.gate import Gate
from foliot_gateway.http.operation import Api, Call, NoBody, NoQuery, Operation, Reply
from foliot_gateway.http.reading import Receive, check_content_encoding, parse_body, parse_idempotency_key, parse_query, read_body
from foliot_gateway.http.redis_health import RedisHealth
from foliot_gateway.http.routes import Routes
from foliot_gateway.http.site import Asset, Site, route_template, unescape_segment

_LOG = get_logger("gateway")
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that has come to its route."""

    headers: Mapping[str, str]
    """By lower-case name."""
    query_string: bytes
    path: Mapping[str, str]
    """The path parameters, escaped."""
    receive: Receive
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is answered."""

    status: int
    media_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """What is at a method of a path."""

    template: str
    """The path as it is documented, for traces and metrics."""
    api: Api
    handle: Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What every handler needs."""

    client: Client
    """The scheduler."""
    callers: Callers
    """Who calls."""
    gate: Gate
    """Who is let in."""
    redis: RedisHealth
    clock: Clock
    body_bytes_max: int
    body_timeout_s: float
    request_timeout_s: float
    in_flight: InFlight
    """How many requests there are, over all listeners."""


def build_app(site: Site, service: Service, *, hosts: HostGuard | None = None) -> AsgiApp:
    """Return the ASGI application of one listener; with `hosts`, strange names for it are refused."""
    routes: Routes[Route] = Routes()
    for mount in site.mounts:
        for operation in mount.api.operations:
            handle = _operation_handler(mount.api, operation, service)
            route = Route(mount.prefix + operation.path, mount.api, handle)
            routes.add(operation.method, route_template(mount, operation.path), route)
    for asset in site.assets:
        routes.add("GET", asset.path, Route(asset.path, site.api_at(asset.path), _asset_handler(asset)))
    router = Router(site, routes, service.clock)
    return Edge(
        router,
        site,
        service.gate,
        service.clock,
        hosts=hosts,
        in_flight=service.in_flight,
        body_bytes_max=service.body_bytes_max,
    )


class Router:
    """An ASGI application that knows what is where; the edge is around it."""

    def __init__(self, site: Site, routes: Routes[Route], clock: Clock) -> None:
        self._site = site
        self._routes = routes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is escaped and whose headers the edge has read."""
        path: str = scope["path"]
        route: Route | None = None
        try:
            found = self._routes.find(scope["method"], path)
            if found is None:
                raise FaultError(_nothing_there(self._site.allow(path)))
            route, values = found
            scope["path_template"] = route.template
            headers = scope["foliot_headers"]
            request = Request(
                headers=headers,
                query_string=scope["query_string"],
                path=values,
                receive=receive,
                request_id=scope["foliot_request_id"],
            )
            response = await route.handle(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told in the API's shape
            api = self._site.api_at(path) if route is None else route.api
            response = self._refused(error, api, scope)
        fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers.items()]
        if response.status != HTTPStatus.NO_CONTENT:  # which has neither (RFC 9110, 8.6)
            fields.append((b"content-type", response.media_type.encode("ascii")))
            fields.append((b"content-length", str(len(response.body)).encode("ascii")))
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    def _refused(self, error: Exception, api: Api, scope: Scope) -> Response:
        fault = _fault(error, api, self._clock)
        instance, request_id = scope["raw_path"].decode("latin-1"), scope["foliot_request_id"]
        body = fault_body(fault, api, instance=instance, request_id=request_id)
        return Response(status=fault.status, media_type=api.errors.media_type, body=body, headers=fault.headers())


def _operation_handler(api: Api, operation: Operation[Any, Any], service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        headers = request.headers
        query = parse_query(request.query_string, operation.query)
        key = parse_idempotency_key(headers.get("idempotency-key") if operation.idempotent else None)
        body: object = NoBody()
        if operation.method != "GET":
            check_content_encoding(headers.get("content-encoding", ""))
            raw = await read_body(request.receive, bytes_max=service.body_bytes_max, timeout_s=service.body_timeout_s)
            content_type = headers.get("content-type", "")
            body = parse_body(
                raw,
                content_type,
                operation.body,
                rule_status=api.rule_status,
                neighbour=operation.neighbour,
                takes_nul=operation.takes_nul,
            )
        authorization = headers.get("authorization", "")
        reply = await operation.handler(
            Call(
                backend=Backend.of(
                    service.client,
                    authorization=authorization,
                    timeout_s=service.request_timeout_s,
                    project=headers.get("foliot-project", ""),
                    request_id=request.request_id,
                ),
                path={name: unescape_segment(value) for name, value in request.path.items()},
                query=query,
                body=body,
                idempotency_key=key,
                caller=partial(service.callers.find, authorization),
                redis=service.redis,
                clock=service.clock,
            )
        )
        return Response(status=reply.status, media_type=reply.media_type, body=_written(reply), headers=reply.headers)

    return handle


def _written(reply: Reply) -> bytes:
    if reply.status == HTTPStatus.NO_CONTENT:
        return b""
    return reply.body.encode() if isinstance(reply.body, str) and reply.media_type != _JSON else msgspec.json.encode(reply.body)


def _asset_handler(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    media_type = f"{asset.media_type}; charset=utf-8" if asset.media_type.startswith("text/") else asset.media_type

    async def handle(request: Request) -> Response:
        parse_query(request.query_string, NoQuery)
        return Response(status=200, media_type=media_type, body=asset.content, headers={"cache-control": "no-cache"})

    return handle


def _fault(error: Exception, api: Api, clock: Clock) -> Fault:
    """Return what an exception means to the caller."""
    if isinstance(error, FaultError):
        return error.fault
    if isinstance(error, FoliotError):
        return api.translate(error)
    error_id = format_uuid(clock.uuid7())
    _LOG.error("gateway.request_crashed", error_id=error_id, exc_info=error)
    detail = f"Something went wrong inside the gateway; the log says more at {error_id}."
    return Fault(status=500, code="internal", detail=detail, facts={"error_id": error_id})


def _nothing_there(allow: str) -> Fault:
    """Return the fault of a path that is nowhere, or that has other methods."""
    if not allow:
        return Fault(status=404, code="not_found", detail="Nothing is at this path.")
    return Fault(status=405, code="method_not_allowed", detail=f"This path has {allow}, not this method.", allow=allow)
