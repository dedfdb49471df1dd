"""Which IP addresses may be reached for somebody else.

A URL that a caller gives may name an address that only this machine should reach: a cloud's metadata service hands out the
machine's credentials to whoever asks. These are the rules; `guarded_http` keeps them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
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
"""Addresses that no caller has business with. Private ones are not among them: schedules call internal services."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for IPv4 ones (RFC 6052)."""


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
