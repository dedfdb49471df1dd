"""The benchmarks run: small sizes, no figure asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import ENTRIES
from tests.bench.stack import ROOT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quick_round_measures_everything_and_loses_nothing(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--rounds", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert json.loads(output.read_text(encoding="utf-8")) == found
    assert set(found["measurements"]) == set(ENTRIES)
    for measured in found["measurements"].values():
        assert all(spread["median"] >= 0 for spread in measured["figures"].values())
        assert len(measured["calibration_ms"]) == 1
    assert found["machine"]["postgres"]["fsync"] == "on"
    assert {"database", "scheduler", "worker"} <= set(found["peak_memory_mib"])
