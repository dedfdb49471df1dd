"""What a database URL may say: where PostgreSQL is, on one host or on several of which one takes writes.

No message quotes any part of the URL behind the scheme: where a password is not percent-encoded, a piece of it is taken for a
host or a port.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from foliot.kit.setting_values import DiscreetError

_PARTS: Final = re.compile(r"(?P<authority>[^/?]*)(?P<path>[^?]*)(?:\?(?P<options>.*))?", re.DOTALL)
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>.*))?")
_PORT_MAX: Final = 65_535

_WRITABLE: Final = frozenset({"read-write", "primary", "any"})
"""What target_session_attrs may say. All mean the same here: whoever schedules has to write."""

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class DatabaseHost(NamedTuple):
    """One of the hosts that a URL names."""

    name: str
    """For people: host and port, or the folder of a socket; empty where the URL leaves the host to its defaults."""
    url: str
    """The URL with this host alone."""


class DatabaseUrl(NamedTuple):
    """A database URL that can be worked with."""

    shown: str
    """Without its password and options, for people."""
    hosts: tuple[DatabaseHost, ...]
    """At least one, in the order given."""


def database_url(given: Any) -> str:
    """Read the URL of a PostgreSQL, as a setting. Raises DiscreetError with a message that fits behind the option's name."""
    text = str(given)
    try:
        read_database_url(text)
    except ValueError as error:
        raise DiscreetError(str(error)) from None
    return text


def read_database_url(text: str) -> DatabaseUrl:
    """Take a URL apart: `postgresql://user:password@host1:5432,host2:5432/database?option=value`.

    Raises ValueError with the rule that it breaks, in words that fit behind the option's name.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a URL that looks like postgresql://user:password@host:5432/database")
    if "#" in rest:
        raise ValueError("must not contain #: percent-encode it as %23")
    parts = _PARTS.fullmatch(rest)
    assert parts is not None, "every text has an authority, a path and options"
    user_info, _, listed = parts["authority"].rpartition("@")
    if "@" in user_info:
        raise ValueError("has more than one @: is the password percent-encoded?")
    options = _read_options(parts["options"])
    places = _read_places(listed, options.pop("host", ""), options.pop("port", ""))
    attributes = options.pop("target_session_attrs", "read-write")
    if attributes not in _WRITABLE:
        raise ValueError("has a target_session_attrs that is not read-write: Foliot has to write")
    if options.get("sslmode", "prefer") not in _SSL_MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(_SSL_MODES)}")
    user = user_info.partition(":")[0]
    shown = f"{scheme}://{user + '@' if user else ''}{listed}{parts['path']}"
    before, path = f"postgresql://{user_info + '@' if user_info else ''}", parts["path"]
    return DatabaseUrl(shown, tuple(DatabaseHost(str(place), place.url(before, path, options)) for place in places))


class _Place(NamedTuple):
    """A host and its port; both may be left open."""

    host: str
    port: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    def url(self, before: str, path: str, options: dict[str, str]) -> str:
        """Write the URL of this host alone."""
        if self.host.startswith("/"):
            authority, named = "", {"host": self.host, **({"port": self.port} if self.port else {})}
        else:
            authority, named = str(self), {}
        query = urlencode({**options, **named}, quote_via=quote)
        return f"{before}{authority}{path}{'?' + query if query else ''}"


def _read_options(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    try:
        return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise ValueError("has options that are not name=value, joined by &") from None


def _read_places(listed: str, host_option: str, port_option: str) -> Sequence[_Place]:
    ports = [_read_port(port, "its option port") for port in port_option.split(",")] if port_option else []
    names = (listed or host_option).split(",")
    if not listed and not host_option:
        return [_Place("", ports[0] if ports else "")]
    if len(ports) > 1 and len(ports) != len(names):
        raise ValueError(f"names {len(names)} hosts and {len(ports)} ports: give one port, or one for each host")
    places = []
    for number, name in enumerate(names, start=1):
        host, port = _read_host(name, f"host {number} of it")
        if not port and ports:
            port = ports[0] if len(ports) == 1 else ports[number - 1]
        places.append(_Place(host, port))
    return places


def _read_host(text: str, what: str) -> tuple[str, str]:
    if not text:
        raise ValueError(f"leaves {what} empty: hosts are separated by single commas")
    if text.startswith(("/", "%2F", "%2f")):
        return unquote(text), ""
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"has no valid address as {what}: an IPv6 address is put in brackets")
    return found["name"], _read_port(found["port"], what) if found["port"] is not None else ""


def _read_port(text: str, what: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_PORT_MAX)) and 1 <= int(text) <= _PORT_MAX):
        raise ValueError(f"has no port from 1 to {_PORT_MAX} for {what}: is the password percent-encoded?")
    return text
