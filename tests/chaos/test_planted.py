"""The planted bugs still fit the product: each replaces what it means to, and nothing has one that was not given one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos.planted import Plant

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLACED = {
    Plant.SKIP_THE_FENCE: "foliot_scheduler.core.leases:attempts_ended",
    Plant.ACKNOWLEDGE_BEFORE_COMMIT: "foliot_scheduler.actors.journal:Journal.__init__",
    Plant.DROP_RESULTS: "foliot_worker.session:Session.broken",
}


def home_of(name: str, variables: Mapping[str, str]) -> str:
    """The file that a function comes from in a new process with these variables besides our own."""
    program = f"import pkgutil; print(pkgutil.resolve_name({name!r}).__code__.co_filename)"
    told = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}, capture_output=True, text=True, check=True, timeout=50
    )
    # Python only prints what goes wrong in a module that it imports by itself.
    assert not told.stderr
    return os.path.basename(told.stdout.strip())  # noqa: PTH119 -- a name is all that is wanted


@pytest.mark.parametrize("plant", Plant)
def test_a_plant_replaces_a_function_of_the_product(plant: Plant) -> None:
    assert home_of(REPLACED[plant], plant.variables()) == "sitecustomize.py"


def test_without_a_plant_there_is_none() -> None:
    assert home_of(REPLACED[Plant.DROP_RESULTS], {}) == "session.py"
