"""A story that broke a promise, cut down and kept as a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.plan import Plan, plan_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Witness:
    """What was told, and what it broke."""

    plan: Plan
    promise: str
    bug: str
    """The planted bug that it takes; empty for one that was in the code, and is mended."""

    def as_text(self) -> str:
        """What `read_witness` reads, a line for each thing that somebody may want to change."""
        parts = {"promise": self.promise, "bug": self.bug, **self.plan.as_json()}
        return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in parts.items()) + "\n}\n"


def read_witness(path: Path) -> Witness:
    """Read a file that `Witness.as_text` made."""
    parts = json.loads(path.read_text())
    return Witness(bug=parts.pop("bug"), promise=parts.pop("promise"), plan=plan_of(parts))
