"""The outermost layer of a listener: everything that is the same for each request, whatever it asks for.

A plain ASGI layer around the router, so that it also sees what the router refuses. It gives the request an id and a
span, counts it against its rate limit, checks what needs no body, bounds the body, and finishes the response's headers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
from opentelemetry import trace

from foliot.kit.clock import Clock
from foliot.kit.ids import format_uuid
from foliot.kit.logs import get_logger
from foliot.kit.telemetry import Histogram, extract
from foliot_gateway.http.accept import check_accept
from foliot_gateway.http.fault import Fault, FaultError, refuse
from foliot_gateway.http.hosts import HostGuard
from foliot_gateway.http.in_flight import InFlight, body_size
from foliot_gateway.http.limits.gate import FREE_PATHS, Gate, exceeded
from foliot_gateway.http.limits.gcra import Decision
from foliot_gateway.http.operation import Api
from foliot_gateway.http.reading import Receive, too_large
from foliot_gateway.http.site import Site

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LINGER_BYTES_MAX: Final = 32 * 1024 * 1024
"""How much of a refused body is read and thrown away, so that a client that writes all before it reads sees the 413."""
LINGER_S: Final = 2.0
"""How long that may take."""
UNSAFE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
COMMON_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
HTML_HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACER = trace.get_tracer("foliot.gateway")
_LOG = get_logger("gateway")
_DURATIONS = Histogram(
    "foliot_gateway_request_duration_seconds",
    unit="seconds",
    description="How long requests took, from their headers to the end of their answer; the route is empty where nothing is.",
    labels=("method", "route", "status"),
)


class Edge:
    """An ASGI application around a site's router."""

    def __init__(
        self,
        router: AsgiApp,
        site: Site,
        gate: Gate,
        clock: Clock,
        *,
        hosts: HostGuard | None,
        in_flight: InFlight,
        body_bytes_max: int,
    ) -> None:
        """Take the router, what it routes to, who is let in, by what name, how many at once, and the largest body, in bytes."""
        self._router = router
        self._site = site
        self._gate = gate
        self._clock = clock
        self._hosts = hosts
        self._in_flight = in_flight
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            # Only requests are served: there is no lifespan to start, and no web socket to accept.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = _headers(scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else format_uuid(self._clock.uuid7())
        method: str = scope["method"]
        started = self._clock.monotonic()
        response = _Response(receive, send, method=method, request_id=request_id, expects="expect" in headers)
        with _TRACER.start_as_current_span(
            f"HTTP {method}",
            context=extract(headers.get("traceparent", "")),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "foliot.request_id": request_id},
        ) as span:
            inner = await self._serve_if_room(scope, headers, receive, response)
            template = str(inner.get("path_template", ""))
            span.update_name(f"{method} {template}" if template else f"HTTP {method}")
            span.set_attributes({"http.response.status_code": response.status, "http.route": template})
            took_s = self._clock.monotonic() - started
            _DURATIONS.observe(took_s, method, template, str(response.status))
            # A line for each request would cost more than many a request. Failures of ours have a line of their own besides.
            log = _LOG.warning if response.status >= 500 else _LOG.debug  # noqa: PLR2004 - the statuses that are our own fault
            log(
                "gateway.request",
                method=method,
                route=template,
                path=_raw_path(scope),
                status=response.status,
                duration_ms=round(took_s * 1000, 3),
                request_id=request_id,
            )

    async def _serve_if_room(self, scope: Scope, headers: dict[str, str], receive: Receive, response: _Response) -> Scope:
        size = body_size(headers, self._body_bytes_max)
        try:
            self._in_flight.begin(size, watches=scope["raw_path"] in FREE_PATHS)
        except FaultError as error:
            await write_fault(error.fault, self._api_of(scope), response, instance=_raw_path(scope))
            return scope
        try:
            decision = await self._gate.admit(_peer(scope), scope["raw_path"], headers)
            response.limit_fields = [] if decision is None else self._gate.fields(decision)
            return await self._serve(scope, headers, receive, response, decision)
        finally:
            self._in_flight.end(size)

    async def _serve(
        self, scope: Scope, headers: dict[str, str], receive: Receive, response: _Response, decision: Decision | None
    ) -> Scope:
        # A copy: the server keeps the original, and must go on seeing HEAD to leave out the body.
        inner = dict(scope)
        inner["foliot_request_id"] = response.request_id
        inner["foliot_headers"] = headers
        inner["method"] = "GET" if scope["method"] == "HEAD" else scope["method"]
        try:
            inner["path"] = self._site.route_path(scope["raw_path"])
            if decision is not None and not decision.allowed:
                raise FaultError(exceeded(decision))
            self._check(inner, headers)
            if self._hosts is not None:
                await self._hosts.check(headers.get("host", ""), scope["raw_path"], headers.get("authorization", ""))
            if scope["method"] == "OPTIONS" and (allow := self._site.allow(inner["path"])):
                # The router would answer for one operation of the path, not for all of them.
                await response({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow.encode("ascii"))]})
                await response({"type": "http.response.body", "body": b"", "more_body": False})
                return inner
        except FaultError as error:
            api = self._site.api_at(str(inner["path"]))
            await write_fault(error.fault, api, response, instance=_raw_path(scope))
            return inner
        await self._router(inner, receive, response)
        return inner

    def _api_of(self, scope: Scope) -> Api:
        """The API whose shape a fault has that is found before the request is looked at."""
        try:
            return self._site.api_at(self._site.route_path(scope["raw_path"]))
        except FaultError:
            return self._site.api_at(str(scope["path"]))

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._body_bytes_max:
            raise too_large(self._body_bytes_max)
        check_accept(headers.get("accept", ""))
        if scope["method"] in UNSAFE_METHODS and headers.get("sec-fetch-site") == "cross-site":
            # A page of another site must not make a visitor's browser act on a scheduler that trusts its loopback.
            raise refuse(403, "cross_site", "A page of another site may not change anything here.")


