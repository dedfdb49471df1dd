"""Turns a site into a Litestar application: one route for each operation, every error in its API's shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from foliot.client import Client
from foliot.kit.clock import Clock
from foliot.kit.errors import FoliotError
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.edge import AsgiApp, Edge, fault_body
from foliot_gateway.http.fault import Fault, FaultError
from foliot_gateway.http.operation import Api, Call, NoBody, NoQuery, Operation
from foliot_gateway.http.reading import parse_body, parse_idempotency_key, parse_query, read_body
from foliot_gateway.http.site import Asset, Site, route_template, unescape_segment

_LOG = get_logger("gateway")
Handler = Callable[[Request[Any, Any, Any]], Awaitable[Response[bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What every handler needs."""

    client: Client
    """The scheduler."""
    clock: Clock
    body_bytes_max: int
    body_timeout_s: float
    request_timeout_s: float


def build_app(site: Site, service: Service) -> AsgiApp:
    """Return the ASGI application of one listener."""
    handlers = [
        HTTPRouteHandler(
            path=route_template(mount, operation.path),
            http_method=operation.method,
            status_code=200,  # each reply says its own; 204 here would forbid bodies
            opt={"api": mount.api},
        )(_operation_handler(mount.api, operation, service))
        for mount in site.mounts
        for operation in mount.api.operations
    ]
    handlers += [
        HTTPRouteHandler(path=asset.path, http_method="GET", status_code=200)(_asset_handler(asset)) for asset in site.assets
    ]
    router = Litestar(
        route_handlers=handlers,
        exception_handlers={Exception: _error_handler(site, service.clock)},
        openapi_config=None,  # our own document is made from the same declarations as the routes
        logging_config=None,  # the kit configures logging
        request_max_body_size=None,  # see read_body
    )
    return Edge(router, site, service.clock, body_bytes_max=service.body_bytes_max)  # type: ignore[arg-type]  # Litestar types the ASGI messages one by one, the edge as mappings


def _operation_handler(api: Api, operation: Operation[Any, Any], service: Service) -> Handler:
    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        query = parse_query(request.scope["query_string"], operation.query)
        key = parse_idempotency_key(request.headers.get("idempotency-key") if operation.idempotent else None)
        body: object = NoBody()
        if operation.method != "GET":
            raw = await read_body(
                request.receive,  # type: ignore[arg-type]  # Litestar types the ASGI messages one by one
                bytes_max=service.body_bytes_max,
                timeout_s=service.body_timeout_s,
            )
            content_type = request.headers.get("content-type", "")
            body = parse_body(raw, content_type, operation.body, rule_status=api.rule_status)
        reply = await operation.handler(
            Call(
                backend=Backend.of(
                    service.client,
                    authorization=request.headers.get("authorization", ""),
                    timeout_s=service.request_timeout_s,
                ),
                path={name: unescape_segment(value) for name, value in request.path_params.items()},
                query=query,
                body=body,
                idempotency_key=key,
            )
        )
        return Response(
            msgspec.json.encode(reply.body),
            status_code=reply.status,
            media_type="application/json",
            headers=dict(reply.headers),
        )

    return handle


def _asset_handler(asset: Asset) -> Handler:
    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        parse_query(request.scope["query_string"], NoQuery)
        return Response(asset.content, media_type=asset.media_type, headers={"cache-control": "no-cache"})

    return handle


def _error_handler(site: Site, clock: Clock) -> Callable[[Request[Any, Any, Any], Exception], Response[bytes]]:
    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        # The router leaves no handler behind when it finds none, whatever its types say.
        handler = cast("HTTPRouteHandler | None", request.scope.get("route_handler"))
        api: Api = (handler and handler.opt.get("api")) or site.api_at(request.scope["path"])
        fault = _fault(error, api, site.allow(request.scope["path"]), clock)
        body = fault_body(
            fault,
            api,
            instance=request.scope["raw_path"].decode("latin-1"),
            request_id=request.scope["foliot_request_id"],  # type: ignore[typeddict-item]  # put there by the edge
        )
        return Response(body, status_code=fault.status, media_type=api.errors.media_type, headers=fault.headers())

    return answer


def _fault(error: Exception, api: Api, allow: str, clock: Clock) -> Fault:
    """Return what an exception means to the caller."""
    if isinstance(error, FaultError):
        return error.fault
    if isinstance(error, FoliotError):
        return api.translate(error)
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _router_fault(error, allow)
    error_id = format_uuid(clock.uuid7())
    _LOG.error("gateway.request_crashed", error_id=error_id, exc_info=error)
    detail = f"Something went wrong inside the gateway; the log says more at {error_id}."
    return Fault(status=500, code="internal", detail=detail, facts={"error_id": error_id})


def _router_fault(error: HTTPException, allow: str) -> Fault:
    status = HTTPStatus(error.status_code)
    match status:
        case HTTPStatus.NOT_FOUND:
            return Fault(status=status, code="not_found", detail="Nothing is at this path.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"This path has {allow}, not this method."
            return Fault(status=status, code="method_not_allowed", detail=detail, allow=allow)
        case _:
            return Fault(status=status, code="bad_request", detail=str(error.detail))
