"""The version a caller asks for in its Accept header: `application/json; version=1.0`."""

from __future__ import annotations

from foliot_gateway.http.fault import FieldFault, refuse

VERSIONS = frozenset({"1", "1.0"})
"""The versions of the documented APIs that this gateway speaks."""


def check_accept(header: str) -> None:
    """Raise FaultError 406 when the Accept header takes JSON in versions that do not exist, and nothing else.

    A header that takes no JSON at all is let through: the answer is JSON all the same, which RFC 9110 (12.4.1) permits
    and which is kinder to browsers and command line tools than a refusal.
    """
    if "version" not in header.lower():
        return
    refused = ""
    for media_range in header.split(","):
        _, *parameters = (part.strip() for part in media_range.split(";"))
        versions = [
            value.strip().strip('"')
            for name, _, value in (parameter.partition("=") for parameter in parameters)
            if name.strip().lower() == "version"
        ]
        if all(version in VERSIONS for version in versions):
            return
        refused = versions[-1]
    found = FieldFault("Accept", "version must be 1.0")
    raise refuse(406, "unsupported_version", f"Version {refused[:50]!r} does not exist; version 1.0 does.", found)
