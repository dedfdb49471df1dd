"""How the values of settings are written: parsers from a text, or a TOML value, to what the program works with.

Each takes what was given and raises ValueError with a message that fits behind the option's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from foliot.kit.addresses import IpNetwork

_HOST_NAME = re.compile(r"^(?!-)[A-Za-z0-9_.\-]{1,253}$")
_PORT_MAX: Final = 65_535

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_DURATION_UNITS_S: Final[Mapping[str, float]] = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]i?b?|b)?$", re.IGNORECASE)
_SIZE_POWERS: Final[Mapping[str, int]] = {"k": 1, "m": 2, "g": 3, "t": 4}

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


class DiscreetError(ValueError):
    """Raised by a parser whose messages quote nothing of what it was given: they may be shown although it is a secret."""


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """Where something listens: a host name or address without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def text(given: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(given, str) or not given.strip():
        raise ValueError("must be a text that is not empty")
    return given


def file_path(given: Any) -> Path:
    """Read a path; `~` stands for the home directory."""
    return Path(text(given)).expanduser()


def url(*schemes: str) -> Callable[[Any], str]:
    """Make the parser of a URL that has one of the schemes.

    Its messages never quote the URL, which may hold a password.
    """

    def parse(given: Any) -> str:
        value = text(given)
        try:
            parts = urlsplit(value)
            _ = parts.port  # raises for a port that is no number
        except ValueError:
            raise DiscreetError("is not a URL") from None
        if parts.scheme not in schemes:
            raise DiscreetError(f"must be a URL that begins with {' or '.join(f'{one}://' for one in schemes)}")
        return value

    return parse


def choice(*allowed: str) -> Callable[[Any], str]:
    """Make the parser of one of a few words."""

    def parse(given: Any) -> str:
        if given not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {_quoted(given)}")
        return str(given)

    return parse


def boolean(given: Any) -> bool:
    """Read true, yes, on, 1 or false, no, off, 0."""
    if isinstance(given, bool):
        return given
    word = str(given).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"must be true or false, not {_quoted(given)}")
    return word in _TRUE


def non_negative_int(given: Any) -> int:
    """Read a whole number, 0 or more."""
    value = _whole(given)
    if value < 0:
        raise ValueError(f"must be 0 or more, not {value}")
    return value


def positive_int(given: Any) -> int:
    """Read a whole number, 1 or more."""
    value = _whole(given)
    if value < 1:
        raise ValueError(f"must be 1 or more, not {value}")
    return value


def host_port(given: Any) -> HostPort:
    """Read `host:port`, such as `127.0.0.1:7070`, `db.example:5432` or `[::1]:8080`. Port 0 lets the system choose."""
    host, colon, port_text = str(given).strip().rpartition(":")
    if not colon or not (port_text.isascii() and port_text.isdigit()):
        raise ValueError(f"must be HOST:PORT, not {_quoted(given)}")
    if len(port_text) > len(str(_PORT_MAX)) or int(port_text) > _PORT_MAX:
        raise ValueError(f"has a port over {_PORT_MAX}: {_quoted(given)}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return HostPort(str(ipaddress.IPv6Address(host[1:-1])), int(port_text))
        except ValueError:
            raise ValueError(f"has a wrong address: {_quoted(given)}") from None
    if not _HOST_NAME.match(host):
        raise ValueError(f"must be HOST:PORT (an IPv6 address in brackets), not {_quoted(given)}")
    return HostPort(host, int(port_text))


def host_port_list(given: Any) -> tuple[HostPort, ...]:
    """Read at least one `host:port`, separated by commas, or a TOML array of them."""
    found = tuple(host_port(one) for one in comma_list(given))
    if not found:
        raise ValueError("must hold at least one HOST:PORT")
    return found


def duration(given: Any) -> timedelta:
    """Read a span of time that is not negative: a number of seconds, or numbers with units, such as `250ms` or `1h30m`.

    The units are us, ms, s, m, h and d.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given)
    else:
        written = str(given).strip().lower()
        parts = _DURATION_PART.findall(written)
        if parts and "".join(number + unit for number, unit in parts) == written:
            seconds = sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in parts)
        else:
            try:
                seconds = float(written)
            except ValueError:
                raise ValueError(f"must be a duration such as 30s or 5m, not {_quoted(given)}") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"must be a duration that is not negative, not {_quoted(given)}")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"is too long: {_quoted(given)}") from None


def byte_size(given: Any) -> int:
    """Read a number of bytes, such as `4096`, `16MiB` or `10MB`.

    The units with an `i`, or a letter alone, count 1,024s.
    """
    match = _SIZE.match(str(given).strip())
    if isinstance(given, bool | float) or match is None:
        raise ValueError(f"must be a size such as 512KiB or 16MiB, not {_quoted(given)}")
    unit = (match[2] or "b").lower()
    base = 1_000 if len(unit) == 2 and unit[1] == "b" else 1_024  # noqa: PLR2004 -- a letter and the b: kb, mb
    size = float(match[1]) * base ** _SIZE_POWERS.get(unit[0], 0)
    if size != int(size):
        raise ValueError(f"must be a whole number of bytes, not {_quoted(given)}")
    return int(size)


def comma_list(given: Any) -> tuple[str, ...]:
    """Read texts separated by commas, a repeated flag, or a TOML array of texts; white space around them is dropped."""
    sources = given if isinstance(given, list | tuple) else [given]
    if not all(isinstance(one, str) for one in sources):
        raise ValueError(f"must be a list of texts, not {_quoted(given)}")
    return tuple(item.strip() for one in sources for item in one.split(",") if item.strip())


def network_list(given: Any) -> tuple[IpNetwork, ...]:
    """Read addresses and networks, such as `10.0.0.0/8,2001:db8::1`."""
    found: list[IpNetwork] = []
    for one in comma_list(given):
        try:
            found.append(ipaddress.ip_network(one))
        except ValueError:
            raise ValueError(f"must hold addresses or networks such as 10.0.0.0/8, not {_quoted(one)}") from None
    return tuple(found)


def key_value(given: Any) -> dict[str, str]:
    """Read `key=value` pairs: separated by commas, a repeated flag, or a TOML table of texts."""
    if isinstance(given, Mapping):
        if not all(isinstance(value, str) for value in given.values()):
            raise ValueError("must hold texts only")
        return {str(key): value for key, value in given.items()}
    found: dict[str, str] = {}
    for pair in comma_list(given):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"must be KEY=VALUE, not {_quoted(pair)}")
        if key.strip() in found:
            raise ValueError(f"gives {key.strip()} twice")
        found[key.strip()] = value.strip()
    return found


def show(value: object) -> str:
    """Answer a parsed value as it would be written; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={inner}" for key, inner in value.items())
    if isinstance(value, tuple | list):
        return ",".join(show(one) for one in value)
    return str(value)


def _whole(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", given.strip()):
        return int(given)
    raise ValueError(f"must be a whole number, not {_quoted(given)}")


def _quoted(given: object) -> str:
    """Show what was given, cut to what a message can bear."""
    shown = repr(given)
    return shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004 -- a line of a terminal
