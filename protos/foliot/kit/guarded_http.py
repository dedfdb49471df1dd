"""HTTP to addresses that may be reached for somebody else, and no others.

Names are resolved here, each address is checked, and the connection goes to a checked address: a name that resolves differently a
moment later gains nothing. TLS and the Host header still use the name. Resolving has threads of its own, so many that names whose
servers do not answer are not in the way of others.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, cast

import httpcore
import httpx

from foliot.kit.addresses import AddressPolicy

_CONNECTIONS_MAX: Final = 1_000
_IDLE_MAX: Final = 100
_IDLE_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 10.0
_RESOLVER_THREADS: Final = 64


class AddressRefusedError(Exception):
    """All addresses of a host are out of bounds."""


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves names, checks addresses, connects to a checked one."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._inner = httpcore.AnyIOBackend()
        self._resolver = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="foliot.resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the name that httpcore uses
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(self._resolver, resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        allowed = [address for address in addresses if self._policy.allows(address)]
        if not allowed:
            raise AddressRefusedError(f"{host} is at an address that must not be reached")
        failure: Exception | None = None
        for address in allowed:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise httpcore.ConnectError(f"no connection to {host}:{port}: {failure}") from failure

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def close(self) -> None:
        """Wait for no thread: one may be stuck in a name."""
        self._resolver.shutdown(wait=False, cancel_futures=True)


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()


class _GuardedTransport(httpx.AsyncBaseTransport):
    """A pool of connections to checked addresses. Failures come out as httpcore's exceptions."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._backend = _GuardedBackend(policy)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=_CONNECTIONS_MAX,
            max_keepalive_connections=_IDLE_MAX,
            keepalive_expiry=_IDLE_S,
            network_backend=self._backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(cast("AsyncIterable[bytes]", response.stream)),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()
        self._backend.close()


def guarded_transport(policy: AddressPolicy) -> httpx.AsyncBaseTransport:
    """Make what sends single requests and keeps to the policy: half of what a client costs. Raises as a client's requests do."""
    return _GuardedTransport(policy)


def guarded_client(policy: AddressPolicy, *, user_agent: str) -> httpx.AsyncClient:
    """Make a client that keeps to the policy, follows no redirect, keeps no cookie and heeds no proxy variable.

    Its requests have no timeout but that of connecting. They raise `AddressRefusedError` and httpcore's exceptions.
    """
    # One client serves all projects: what one server sets must not go out with another's request.
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        transport=_GuardedTransport(policy),
        timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),
        headers={"user-agent": user_agent},
        cookies=no_cookies,
        trust_env=False,
        follow_redirects=False,
    )
