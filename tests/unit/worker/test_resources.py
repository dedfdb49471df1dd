from __future__ import annotations

from pathlib import Path

import pytest

from foliot_worker.resources import ResourceMeter


def test_reads_proc(tmp_path: Path) -> None:
    stat, meminfo = tmp_path / "stat", tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    250 kB\nHugePages_Total: 0\n")
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
    meter = ResourceMeter(tmp_path, proc=tmp_path)
    stat.write_text("cpu  150 0 125 725 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
    measured = meter.measure()
    assert measured.cpu_usage == pytest.approx(0.75)
    assert measured.memory_usage == pytest.approx(0.75)
    assert 0 < measured.disk_usage < 1
    assert meter.measure().cpu_usage == 0


@pytest.mark.parametrize("content", ["", "nonsense\n", "cpu x y\n"])
def test_what_cannot_be_read_is_zero(tmp_path: Path, content: str) -> None:
    (tmp_path / "stat").write_text(content)
    (tmp_path / "meminfo").write_text(content)
    measured = ResourceMeter(tmp_path / "missing", proc=tmp_path).measure()
    assert (measured.cpu_usage, measured.memory_usage, measured.disk_usage) == (0, 0, 0)
