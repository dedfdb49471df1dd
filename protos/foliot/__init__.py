"""What every Foliot process and every client shares: the contract `foliot.v1`, the kit and the `Client`.

The names below are the public interface. They are loaded when first used, so that a command that only wants to
show its help does not wait for gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foliot.client import Client, Tls
    from foliot.kit.errors import ErrorReason, FieldViolation, FoliotError

__all__ = ["Client", "ErrorReason", "FieldViolation", "FoliotError", "Tls"]

_MODULE_OF_NAME = {
    "Client": "foliot.client",
    "Tls": "foliot.client",
    "ErrorReason": "foliot.kit.errors",
    "FieldViolation": "foliot.kit.errors",
    "FoliotError": "foliot.kit.errors",
}

# Hidden from type checkers, for which a module's __getattr__ would make every misspelt name legal.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF_NAME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)
        globals()[name] = value
        return value
