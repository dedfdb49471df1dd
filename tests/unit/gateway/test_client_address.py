"""Where a request comes from, with and without proxies in between."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from foliot_gateway.http.client_address import client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("2001:db8::1:2:3", "", "2001:db8::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        (None, "", "unknown"),
        ("a socket's file", "", "unknown"),
        # Somebody else than a proxy says what it likes.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        # A proxy says who it was, and what came before that is hearsay.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.2.0.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::9", "2001:db8::/64"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
    ],
)
def test_the_client_is_the_last_one_whom_no_trusted_proxy_speaks_for(peer: str | None, forwarded_for: str, client: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == client


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert client_address("10.0.0.1", "198.51.100.1", ()) == "10.0.0.1"
