"""Certificates: read from files and held to their rules at the start, for whoever serves or calls over TLS.

A file that cannot be read, a key that belongs to another certificate, or an authority that is none stops the start and names the
option; found at the first handshake instead, each would be a puzzle in the logs of others. Files are read once: a renewed
certificate counts from the next start.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from foliot.kit.settings import FieldError, SettingsError


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, both in PEM; never shown."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Identity(…)"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server shows, and asks of its clients; made by `server_tls`."""

    identity: Identity
    client_ca: bytes | None
    """The authorities, in PEM, one of which must have signed a client's certificate; None: clients show none."""
    context: ssl.SSLContext
    """The same for Python's own servers."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a client checks a server against, and shows it; made by `client_tls`."""

    ca: bytes | None
    """The authorities, in PEM, one of which must have signed the server's certificate; None: those of the system."""
    identity: Identity | None


def check_pair(certificate: Path | None, key: Path | None, *others: Path | None, prefix: str = "tls") -> None:
    """Raise FieldError unless certificate and key are given together; `others` are options that need them."""
    if (certificate is None) != (key is None):
        given, missing = ("key", "cert") if certificate is None else ("cert", "key")
        raise FieldError(f"{prefix}_{missing}", f"goes together with {prefix}_{given}")
    if certificate is None and any(other is not None for other in others):
        raise FieldError(f"{prefix}_cert", "is needed with the other options of TLS")


def server_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> ServerTls | None:
    """Read what --tls-cert, --tls-key and --tls-client-ca name; None where there is no certificate.

    Raises SettingsError naming the option at fault.
    """
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    identity = _identity(context, certificate, key, prefix="--tls")
    authorities = None
    if client_ca is not None:
        authorities = _authorities(context, client_ca, "--tls-client-ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return ServerTls(identity, authorities, context)


def client_tls(ca: Path | None, certificate: Path | None, key: Path | None, *, prefix: str = "--tls") -> ClientTls | None:
    """Read what PREFIX-ca, PREFIX-cert and PREFIX-key name; None where no option is given: the connection is in clear then.

    Raises SettingsError naming the option at fault.
    """
    if ca is None and certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = None if ca is None else _authorities(context, ca, f"{prefix}-ca")
    identity = None if certificate is None or key is None else _identity(context, certificate, key, prefix=prefix)
    return ClientTls(authorities, identity)


def _identity(context: ssl.SSLContext, certificate: Path, key: Path, *, prefix: str) -> Identity:
    found = Identity(_read(f"{prefix}-cert", certificate), _read(f"{prefix}-key", key))

    def no_password() -> str:
        raise SettingsError(f"{prefix}-key", "must not be encrypted: nobody is there to type a password")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        option = f"{prefix}-key" if "KEY" in (error.reason or "") else f"{prefix}-cert"
        raise SettingsError(option, f"is no PEM of a certificate and its key: {_why(error)}") from None
    return found


def _authorities(context: ssl.SSLContext, path: Path, option: str) -> bytes:
    found = _read(option, path)
    try:
        context.load_verify_locations(cadata=found.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise SettingsError(option, f"is no PEM of certificates: {_why(error)}") from None
    return found


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(option, f"cannot be read: {error.strerror}") from error


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    return (reason or "not readable").lower().replace("_", " ")
