from __future__ import annotations

import ipaddress

import httpx
import pytest

from foliot_worker.executors.http import next_url
from foliot_worker.executors.network import AddressPolicy


@pytest.mark.parametrize(
    ("address", "by_default", "without_private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("10.1.2.3", True, False),
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("fc00::1", True, False),
        ("100.64.0.1", True, False),
        ("0.0.0.0", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("64:ff9b::a00:1", True, False),
        ("169.254.169.254", False, False),
        ("169.254.0.1", False, False),
        ("fe80::1%eth0", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("2002:a9fe:a9fe::", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("198.51.100.7", False, False),
    ],
)
def test_policy(address: str, by_default: bool, without_private: bool) -> None:
    further = [ipaddress.ip_network("198.51.100.0/24")]
    assert AddressPolicy(further).allows(address) is by_default
    assert AddressPolicy(further, deny_private=True).allows(address) is without_private


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("http://h/a", "/b", "http://h/b"),
        ("http://h/a", "http://h/b?c", "http://h/b?c"),
        ("http://h/a", "http://h:80/b", "http://h/b"),
        ("http://h/a", "https://h/b", "https://h/b"),
        ("https://h/a", "http://h/b", None),
        ("http://h/a", "http://other/b", None),
        ("http://h/a", "http://h:81/b", None),
        ("http://h:81/a", "https://h/b", None),
        ("http://h/a", "//other/b", None),
        ("http://h/a", "file:///etc/passwd", None),
    ],
)
def test_redirects_stay_with_the_host(url: str, location: str, expected: str | None) -> None:
    response = httpx.Response(302, headers={"location": location})
    found = next_url(httpx.URL(url), response)
    assert (None if found is None else str(found)) == expected


def test_no_redirect_without_a_location() -> None:
    assert next_url(httpx.URL("http://h/"), httpx.Response(302)) is None
    assert next_url(httpx.URL("http://h/"), httpx.Response(200, headers={"location": "/x"})) is None
