"""Bugs that the harness plants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Plant:
    """One bug."""

    name: str

    def variables(self) -> Mapping[str, str]:
        """What a process needs in its environment to have it."""
        return {}
