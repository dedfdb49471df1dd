"""HTTP to addresses that tasks may reach, and no others.

A URL comes from a task, so it may name an address that only the worker should reach: a cloud's metadata service hands out the
machine's credentials to whoever asks. Names are therefore resolved here, each address is checked, and the connection goes to a
checked address: a name that resolves differently a moment later gains nothing. TLS and the Host header still use the name.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Final, cast

import httpcore
import httpx

from foliot_worker.settings import IpNetwork

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

ALWAYS_DENIED: Final[tuple[IpNetwork, ...]] = tuple(
    ipaddress.ip_network(one)
    for one in (
        "169.254.0.0/16",  # link-local: metadata of AWS, Azure, Google and most others at 169.254.169.254
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # metadata of AWS over IPv6 (fd00:ec2::254), its time and name servers
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "192.0.0.192/32",  # metadata of Oracle Cloud, classic
        "168.63.129.16/32",  # the host's services on Azure
        "fd20:ce::254/128",  # metadata of Google over IPv6
    )
)
"""Addresses that no task has business with. Private ones are not among them: schedules call internal services."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for IPv4 ones (RFC 6052)."""

_CONNECTIONS_MAX: Final = 1_000
_IDLE_MAX: Final = 100
_IDLE_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 10.0


class AddressRefusedError(Exception):
    """All addresses of a host are out of bounds."""


class AddressPolicy:
    """Which addresses may be reached: not those in `denied`, nor private and loopback ones if `deny_private`."""

    def __init__(self, denied: Iterable[IpNetwork] = (), *, deny_private: bool = False) -> None:
        self._denied = (*ALWAYS_DENIED, *denied)
        self._deny_private = deny_private

    def allows(self, address: str) -> bool:
        """Answer whether an IP address, in text, may be reached."""
        parsed = _unwrapped(ipaddress.ip_address(address.split("%", 1)[0]))
        if parsed.is_multicast or any(parsed in network for network in self._denied):
            return False
        # is_private covers loopback, unique local, carrier-grade and unspecified (which reaches this machine, too).
        return not (self._deny_private and not parsed.is_global)


def _unwrapped(address: IpAddress) -> IpAddress:
    """Answer the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return inner
    return address


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves names, checks addresses, connects to a checked one."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the name that httpcore uses
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        allowed = [address for address in addresses if self._policy.allows(address)]
        if not allowed:
            raise AddressRefusedError(f"{host} is at an address that tasks must not reach")
        failure: Exception | None = None
        for address in allowed:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise httpcore.ConnectError(f"no connection to {host}:{port}: {failure}") from failure

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


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
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=_CONNECTIONS_MAX,
            max_keepalive_connections=_IDLE_MAX,
            keepalive_expiry=_IDLE_S,
            network_backend=_GuardedBackend(policy),
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


def guarded_client(policy: AddressPolicy, *, user_agent: str) -> httpx.AsyncClient:
    """Make a client that keeps to the policy, follows no redirect, keeps no cookie and heeds no proxy variable.

    Its requests have no timeout but that of connecting. They raise `AddressRefusedError` and httpcore's exceptions.
    """
    # One client serves the tasks of all projects: what one server sets must not go out with another's request.
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        transport=_GuardedTransport(policy),
        timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),
        headers={"user-agent": user_agent},
        cookies=no_cookies,
        trust_env=False,
        follow_redirects=False,
    )
