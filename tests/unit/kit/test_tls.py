"""Certificates that cannot be used stop the start, and the message names the option."""

from __future__ import annotations

import pathlib
import ssl

import pytest
from cryptography.hazmat.primitives import serialization

from foliot.kit.settings import FieldError, SettingsError
from foliot.kit.tls import check_pair, client_tls, server_tls
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def test_a_server_shows_its_certificate_and_asks_for_others_where_it_is_told_so(authority: Authority) -> None:
    own = authority.sign("server")
    open_to_all = server_tls(own.certificate, own.key, None)
    assert open_to_all is not None
    assert (open_to_all.client_ca, open_to_all.context.verify_mode) == (None, ssl.CERT_NONE)
    mutual = server_tls(own.certificate, own.key, authority.ca)
    assert mutual is not None
    assert (mutual.client_ca, mutual.context.verify_mode) == (authority.ca.read_bytes(), ssl.CERT_REQUIRED)
    assert "PRIVATE" not in repr(mutual)


def test_without_files_there_is_no_tls(authority: Authority) -> None:
    assert server_tls(None, None, None) is None
    assert client_tls(None, None, None) is None
    checked = client_tls(authority.ca, None, None)
    assert checked is not None
    assert checked.identity is None


def test_what_cannot_be_used_is_named(authority: Authority, tmp_path: pathlib.Path) -> None:
    own, other = authority.sign("one"), authority.sign("two")
    nonsense, missing, secret = tmp_path / "nonsense", tmp_path / "missing", tmp_path / "encrypted"
    nonsense.write_text("no certificate")
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"word")
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted))
    for wrong, option in (
        ((missing, own.key, None), "--tls-cert"),
        ((own.certificate, missing, None), "--tls-key"),
        ((nonsense, own.key, None), "--tls-cert"),
        ((own.certificate, other.key, None), "--tls-key"),
        ((own.certificate, secret, None), "--tls-key"),
        ((own.certificate, own.key, missing), "--tls-client-ca"),
        ((own.certificate, own.key, nonsense), "--tls-client-ca"),
    ):
        with pytest.raises(SettingsError) as raised:
            server_tls(*wrong)
        assert raised.value.option == option
    with pytest.raises(SettingsError) as raised:
        client_tls(nonsense, None, None, prefix="--scheduler-tls")
    assert raised.value.option == "--scheduler-tls-ca"


def test_a_certificate_and_its_key_go_together() -> None:
    path = pathlib.Path("any")
    for given, field in (((path, None), "tls_key"), ((None, path), "tls_cert"), ((None, None, path), "tls_cert")):
        with pytest.raises(FieldError) as raised:
            check_pair(*given)
        assert raised.value.field == field
    check_pair(None, None, None)
    check_pair(path, path, path)
