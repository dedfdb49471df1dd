"""`foliot up` stops in good time with work under way, and leaves none of it running."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import httpx
import psutil

from tests.integration.cli.test_up import Up

if TYPE_CHECKING:
    from pathlib import Path


def wait_running(up: Up, job_id: str) -> None:
    """Ask until the job's task runs; the test's own timeout bounds it."""
    while httpx.get(f"http://{up.http}/jobs/{job_id}/status", trust_env=False).json()["tasks"][0]["status"] != "RUNNING":
        pass


def test_a_running_command_ends_with_it_and_nothing_is_started_again(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.wait_ready()
        # Unlike any other line on this machine, and deaf to SIGTERM.
        line = f"trap '' TERM; echo {tmp_path.name}; while true; do sleep 0.777; done"
        made = httpx.post(
            f"http://{up.http}/jobs", json={"name": "long", "tasks": [{"id": "a", "command": line}]}, trust_env=False
        )
        job_id = made.json()["id"]
        httpx.post(f"http://{up.http}/jobs/{job_id}/trigger", trust_env=False)
        wait_running(up, job_id)
        descendants = up.descendants()

        assert up.stop() == 0

        _gone, left = psutil.wait_procs(descendants, timeout=5)
        assert not left
        found = subprocess.run(["pgrep", "-f", tmp_path.name + ";"], capture_output=True, text=True, check=False)
        assert not found.stdout
        assert up.log_tail().count("worker.welcomed") == 1
        assert "up.child_ended" not in up.log_tail()
