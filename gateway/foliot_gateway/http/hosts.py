"""The names by which a gateway on the loopback is called.

Where nobody has to say who they are, reaching the loopback is what lets a caller in. A web page can make its visitor's
browser reach it, by giving its own name the address 127.0.0.1 after the page was loaded (DNS rebinding): for the browser
that is the page's own origin, so neither CORS nor Sec-Fetch-Site tells. What does tell is the Host header, which holds
the page's name.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection

import grpc

from foliot.kit.errors import FoliotError
from foliot_gateway.http.callers import Callers
from foliot_gateway.http.fault import FieldFault, refuse
from foliot_gateway.http.limits.gate import FREE_PATHS


class HostGuard:
    """Refuses strange names, unless the caller has a credential: no page knows one."""

    def __init__(self, callers: Callers, trusted_hosts: Collection[str]) -> None:
        """Take the names that are no strangers."""
        self._callers = callers
        self._trusted = frozenset(host.lower() for host in trusted_hosts)

    async def check(self, host: str, raw_path: bytes, authorization: str) -> None:
        """Raise FaultError 403 for a request that names a strange host."""
        if self._is_known(host) or raw_path in FREE_PATHS:
            return
        try:
            if (await self._callers.find(authorization)).authenticated:
                return
        except FoliotError as error:
            if error.code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
                return  # credentials are asked for, and the scheduler will say so
        raise refuse(
            403,
            "unknown_host",
            f"Nobody here is called {host[:80]!r}; the setting --trusted-hosts says who is.",
            FieldFault("Host", "must be an address, localhost, or a trusted host"),
        )

    def _is_known(self, host: str) -> bool:
        if not host:  # HTTP/1.0 needs none, and browsers always send one
            return True
        name = _name(host)
        return name == "localhost" or name.endswith(".localhost") or name in self._trusted or _is_address(name)


def _name(host: str) -> str:
    """Return the name in a Host header, without the port and the dot that may end it."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower().rstrip(".") if ":" in host else host.lower().rstrip(".")


@functools.lru_cache(maxsize=256)  # a listener is reached by the same few names again and again
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
