"""Which API is where: the configuration's (listener, prefix) -> API, made into the site of each listener.

Two of the documented APIs claim the same URLs, so one origin cannot serve both at their documented paths; the default
gives the second one a listener of its own, and a prefix on the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from foliot_gateway.http.docs import docs_assets
from foliot_gateway.http.openapi import document, to_json
from foliot_gateway.http.operation import Api
from foliot_gateway.http.site import Asset, Mount, Site
from foliot_gateway.http.system import HEALTH, SYSTEM
from foliot_gateway.http.yaml import to_yaml

HTTP: Final = "http"
CHADBURN_HTTP: Final = "chadburn-http"
LISTENERS: Final = (HTTP, CHADBURN_HTTP)
"""The listeners, by the option that says where each is. The first one's APIs are at their paths in the OpenAPI document."""

_PLACE = re.compile(r"(?P<listener>[a-z-]+):(?P<prefix>/|(?:/[A-Za-z0-9._~-]+)+)=(?P<api>[a-z_]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """An API's place."""

    listener: str
    prefix: str
    """Empty for the root."""
    api: str

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.listener}:{self.prefix or '/'}={self.api}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read `LISTENER:PREFIX=API`; raises ValueError."""
        found = _PLACE.fullmatch(text)
        if found is None or found["listener"] not in LISTENERS:
            raise ValueError(f"must be LISTENER:PREFIX=API with the listener {' or '.join(LISTENERS)}, not {text[:80]!r}")
        return cls(found["listener"], found["prefix"].rstrip("/"), found["api"])


DEFAULT_PLACES: Final = (
    Place(HTTP, "", "dag_jobs"),
    Place(HTTP, "", "tasks"),
    Place(HTTP, "", "schedules"),
    Place(HTTP, "", "queue"),
    Place(HTTP, "/chadburn", "chadburn"),
    Place(CHADBURN_HTTP, "", "chadburn"),
)
"""The documented default, of the APIs that exist."""


def mounts_at(places: Iterable[Place], apis: Mapping[str, Api]) -> dict[str, list[Mount]]:
    """Return what each listener has, the gateway's own paths first.

    Raises ValueError for an API that does not exist, and for two that have the same path.
    """
    mounts: dict[str, list[Mount]] = {listener: [Mount(prefix="", api=SYSTEM)] for listener in LISTENERS}
    for place in places:
        if place.api not in apis:
            raise ValueError(f"{place}: there is no API {place.api}; there are {', '.join(sorted(apis))}")
        mounts[place.listener].append(Mount(prefix=place.prefix, api=apis[place.api]))
    for listener, held in mounts.items():
        held[0] = _without_taken(held[0], held[1:])
        _refuse_clashes(listener, held)
    return mounts


def _without_taken(own: Mount, others: Iterable[Mount]) -> Mount:
    """Leave out of the gateway's own operations those that an API of the same listener documents and serves at the same path."""
    taken = {(mount.prefix + one.path, one.handler) for mount in others for one in mount.api.operations}
    gone = [one for one in own.api.operations if (own.prefix + one.path, one.handler) in taken]
    left = tuple(one for one in own.api.operations if one not in gone)
    claims = tuple(claim for claim in own.api.claims if claim not in {one.path for one in gone})
    return replace(own, api=replace(own.api, operations=left, claims=claims))


def sites(mounts: Mapping[str, Iterable[Mount]]) -> dict[str, Site]:
    """Return the site of each listener: its APIs, the OpenAPI document of all of them, and its pages."""
    described = document(documented(mounts))
    assets = (
        Asset(path="/openapi.yaml", media_type="application/yaml", content=to_yaml(described).encode("utf-8")),
        Asset(path="/openapi.json", media_type="application/json", content=to_json(described)),
        *docs_assets(),
    )
    return {listener: Site(mounts=tuple(held), assets=(*assets, front_asset(held))) for listener, held in mounts.items()}


def front_asset(mounts: Iterable[Mount]) -> Asset:
    """Return what is at the root of a listener: where its APIs are, and where to read of them."""
    apis = {
        mount.api.name: [(mount.prefix + claim).rstrip("/") or "/" for claim in mount.api.claims]
        for mount in mounts
        if mount.api.name != SYSTEM.name
    }
    content = {"name": "foliot", "docs": "/docs", "openapi": "/openapi.yaml", "health": HEALTH.path, "apis": apis}
    return Asset(path="/", media_type="application/json", content=msgspec.json.encode(content))


def documented(mounts: Mapping[str, Iterable[Mount]]) -> list[Mount]:
    """Return the mounts that the OpenAPI document tells of: the first listener's, and APIs that only another one has."""
    found: list[Mount] = []
    for listener in LISTENERS:
        known = {mount.api.name for mount in found}
        found += [mount for mount in mounts[listener] if mount.api.operations and mount.api.name not in known]
    return found


def _refuse_clashes(listener: str, mounts: Iterable[Mount]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for mount in mounts:
        for operation in mount.api.operations:
            # Parameters of different names are the same place.
            path = re.sub(r"\{[^}]*\}", "{}", mount.prefix + operation.path)
            other = taken.setdefault((operation.method, path), mount.api.name)
            if other != mount.api.name:
                raise ValueError(f"{listener}: {other} and {mount.api.name} both have {operation.method} {path}")
