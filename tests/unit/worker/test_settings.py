from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path

import pytest

from foliot.kit.settings import HostPort, SettingsError, load, options
from foliot_worker.settings import WorkerSettings


def loaded(**flags: object) -> WorkerSettings:
    return load(WorkerSettings, flags={"scheduler": "a:1", **flags}, environ={}, toml_path=None)


def test_defaults() -> None:
    settings = loaded(scheduler="a:1,b:2")
    assert settings.scheduler == (HostPort("a", 1), HostPort("b", 2))
    assert (settings.concurrency, settings.capacity, settings.queues) == (16, 1_016, ("default",))
    assert settings.stop_grace == timedelta(seconds=10)
    assert settings.deny_networks == ()


def test_every_option_is_explained() -> None:
    assert [one.name for one in options(WorkerSettings) if not one.help] == []


def test_the_documented_flags_exist() -> None:
    flags = {one.flag for one in options(WorkerSettings)}
    assert {"--scheduler", "--concurrency", "--queues", "--label", "--app"} <= flags


def test_prefetch_and_networks(tmp_path: Path) -> None:
    settings = loaded(prefetch="0", concurrency="3", deny_networks="10.0.0.0/8, fd00::/8", secrets_dir=str(tmp_path))
    assert settings.capacity == 3
    assert settings.deny_networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    assert settings.secrets_dir == tmp_path


def test_the_api_key_is_not_shown() -> None:
    assert "hidden-value" not in repr(loaded(api_key="hidden-value"))


@pytest.mark.parametrize(
    ("flags", "option"),
    [
        ({"concurrency": "0"}, "--concurrency"),
        ({"concurrency": "10000", "prefetch": "90001"}, "--prefetch"),
        ({"deny_networks": "10.0.0.1/8"}, "--deny-networks"),
        ({"worker_id": "x" * 256}, "--worker-id"),
        ({"tls_key": "k"}, "--tls-cert"),
        ({"tls_cert": "c"}, "--tls-key"),
        ({"scheduler": "nowhere"}, "--scheduler"),
    ],
)
def test_wrong_values_name_the_option(flags: dict[str, object], option: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(**flags)
    assert caught.value.option == option