class _Response:
    """Finishes the response's headers, notes its status, and lingers after a refused body."""

    def __init__(self, receive: Receive, send: Send, *, method: str, request_id: str, expects: bool) -> None:
        self.request_id = request_id
        self.limit_fields: list[tuple[bytes, bytes]] = []
        self.status = 0
        self._receive = receive
        self._send = send
        self._method = method
        self._expects = expects

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            await self._send({**message, "headers": self._finished(list(message.get("headers", [])))})
        elif self.status == 413 and not message.get("more_body", False):  # noqa: PLR2004 - see LINGER_BYTES_MAX
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)

    def _finished(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers += [(b"x-request-id", self.request_id.encode("ascii")), *self.limit_fields, *COMMON_HEADERS]
        if any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in headers):
            headers += HTML_HEADERS
        if self.status == 413:  # noqa: PLR2004 - what is left of the body must not be read as the next request
            headers.append((b"connection", b"close"))
        return headers

    async def _linger(self) -> None:
        if self._expects:
            return  # the client waits for leave to send its body, and has its answer instead
        left = LINGER_BYTES_MAX
        try:
            async with asyncio.timeout(LINGER_S):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def fault_body(fault: Fault, api: Api, *, instance: str, request_id: str) -> bytes:
    """Return the body of a fault in the API's shape."""
    return msgspec.json.encode(api.errors.render(fault, instance=instance, request_id=request_id))


async def write_fault(fault: Fault, api: Api, response: _Response, *, instance: str) -> None:
    """Write a fault in the API's shape as the whole response."""
    body = fault_body(fault, api, instance=instance, request_id=response.request_id)
    headers = [
        (b"content-type", api.errors.media_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in fault.headers().items()),
    ]
    await response({"type": "http.response.start", "status": fault.status, "headers": headers})
    await response({"type": "http.response.body", "body": body, "more_body": False})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; of repeated ones the lines joined, as RFC 9110 (5.3) has it."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _peer(scope: Scope) -> str | None:
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else None


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1")
