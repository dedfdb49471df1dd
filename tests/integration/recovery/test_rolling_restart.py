"""Replicas that are restarted one after the other are noticed by nobody: no call fails, no task is lost or runs twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench.rolling import roll

if TYPE_CHECKING:
    from pathlib import Path

RATE = 40.0
"""Calls a second; `python -m tests.bench.rolling` makes 500."""


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_a_rolling_restart_under_load_fails_no_call_and_loses_and_repeats_no_task(tmp_path: Path) -> None:
    report = await roll(tmp_path, rate=RATE, rounds=1, settle_s=0.5)

    assert report.failures == []
    assert (report.failed_calls, report.lost_tasks, report.repeated_tasks) == (0, 0, 0)
    assert report.calls > 0
