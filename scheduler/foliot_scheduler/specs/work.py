"""What a task runs: the rules of commands, requests, binaries and function calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final, Literal, assert_never

from foliot.v1 import spec_pb2
from foliot_scheduler.core.types import Span
from foliot_scheduler.specs.masking import MASK
from foliot_scheduler.specs.rules import (
    Violations,
    check_count,
    check_duration,
    check_json,
    check_pairs,
    check_text,
    is_longer,
    shown,
)

WorkName = Literal["command", "http", "binary", "function"]

LINE_BYTES_MAX: Final = 64 * 1024
ENVIRONMENT_ENTRIES_MAX: Final = 256
ENVIRONMENT_BYTES_MAX: Final = 64 * 1024
DIRECTORY_BYTES_MAX: Final = 4_096
"""Linux's PATH_MAX."""
URL_BYTES_MAX: Final = 8 * 1024
HEADERS_MAX: Final = 100
HEADERS_BYTES_MAX: Final = 32 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
SECRET_BYTES_MAX: Final = 255
ARGUMENTS_MAX: Final = 1_000
ARGUMENTS_BYTES_MAX: Final = 128 * 1024
FUNCTION_BYTES_MAX: Final = 255
INPUT_BYTES_MAX: Final = 1024 * 1024
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PORT_MAX: Final = 65_535
TIMEOUT_MAX: Final = Span(30 * 86_400_000_000)

