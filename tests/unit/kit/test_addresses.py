from __future__ import annotations

import ipaddress

import pytest

from foliot.kit.addresses import AddressPolicy


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
