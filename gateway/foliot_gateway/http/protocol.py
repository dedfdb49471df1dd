"""HTTP/1.1 on one connection, as uvicorn speaks it, with limits on what comes before a body.

uvicorn's parser takes a request line and headers of any length and waits for them for ever, so whoever reaches the port
could fill the memory or the table of open files before any credential is looked at. Bodies have their limits elsewhere:
`reading.py` reads them. What is refused here is no request yet, so no API has a shape for it: it is answered as problem
details (RFC 9457), and the connection ends.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES_MAX = 64 * 1024
"""The longest request line with headers, in bytes: what the parser takes of a URL, and eight times nginx's default."""
HEAD_WITHIN_S = 60.0
"""How long a request line with headers may take to arrive, from its first byte, or the connection's start: nginx's figure."""


LINGER_S = 2.0
"""How long a refused connection may go on sending what is thrown away, so that it finds the answer."""


class HeadTooLongError(Exception):
    """Raised to the parser to stop it: the head has more than HEAD_BYTES_MAX bytes."""


class BadHeadError(Exception):
    """Raised to the parser to stop it: the request is of another HTTP, or does not say once which host it is for."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection, whose requests' heads are bounded in bytes and in time."""

    head_within_s = HEAD_WITHIN_S

    _reading_head = True
    _head_began = False
    _head_bytes = 0
    _unparsed_bytes = 0
    _refused = False
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what the parser keeps of a head to itself, such as half a header, is bounded here."""
        if self._refused:
            return
        self._head_began = False
        super().data_received(data)
        # What a head began in may hold the end of the request before: one read, which is bounded.
        if not self._reading_head or self._head_began:
            return
        self._unparsed_bytes += len(data)
        if self._unparsed_bytes > HEAD_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._reading_head = self._head_began = True
        self._head_bytes = self._unparsed_bytes = 0
        if self._timer is None:
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, with its colon and line end."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Leave the rest to the application; raises BadHeadError as RFC 9112 (2.3, 3.2) has it."""
        hosts = [value for name, value in self.headers if name == b"host"]
        version = self.parser.get_http_version()  # the parser takes 0.9 too, whose requests are of another form
        if (
            version not in {"1.0", "1.1"}
            or len(hosts) > 1
            or (version == "1.1" and not hosts)
            or not all(map(_HOST.fullmatch, hosts))
        ):
            raise BadHeadError
        self._reading_head = False
        self._forget_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which are always the same
        """Answer what the parser refused, or what was too much for it."""
        too_long = self._head_bytes > HEAD_BYTES_MAX
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else HTTPStatus.BAD_REQUEST)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise HeadTooLongError

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(self.head_within_s, self._head_is_late)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        if self._is_answering:
            self._wait_for_head()  # the answer to the request before comes first
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    @property
    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None until the first request, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._forget_timer()
        code, detail = _REFUSALS[status]
        body = msgspec.json.encode(
            {
                "type": f"urn:foliot:problem:{code.replace('_', '-')}",
                "title": code.replace("_", " ").capitalize(),
                "status": int(status),
                "detail": detail,
            }
        )
        head = (
            f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        if self._is_answering:
            self.transport.close()
            return
        if not self.transport.can_write_eof():  # TLS knows no half-closed connection
            self.transport.close()
            return
        # Closed with bytes that nobody read, the system would reset the connection, and the answer could be lost with it.
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)


# RFC 9110 (7.2): a host as in a URL, and perhaps a port; empty where the target has none.
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: ("malformed_request", "This is not a request of HTTP/1.1, whose header Host is given once."),
    HTTPStatus.REQUEST_TIMEOUT: ("slow_headers", f"No complete request line and headers within {HEAD_WITHIN_S:g} seconds."),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        "headers_too_large",
        f"The request line and the headers may have {HEAD_BYTES_MAX} bytes together.",
    ),
}
