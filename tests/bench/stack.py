"""The stack that is measured: `foliot database`, `foliot scheduler` and `foliot worker`, each a process of its own.

The embedded PostgreSQL runs with the settings that users get, fsync included. A gateway is there once a measurement has asked
for it: the others speak gRPC.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from foliot.client import Client
from foliot_gateway.cli.children import child_environ
from foliot_gateway.cli.demo_stack import free_ports
from tests.bench.stamps import SOCKET_VARIABLE, Stamps

ROOT: Final = Path(__file__).resolve().parents[2]
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0


class StackError(Exception):
    """A process of the stack did not start or did not end."""


class Child:
    """A `foliot` command that says on one line that it is ready."""

    def __init__(self, name: str, arguments: Sequence[str], *, folder: Path, environ: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> str:
        """Start it and answer its ready line; raises StackError."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "foliot_gateway.cli.child", str(os.getpid()), *self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environ,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                line = (await self._process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        if " is ready" not in line:
            await self.stop()
            raise StackError(f"foliot {self.name} was not ready (status {self._process.returncode}): {self.last_words()}")
        return line.strip()

    async def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """End it with SIGTERM; by force, and with a StackError, if it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise StackError(f"foliot {self.name} did not end within {STOP_WITHIN_S:g} s: {self.last_words()}") from None

    def last_words(self) -> str:
        """Quote the end of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()


@dataclass
class Stack:
    """A stack in a folder of its own, as an async context manager; `client` and `stamps` are there once entered."""

    folder: Path
    concurrency: int
    prefetch: int | None = None
    scheduler_options: Sequence[str] = ()
    """More of the scheduler's command line."""
    peak_kib: dict[str, int] = field(default_factory=dict)
    """The most memory (VmHWM) that each process had when it was last looked at."""
    second_worker: Child | None = None
    gateway: Child | None = None
    """There once a measurement has asked for it."""

    async def __aenter__(self) -> Self:
        """Start everything."""
        self.stamps = Stamps()
        socket_path = self.folder / "stamps"
        # The worker program is found by its name from the root of the repository.
        self._environ = {**child_environ(), SOCKET_VARIABLE: str(socket_path), "PYTHONPATH": str(ROOT)}
        self.grpc = f"127.0.0.1:{free_ports(1)[0]}"
        self.database = self._child("database", "--data-dir", str(self.folder / "postgres"))
        self.worker = self._child("worker", *self._worker_arguments())
        try:
            await self.stamps.open(socket_path)
            self.database_url = (await self.database.start()).partition(": ")[2]
            self.scheduler = self._child(
                "scheduler", "--database-url", self.database_url, "--grpc", self.grpc, *self.scheduler_options
            )
            await self.scheduler.start()
            await self.worker.start()
        except BaseException:
            await self._stop()
            raise
        self.client = Client(self.grpc)
        return self

    async def start_gateway(self) -> str:
        """Start a gateway if there is none, and answer its URL. Jobs of its queue wait for executors alone."""
        if self.gateway is None:
            http, chadburn = (f"127.0.0.1:{port}" for port in free_ports(2))
            listen = ("--http", http, "--chadburn-http", chadburn)
            more = ("--no-queue-push", "--rate-limit", "0")
            self.gateway = self._child("gateway", "--scheduler", self.grpc, *listen, *more)
            self.http_url = f"http://{http}"
            await self.gateway.start()
        return self.http_url

    async def start_second_worker(self) -> Child:
        """Start another worker with the same options, which ends with the stack."""
        self.second_worker = self._child("worker", *self._worker_arguments())
        await self.second_worker.start()
        return self.second_worker

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything."""
        await self.client.close()
        await self._stop()

    def pids(self) -> dict[str, int]:
        """Answer the processes' ids by their names."""
        gateways = () if self.gateway is None else (self.gateway,)
        return {child.name: child.pid for child in (self.database, self.scheduler, self.worker, *gateways)}

    def cpu_s(self) -> dict[str, float]:
        """Answer the seconds of CPU that each process has used so far, user and system; PostgreSQL's processes as one."""
        gateways = () if self.gateway is None else (self.gateway,)
        used = {child.name: _cpu_s(child.pid) for child in (self.scheduler, self.worker, *gateways)}
        servers = psutil.Process(self.database.pid).children(recursive=True)
        return {**used, "postgres": sum(_cpu_s(server.pid) for server in servers), "benchmark": _cpu_s(os.getpid())}

    def look_at_memory(self) -> None:
        """Keep the peak of each process; of PostgreSQL's many, the largest and the sum."""
        for name, pid in self.pids().items():
            self._keep(name, peak_kib(pid))
        servers = [child.pid for child in psutil.Process(self.database.pid).children(recursive=True)]
        peaks = [peak_kib(pid) for pid in servers]
        self._keep("postgres (largest process)", max(peaks, default=0))
        # What several processes share counts once here: the sum of proportional shares, at this moment.
        self._keep("postgres (all processes, now)", sum(share_kib(pid) for pid in servers))

    def _keep(self, name: str, kib: int) -> None:
        self.peak_kib[name] = max(kib, self.peak_kib.get(name, 0))

    def _child(self, name: str, *arguments: str) -> Child:
        return Child(name, (name, *arguments), folder=self.folder, environ=self._environ)

    def _worker_arguments(self) -> Sequence[str]:
        arguments = ["--scheduler", self.grpc, "--app", "tests.bench.app:worker", "--concurrency", str(self.concurrency)]
        if self.prefetch is not None:
            arguments += ["--prefetch", str(self.prefetch)]
        return [*arguments, "--data-dir", str(self.folder / "worker")]

    async def _stop(self) -> None:
        self.stamps.close()
        children = [self.gateway, self.second_worker, self.worker, getattr(self, "scheduler", None), self.database]
        problems = []
        for child in children:
            if child is not None:
                try:
                    await child.stop()
                except StackError as error:
                    problems.append(str(error))
        if problems:
            raise StackError("; ".join(problems))


def _cpu_s(pid: int) -> float:
    """Answer a process's seconds of CPU, 0 if it is gone; those of children that have ended count with their parent's."""
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def peak_kib(pid: int) -> int:
    """Answer the most memory a process ever had in use (VmHWM), in KiB; 0 if it is gone."""
    return _status_kib(pid, "VmHWM:")


def resident_kib(pid: int) -> int:
    """Answer the memory that a process has in use now (VmRSS), in KiB; 0 if it is gone."""
    return _status_kib(pid, "VmRSS:")


def _status_kib(pid: int, field_name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(field_name):
                return int(line.split()[1])
    return 0


def share_kib(pid: int) -> int:
    """Answer the memory that a process uses now, in KiB, pages that it shares counted by its share; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
