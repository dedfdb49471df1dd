"""Which doors a scheduler opens: to this machine always, to others only where somebody is asked who they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foliot.kit.settings import FieldError, HostPort
from foliot_scheduler.settings import SchedulerSettings

LOOPBACK, OPEN = HostPort("127.0.0.1", 7070), HostPort("0.0.0.0", 7070)
URL = "postgresql:///foliot"
PAIR: Any = {"tls_cert": Path("cert"), "tls_key": Path("key")}
KEY, OTHER_KEY = "k" * 32, "o" * 32


def refused(**given: object) -> str:
    """The field at fault."""
    with pytest.raises(FieldError) as raised:
        SchedulerSettings(database_url=URL, **given)  # type: ignore[arg-type]  # wrong on purpose
    return raised.value.field


def test_an_open_door_asks_for_credentials_by_default() -> None:
    assert SchedulerSettings(database_url=URL, grpc=OPEN).auth_required
    assert not SchedulerSettings(database_url=URL, grpc=LOOPBACK).auth_required


def test_without_credentials_only_certificates_or_an_explicit_word_open_a_door() -> None:
    assert refused(grpc=OPEN, auth="off") == "grpc"
    assert refused(grpc=OPEN, auth="off", **PAIR) == "grpc", "TLS alone says nothing of who calls"
    assert not SchedulerSettings(database_url=URL, grpc=OPEN, auth="off", tls_client_ca=Path("ca"), **PAIR).auth_required
    assert not SchedulerSettings(database_url=URL, grpc=OPEN, insecure=True).auth_required


def test_the_keys_of_the_first_start_ask_for_credentials_and_are_long_and_different() -> None:
    assert SchedulerSettings(database_url=URL, grpc=LOOPBACK, worker_key=KEY).auth_required
    assert refused(grpc=LOOPBACK, worker_key="short") == "worker_key"
    assert refused(grpc=LOOPBACK, worker_key=KEY, bootstrap_key=KEY) == "worker_key"
    SchedulerSettings(database_url=URL, grpc=LOOPBACK, worker_key=KEY, bootstrap_key=OTHER_KEY)


def test_authorities_without_a_certificate_are_a_mistake() -> None:
    assert refused(grpc=LOOPBACK, tls_client_ca=Path("ca")) == "tls_cert"
    assert refused(grpc=LOOPBACK, tls_ca=Path("ca")) == "tls_cert"
