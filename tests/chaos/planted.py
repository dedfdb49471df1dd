"""Bugs that the harness plants into the processes it starts, to see that the checker finds what comes of them."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent / "bugs"


class Plant(enum.Enum):
    """Each bug, by the function in `bugs/sitecustomize.py` that plants it."""

    SKIP_THE_FENCE = "skip_the_fence"
    ACKNOWLEDGE_BEFORE_COMMIT = "acknowledge_before_commit"
    DROP_RESULTS = "drop_results"

    def variables(self) -> Mapping[str, str]:
        """What a process needs in its environment to have it."""
        path = os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "CHAOS_BUG": self.value}
