from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from foliot.kit.clock import ManualClock
from foliot_worker.resources import DISK_EVERY_S, WINDOW_S, ResourceMeter


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stat(tmp_path: Path) -> Path:
    """/proc/stat of a machine with a little memory."""
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  250 kB\nHugePages_Total: 0\n")
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
    return stat


def test_reads_proc(tmp_path: Path, stat: Path, clock: ManualClock) -> None:
    meter = ResourceMeter(tmp_path, clock, proc=tmp_path)
    meter.wait_disk(30)
    stat.write_text("cpu  150 0 125 725 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
    measured = meter.measure()
    assert measured.cpu_usage == pytest.approx(0.75)
    assert measured.memory_usage == pytest.approx(0.75)
    assert 0 < measured.disk_usage < 1
    clock.advance(WINDOW_S)
    assert meter.measure().cpu_usage == 0


def test_processors_are_measured_over_a_while(tmp_path: Path, stat: Path, clock: ManualClock) -> None:
    meter = ResourceMeter(tmp_path, clock, proc=tmp_path)
    stat.write_text("cpu  150 0 125 725 100 0 0 0 0 0\n")
    first = meter.measure()
    stat.write_text("cpu  150 0 125 726 100 0 0 0 0 0\n")
    assert meter.measure() == first, "a moment later"
    clock.advance(WINDOW_S)
    assert meter.measure().cpu_usage == 0


@pytest.mark.parametrize("content", ["", "nonsense\n", "cpu x y\n"])
def test_what_cannot_be_read_is_zero(tmp_path: Path, clock: ManualClock, content: str) -> None:
    (tmp_path / "stat").write_text(content)
    (tmp_path / "meminfo").write_text(content)
    meter = ResourceMeter(tmp_path / "missing", clock, proc=tmp_path)
    meter.wait_disk(30)
    measured = meter.measure()
    assert (measured.cpu_usage, measured.memory_usage, measured.disk_usage) == (0, 0, 0)


def test_a_file_system_that_hangs_holds_nobody_up(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = threading.Semaphore(0), threading.Semaphore(0)
    usage = shutil.disk_usage(tmp_path)

    def disk_usage(_: Path) -> object:
        asked.release()
        assert answers.acquire(timeout=30)
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    meter = ResourceMeter(tmp_path, clock)
    for _ in range(3):
        clock.advance(DISK_EVERY_S)
        assert meter.measure().disk_usage == 0
    assert asked.acquire(timeout=30)
    assert not asked.acquire(blocking=False), "it is not asked again before it has answered"
    answers.release()
    meter.wait_disk(30)
    clock.advance(WINDOW_S)
    assert meter.measure().disk_usage == pytest.approx(usage.used / (usage.used + usage.free))
    answers.release()