_URL: Final = re.compile(
    r"[hH][tT][tT][pP][sS]?://"
    r"(?:[^\s/?#@]*@)?"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|[^\s/?#@:\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5})?)?"
    r"(?:[/?#][^\s\x00-\x20\x7f]*)?"
)
# RFC 9110: a field name is a token, a field value has no line ends or NUL.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE_BAD: Final = re.compile(r"[\x00\r\n]")
_FRAMING_HEADERS: Final = frozenset(
    {
        *("connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        "upgrade",
    }
)
"""What tells where a message ends and what becomes of its connection (RFC 9110, 7.6.1; RFC 9112, 6): whoever sends it knows."""

_SECRET: Final = re.compile(r"secret://[!-~]+")
_NOTHING_KEPT: Final = f"{MASK} stands for a stored value, and there is none"
_HEADER_NAME_RULE: Final = "must be named by letters, digits and !#$%&'*+-.^_`|~"
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


def check_work(path: str, spec: spec_pb2.TaskSpec, name: WorkName, violations: Violations) -> None:
    """Hold the work that is set to its rules; `path` is the spec's."""
    path = f"{path}.{name}"
    match name:
        case "command":
            _check_command(path, spec.command, violations)
        case "http":
            _check_http(path, spec.http, violations)
        case "binary":
            _check_binary(path, spec.binary, violations)
        case "function":
            check_text(f"{path}.function", spec.function.function, FUNCTION_BYTES_MAX, violations, required=True)
            if spec.function.input_json:
                check_json(f"{path}.input_json", spec.function.input_json, INPUT_BYTES_MAX, violations)
        case _:
            assert_never(name)


def _check_command(path: str, work: spec_pb2.CommandWork, violations: Violations) -> None:
    check_text(f"{path}.line", work.line, LINE_BYTES_MAX, violations, required=True)
    if work.environment:
        _check_environment(f"{path}.environment", work.environment, violations)
    if work.working_directory:
        check_text(f"{path}.working_directory", work.working_directory, DIRECTORY_BYTES_MAX, violations)


def _check_environment(path: str, environment: Mapping[str, str], violations: Violations) -> None:
    check_pairs(
        path, environment, violations,
        pairs_max=ENVIRONMENT_ENTRIES_MAX, bytes_max=ENVIRONMENT_BYTES_MAX, what="entries",
    )  # fmt: skip
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            violations.add(f"{path}[{shown(name)!r}]", "must have a name without '=' and NUL", "malformed")
        elif "\0" in value:
            violations.add(f"{path}[{shown(name)!r}]", "must not contain NUL", "no_nul")
        elif value == MASK:
            violations.add(f"{path}[{shown(name)!r}]", _NOTHING_KEPT, "no_stored_value")


def _check_http(path: str, work: spec_pb2.HttpWork, violations: Violations) -> None:
    check_url(f"{path}.url", work.url, violations)
    if work.method and work.method not in METHODS:
        violations.add(f"{path}.method", f"must be one of {', '.join(METHODS)}", "not_one_of")
    if work.headers:
        _check_headers(f"{path}.headers", work.headers, violations)
    if len(work.body) > BODY_BYTES_MAX:
        violations.add(f"{path}.body", "must be at most 1 MiB", "too_long")
    if work.HasField("request_timeout"):
        check_duration(f"{path}.request_timeout", work.request_timeout, TIMEOUT_MAX, violations)
    if work.bearer_secret and (is_longer(work.bearer_secret, SECRET_BYTES_MAX) or not _SECRET.fullmatch(work.bearer_secret)):
        # The text is not repeated: it may be the secret itself.
        violations.add(f"{path}.bearer_secret", "must be secret://name, at most 255 bytes", "malformed")


def _check_headers(path: str, headers: Mapping[str, str], violations: Violations) -> None:
    check_pairs(path, headers, violations, pairs_max=HEADERS_MAX, bytes_max=HEADERS_BYTES_MAX, what="headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            violations.add(f"{path}[{shown(name)!r}]", _HEADER_NAME_RULE, "malformed")
        elif _HEADER_VALUE_BAD.search(value):
            violations.add(f"{path}[{shown(name)!r}]", "must not contain line ends or NUL", "malformed")
        elif name.lower() in _FRAMING_HEADERS:
            violations.add(f"{path}[{shown(name)!r}]", "is said by the worker, which sends the request", "reserved")
        elif not value.isascii():
            violations.add(f"{path}[{shown(name)!r}]", "must be ASCII", "malformed")
        elif value == MASK:
            violations.add(f"{path}[{shown(name)!r}]", _NOTHING_KEPT, "no_stored_value")


def check_url(path: str, url: str, violations: Violations) -> None:
    """Hold a URL to being absolute, http or https, at most 8 KiB."""
    if not url:
        violations.add(path, "is required", "required")
        return
    if is_longer(url, URL_BYTES_MAX):
        violations.add(path, "must be at most 8 KiB", "too_long")
        return
    found = _URL.fullmatch(url)
    if found is None:
        violations.add(path, "must be an absolute http or https URL without white space", "malformed")
    elif found["port"] is not None and int(found["port"]) > PORT_MAX:
        violations.add(path, f"must name a port up to {PORT_MAX}", "malformed")
    elif found["ipv6"] is not None and not _is_ipv6(found["ipv6"]):
        violations.add(path, "must have an IPv6 address in its brackets", "malformed")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_binary(path: str, work: spec_pb2.BinaryWork, violations: Violations) -> None:
    check_url(f"{path}.url", work.url, violations)
    if not work.sha256:
        violations.add(f"{path}.sha256", "is required", "required")
    elif not _SHA256.fullmatch(work.sha256):
        violations.add(f"{path}.sha256", "must be 64 hexadecimal digits", "malformed")
    if arguments := work.arguments:
        check_count(f"{path}.arguments", len(arguments), ARGUMENTS_MAX, "arguments", violations)
        if sum(len(argument.encode()) for argument in arguments) > ARGUMENTS_BYTES_MAX:
            violations.add(f"{path}.arguments", "must take at most 128 KiB in all", "too_long")
        for number, argument in enumerate(arguments):
            if "\0" in argument:
                violations.add(f"{path}.arguments[{number}]", "must not contain NUL", "no_nul")
    if work.environment:
        _check_environment(f"{path}.environment", work.environment, violations)
