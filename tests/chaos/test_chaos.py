"""A minute of chaos: no fault makes the cluster lose, repeat or confuse anything. `make chaos` goes on for longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checker import check
from tests.chaos.report import as_table
from tests.chaos.run import Plan, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_minute_of_faults_breaks_no_promise(tmp_path: Path) -> None:
    plan = Plan(seconds=60, seed=11, fault_every_s=6)
    history = asyncio.run(run(plan, tmp_path))
    # How late fires are says as much of this machine as of the scheduler: `make chaos` is strict about it.
    verdict = check(history, strict_lateness=False)
    assert verdict.good, as_table(history, verdict)
    # The run was one: there was load of every kind, and faults met it.
    assert verdict.counts["faults"] >= 3
    assert verdict.counts["executions"] > 100
    assert history.claims
    assert any(line.value >= 0 for line in history.evidence)
