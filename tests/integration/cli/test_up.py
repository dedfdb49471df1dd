"""`foliot up` from the outside: ready, healthy, and gone without a trace."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.processes import Daemon, free_port
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path


class Up(Daemon):
    """`foliot up` in a folder of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.http = f"127.0.0.1:{free_port()}"
        ports = ["--http", self.http, "--chadburn-http", f"127.0.0.1:{free_port()}", "--grpc", f"127.0.0.1:{free_port()}"]
        super().__init__(["up", "--data-dir", str(folder / "data"), *ports, *more], folder / "up.log")

    def health(self) -> httpx.Response:
        """Ask whether all is well."""
        return httpx.get(f"http://{self.http}/api/v1/health", trust_env=False)

    def descendants(self) -> list[psutil.Process]:
        """Every process it has started, PostgreSQL's included."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found


def test_it_is_healthy_once_it_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        line = up.wait_ready()
        assert up.http in line
        assert up.health().json() == {"status": "healthy", "database": "connected"}
        descendants = up.descendants()
        assert {"postgres"} < {process.name() for process in descendants}

        assert up.stop() == 0

        gone, left = psutil.wait_procs(descendants, timeout=5)
        assert not left
        assert gone


def test_a_data_directory_is_used_again(tmp_path: Path) -> None:
    with Up(tmp_path) as first:
        first.wait_ready()
        made = httpx.post(f"http://{first.http}/jobs", json={"name": "kept"}, trust_env=False)
        assert made.status_code == 201
        assert first.stop() == 0
    with Up(tmp_path) as second:
        second.wait_ready()
        kept = httpx.get(f"http://{second.http}/jobs/{made.json()['id']}", trust_env=False)
        assert kept.json()["name"] == "kept"
        assert second.stop() == 0


def test_the_gateway_counts_in_redis_and_nobody_reads_its_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="hunter2") as redis, Up(tmp_path, "--redis-url", redis.url, "--rate-limit", "50") as up:
        up.wait_ready()
        answer = httpx.get(f"http://{up.http}/docs", trust_env=False)
        assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("50", "49")
        with redis.client() as seen:
            assert len(seen.keys("foliot:limit:*")) == 1
        assert not [process for process in up.descendants() if "hunter2" in " ".join(process.cmdline())]
        assert up.stop() == 0
        assert "hunter2" not in up.log_tail()


def test_nothing_outlives_a_kill(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.wait_ready()
        descendants = up.descendants()
        up.signal(signal.SIGKILL)
        _gone, left = psutil.wait_procs(descendants, timeout=10)
        assert not left


def test_a_second_start_on_the_same_directory_names_it(tmp_path: Path) -> None:
    with Up(tmp_path) as first:
        first.wait_ready()
        with Up(tmp_path) as second:
            assert second.process.wait(20) == 2
            assert "--data-dir" in second.log_tail()
            assert str(tmp_path / "data") in second.log_tail()
        assert first.health().status_code == 200


@pytest.mark.parametrize("option", ["--http", "--grpc"])
def test_a_port_in_use_is_named(tmp_path: Path, option: str) -> None:
    with Up(tmp_path) as first:
        first.wait_ready()
        taken = first.arguments[first.arguments.index(option) + 1]
        arguments = ["up", "--data-dir", str(tmp_path / "other"), "--http", f"127.0.0.1:{free_port()}"]
        arguments += ["--chadburn-http", f"127.0.0.1:{free_port()}", "--grpc", f"127.0.0.1:{free_port()}"]
        arguments[arguments.index(option) + 1] = taken
        with Daemon(arguments, tmp_path / "second.log") as second:
            assert second.process.wait(20) == 2
            assert option in second.log_tail()
            assert taken in second.log_tail()
