"""What comes before a request's body is bounded, in bytes and in time, whoever sends it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from foliot.kit.settings import HostPort
from foliot.kit.tls import server_tls
from foliot_gateway.http.listener import bind, bound_address, make_server
from foliot_gateway.http.protocol import HEAD_BYTES_MAX, LimitedProtocol
from tests.certificates import Authority


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with its path, once its body is complete."""
    while (await receive()).get("more_body", False):
        pass
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def address() -> AsyncIterator[HostPort]:
    listening = bind("--http", HostPort("127.0.0.1", 0))
    server = make_server(echo)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listening]), name="server")
        yield bound_address(listening)
        server.should_exit = True


async def answers(address: HostPort, *pieces: bytes) -> bytes:
    """Send the pieces and return everything until the server closes the connection."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # it was refused while it was still being sent
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def status_of(address: HostPort, *pieces: bytes) -> tuple[int, str]:
    """Return the status and the problem's name of the one answer."""
    head, _, body = (await answers(address, *pieces)).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"content-type: application/problem+json" in head
    assert problem["status"] == int(head.split()[1])
    return problem["status"], problem["type"].removeprefix("urn:foliot:problem:")


def request(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


LAST = "Connection: close"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: user@a\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_request_says_once_which_host_it_is_for(address: HostPort, head: bytes) -> None:
    assert await status_of(address, head) == (400, "malformed-request")


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"])
async def test_the_first_version_of_http_needs_no_host(address: HostPort, head: bytes) -> None:
    assert (await answers(address, head)).startswith(b"HTTP/1.1 200")


async def test_requests_within_the_limit_are_served_one_after_another_on_a_connection(address: HostPort) -> None:
    long = f"X-Long: {'a' * (HEAD_BYTES_MAX - 500)}"

    both = await answers(address, request("/first", long), request("/second", long, LAST))

    assert both.count(b"HTTP/1.1 200 OK") == 2
    assert both.endswith(b"/second")


async def test_pipelined_requests_are_counted_one_by_one(address: HostPort) -> None:
    half = f"X-Long: {'a' * (HEAD_BYTES_MAX // 2)}"

    all_of_them = await answers(address, request("/a", half) + request("/b", half) + request("/c", half, LAST))

    assert all_of_them.count(b"HTTP/1.1 200 OK") == 3


async def test_a_long_body_is_no_part_of_the_head(address: HostPort) -> None:
    size = 4 * HEAD_BYTES_MAX

    answer = await answers(address, request("/body", f"Content-Length: {size}", LAST) + b"x" * size)

    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([f"X-Long: {'a' * HEAD_BYTES_MAX}"], id="one long header"),
        pytest.param([f"X-{i}: {'a' * 100}" for i in range(1_000)], id="many headers"),
    ],
)
async def test_headers_over_the_limit_are_refused(address: HostPort, headers: list[str]) -> None:
    assert await status_of(address, request("/", *headers)) == (431, "headers-too-large")


async def test_a_url_over_the_limit_is_refused(address: HostPort) -> None:
    assert await status_of(address, request("/" + "a" * HEAD_BYTES_MAX)) == (431, "headers-too-large")


async def test_a_header_that_never_ends_is_refused_without_being_read_to_its_end(address: HostPort) -> None:
    start = b"GET / HTTP/1.1\r\nX-Endless: "

    assert await status_of(address, start, *[b"a" * HEAD_BYTES_MAX] * 16) == (431, "headers-too-large")


async def test_what_is_no_http_is_refused_as_a_problem_too(address: HostPort) -> None:
    assert await status_of(address, b"\x16\x03\x01\x02\x00\x01\r\n\r\n") == (400, "malformed-request")


async def test_a_connection_that_sends_no_complete_head_in_time_is_ended(
    address: HostPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_within_s", 0.05)

    assert await status_of(address) == (408, "slow-headers")
    assert await status_of(address, b"GET / HTTP/1.1\r\nHost: ") == (408, "slow-headers")


async def test_a_second_head_has_its_own_time(address: HostPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_within_s", 0.05)

    both = await answers(address, request("/first"), b"GET /second HT")

    assert both.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 408 Request Timeout" in both


async def test_what_is_refused_over_tls_is_told_why_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.sign("server")
    tls = server_tls(own.certificate, own.key, None)
    assert tls is not None
    listening = bind("--http", HostPort("127.0.0.1", 0))
    server = make_server(echo)
    server.config.load()
    server.config.ssl = tls.context
    trust = ssl.create_default_context(cafile=str(authority.ca))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listening]), name="server")
        for head, status in ((b"GET / HTTP/1.1\r\n\r\n", b"400"), (request("/", "X: " + "x" * HEAD_BYTES_MAX), b"431")):
            reader, writer = await asyncio.open_connection("127.0.0.1", bound_address(listening).port, ssl=trust)
            writer.write(head)
            assert (await reader.read()).split()[1] == status
            writer.close()
        server.should_exit = True
