"""What one listener serves: which API is at which path.

Paths are compared escaped: each segment is decoded, then `%` and `/` inside it are written `%25` and `%2F`, so that an
identifier that holds a slash stays one segment whatever the router splits by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from foliot_gateway.http.fault import refuse
from foliot_gateway.http.operation import Api

# Paths in which nothing is encoded that would have to be decoded, as nearly all are.
_PLAIN_PATH = re.compile(rb"[!-$&-~]*")
_ANY = "[^/]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """An API at a prefix."""

    prefix: str
    """Empty for the root; otherwise it begins with a slash and does not end in one."""
    api: Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A fixed document at a path: the OpenAPI document, a page, its script."""

    path: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What one listener serves."""

    mounts: tuple[Mount, ...]
    """At least one: the first gives its error shape to paths that none claims."""
    assets: tuple[Asset, ...] = ()
    _claims: Mapping[str, Mount] = field(init=False)
    _methods: Mapping[re.Pattern[str], frozenset[str]] = field(init=False)
    _verbs: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the claims, longest first."""
        assert self.mounts, "a site without APIs has no error shape"
        found = {(mount.prefix + claim).rstrip("/") or "/": mount for mount in self.mounts for claim in mount.api.claims}
        ordered = dict(sorted(found.items(), key=lambda item: len(item[0]), reverse=True))
        object.__setattr__(self, "_claims", ordered)
        methods: dict[str, set[str]] = {re.escape(asset.path): {"GET"} for asset in self.assets}
        for mount in self.mounts:
            for operation in mount.api.operations:
                template = route_template(mount, operation.path)
                pattern = _ANY.join(re.escape(part) for part in re.split(r"\{[^}]*\}", template))
                methods.setdefault(pattern, set()).add(operation.method)
        # A path in full goes before a template that it would fit, as the router has it.
        ordered_methods = sorted(methods.items(), key=lambda item: item[0].count(_ANY))
        compiled = {re.compile(pattern + "/?"): frozenset(found) for pattern, found in ordered_methods}
        object.__setattr__(self, "_methods", compiled)
        object.__setattr__(self, "_verbs", {mount.api.name: _verbs(mount.api) for mount in self.mounts})

    def api_at(self, path: str) -> Api:
        """Return the API that answers for a path, even one that nothing is at."""
        for claim, mount in self._claims.items():
            if path == claim or path.startswith(claim.rstrip("/") + "/"):
                return mount.api
        return self.mounts[0].api

    def allow(self, path: str) -> str:
        """Return the value of the Allow header of an escaped path; empty where nothing is."""
        found = next((methods for pattern, methods in self._methods.items() if pattern.fullmatch(path)), None)
        if found is None:
            return ""
        return ", ".join(sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())))

    def route_path(self, raw_path: bytes) -> str:
        """Return the path to route by, escaped; a `:verb` its API declares becomes a segment of its own.

        Raises FaultError 404 for a path that is not UTF-8 or holds control characters: no identifier does.
        """
        path = raw_path.decode("ascii") if _PLAIN_PATH.fullmatch(raw_path) else _escaped(raw_path)
        for verb in self._verbs[self.api_at(path).name]:
            if path.endswith(verb):
                return f"{path[: -len(verb)]}/{verb}"
        return path


def _escaped(raw_path: bytes) -> str:
    """Return a path with each segment decoded and escaped; raises FaultError 404 as `route_path` does."""
    try:
        segments = [unquote(segment, errors="strict") for segment in raw_path.decode("ascii").split("/")]
    except UnicodeDecodeError:
        raise refuse(404, "not_found", "The path is not valid UTF-8.") from None
    if any(not segment.isprintable() for segment in segments):
        raise refuse(404, "not_found", "The path holds control characters.")
    return "/".join(escape_segment(segment) for segment in segments)


def escape_segment(segment: str) -> str:
    """Return a decoded path segment without slashes."""
    return segment.replace("%", "%25").replace("/", "%2F")


def unescape_segment(segment: str) -> str:
    """Undo `escape_segment`."""
    return segment.replace("%2F", "/").replace("%25", "%")


def route_template(mount: Mount, path: str) -> str:
    """Return an operation's path in the router's notation."""
    head, _, verb = path.rpartition("}:")
    split = f"{head}}}/:{verb}" if head else path
    return (mount.prefix + split) or "/"


def _verbs(api: Api) -> tuple[str, ...]:
    """Return the endings that an API's paths set off by a colon, colon included."""
    return tuple({":" + verb: None for head, _, verb in (one.path.rpartition("}:") for one in api.operations) if head})
