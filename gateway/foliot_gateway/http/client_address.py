"""Where a request comes from, for what is counted by address."""

from __future__ import annotations

import functools
import ipaddress
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN: Final = "unknown"
"""Stands for a client without an address, behind a socket that is a file."""

_IPV6_PREFIX: Final = 64
"""What one customer is given of IPv6 (RFC 6177): addresses inside of it are one client."""


@functools.lru_cache(maxsize=4096)  # the few that a gateway talks to come again and again
def client_address(peer: str | None, forwarded_for: str, trusted: tuple[Network, ...]) -> str:
    """Return the address that a request is counted by.

    `peer` is who connected, `forwarded_for` the X-Forwarded-For header's value. The header is believed only where a
    proxy in `trusted` wrote it: read from its end, the first address that is none of those is the client.
    """
    address = _parsed(peer or "")
    if address is None:
        return UNKNOWN
    if trusted and forwarded_for:
        for hop in reversed(forwarded_for.split(",")):
            if not any(address in network for network in trusted):
                break
            before = _parsed(hop.strip())
            if before is None:
                break
            address = before
    if address.version == 6:  # noqa: PLR2004 - IPv6
        return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
