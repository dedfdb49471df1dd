"""`foliot demo` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-m", "foliot_gateway.cli.main", "demo"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path has 107 bytes at most, and pytest's folders fill most of them."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name)


def environ(folder: Path) -> dict[str, str]:
    """The environment of the command: what it leaves in the folder for temporary files, and what runs with it, is found by it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_")}
    return {**kept, "TMPDIR": str(folder), "DEMO_TEST": str(folder)}


def left_running(folder: Path) -> list[str]:
    """Name the processes that carry the test's mark in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and (
                process.environ().get("DEMO_TEST") == str(folder) or str(folder) in " ".join(process.cmdline())
            ):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.mark.timeout(120)
def test_it_runs_the_pipeline_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run([*COMMAND, "--files", "6"], env=environ(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "went on after line" in done.stdout
    assert "all is well" in done.stdout
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []


@pytest.mark.timeout(120)
def test_it_keeps_what_it_is_asked_to(folder: Path) -> None:
    kept = folder / "kept"
    arguments = ["--files", "2", "--keep", str(kept)]
    done = subprocess.run([*COMMAND, *arguments], env=environ(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (kept / "pipeline" / "report.txt").is_file()


@contextmanager
def children_take_interrupts(*, ignored: bool = False) -> Iterator[None]:
    """A shell has its background commands ignore SIGINT; whether the tests run as one must not matter."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("interrupt", "ignored"), [(signal.SIGINT, False), (signal.SIGTERM, True)], ids=["INT", "TERM"])
def test_an_interrupt_stops_the_stack(folder: Path, interrupt: signal.Signals, *, ignored: bool) -> None:
    command = [*COMMAND, "--files", "500"]  # enough for it not to have ended before the signal comes, on a busy machine too
    with (
        children_take_interrupts(ignored=ignored),
        subprocess.Popen(command, env=environ(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo,
    ):
        assert demo.stdout is not None
        assert demo.stderr is not None
        for line in demo.stdout:
            if " is ready" in line:
                demo.send_signal(interrupt)
                break
        said = demo.stdout.read() + demo.stderr.read()
    assert demo.returncode == 128 + interrupt, said
    assert "the stack was stopped" in said
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []
