"""Every operation of every API that is mounted, read from the APIs' own declarations."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from foliot_gateway.apis import APIS
from foliot_gateway.http.mounting import DEFAULT_PLACES, HTTP, mounts_at
from foliot_gateway.http.operation import Api, NoBody, Operation

STRANGE: Final = str(uuid.UUID(int=7))
"""Stands for the part of an identifier that nothing has."""


@dataclass(frozen=True)
class Endpoint:
    """An operation where it is mounted."""

    api: Api
    prefix: str
    operation: Operation[Any, Any]

    @property
    def path(self) -> str:
        """Its path with the documented examples of its parameters."""
        return self._filled(lambda name: self.api.parameters[name].example)

    @property
    def strange_path(self) -> str:
        """Its path with parameters that name nothing: of the documented look, but made up."""
        return self._filled(lambda name: re.sub(r"[0-9a-f]{4,}.*$|\d.*$", STRANGE, self.api.parameters[name].example))

    @property
    def needs_body(self) -> bool:
        """Whether it takes a body that is not empty."""
        return self.operation.body is not NoBody

    @property
    def body(self) -> Any:
        """A body that it takes."""
        return self.operation.body_example if self.needs_body else {}

    def _filled(self, value: Callable[[str], str]) -> str:
        return self.prefix + re.sub(r"\{([^}]*)\}", lambda found: value(found[1]), self.operation.path)


ENDPOINTS = [
    Endpoint(mount.api, mount.prefix, operation)
    for mount in mounts_at(DEFAULT_PLACES, APIS)[HTTP]
    for operation in mount.api.operations
]


def each(wanted: Callable[[Endpoint], bool] = lambda _: True) -> pytest.MarkDecorator:
    """The operations for which `wanted` says so, each a test of its own that counts for its endpoint."""

    def marks(endpoint: Endpoint) -> Iterable[pytest.MarkDecorator]:
        if endpoint.api.name in APIS:
            yield pytest.mark.endpoint(endpoint.api.name, f"{endpoint.operation.method} {endpoint.operation.path}")

    return pytest.mark.parametrize(
        "endpoint",
        [
            pytest.param(one, marks=[*marks(one)], id=f"{one.api.name} {one.operation.method} {one.operation.path}")
            for one in ENDPOINTS
            if wanted(one)
        ],
    )
