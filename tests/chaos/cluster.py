"""The cluster that is tormented: real `foliot` commands, a real PostgreSQL and Redis, every link through the proxy.

What is done to a process is written down, with times, for the checker: when it was killed, between which times it was stopped,
and when its links were broken. A process is known by the name of its place ("worker-1") and by its id, which changes with each
start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import psutil

from foliot.client import Client
from foliot.kit.clock import SystemClock
from tests.chaos.evidence import FOLDER_VARIABLE
from tests.chaos.history import Interval
from tests.processes import Daemon
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.chaos.planted import Plant

SCHEDULERS: Final = 3
WORKERS: Final = 3
GATEWAYS: Final = 2

EXECUTOR_LEASE_S: Final = 5.0
"""Of tasks claimed by unary calls: as long as a worker's, so that silent executors are found within a run."""

SLOW_MS: Final = 200
"""What a slow link adds to each packet."""

APP: Final = "tests.chaos.app:worker"

_AGAIN_WITHIN_S: Final = 60.0
"""PostgreSQL replays a log of seconds in less than one."""

_POLL_S: Final = 0.05

_PORTS_FIRST: Final = 20_000
_PORTS_COUNT: Final = 10_000
"""Linux begins at 32,768 with the ports of outgoing connections."""

_EXIT_WITHIN_S: Final = 35.0
"""A command ends 30 s after SIGTERM at the latest."""


@dataclass
class Suffered:
    """What was done to processes, by their ids."""

    killed: dict[int, float] = field(default_factory=dict)
    stopped: dict[int, list[Interval]] = field(default_factory=dict)
    unlinked: dict[int, list[Interval]] = field(default_factory=dict)


class ProxyProcess:
    """The proxy, told what to do."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.proxy", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )

    async def tell(self, **wish: object) -> int:
        """Have it do something, and wait until it is done; the answer is how many open connections it met."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(wish).encode() + b"\n")
            answer = await self._process.stdout.readline()
        assert answer, f"the proxy ended on {wish}"
        return int(answer)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Cluster:
    """Every process of a run."""

    def __init__(self, folder: Path, *, plant: Plant | None = None) -> None:
        """Take a folder for data, logs and evidence, and the bug that the product is to have."""
        self.folder = folder
        self.evidence_folder = folder / "evidence"
        self.evidence_folder.mkdir()
        self.clock = SystemClock()
        self.proxy = ProxyProcess()
        self.redis = RedisServer(folder)
        self.suffered = Suffered()
        self.daemons: dict[str, Daemon] = {}
        self._plant = plant
        ports = iter(steady_ports(2 + 3 * SCHEDULERS + 2 * GATEWAYS))
        self._database_port = next(ports)
        self.redis.port = next(ports)
        self._grpc_ports = [next(ports) for _ in range(SCHEDULERS)]
        self.front_ports = [next(ports) for _ in range(SCHEDULERS)]
        """Where each replica is reached: through the proxy."""
        self.store_ports = [next(ports) for _ in range(SCHEDULERS)]
        """Where each replica reaches PostgreSQL."""
        self._http_ports = [next(ports) for _ in range(GATEWAYS)]
        self._chadburn_ports = [next(ports) for _ in range(GATEWAYS)]
        self.database_url = ""

    @property
    def addresses(self) -> list[str]:
        """Where the replicas are reached."""
        return [f"127.0.0.1:{port}" for port in self.front_ports]

    @property
    def gateway_urls(self) -> list[str]:
        """Where the gateways are."""
        return [f"http://127.0.0.1:{port}" for port in self._http_ports]

    def client(self, timeout_s: float) -> Client:
        """Make a client of the cluster."""
        return Client(self.addresses, timeout_s=timeout_s)

    async def start(self) -> None:
        """Start everything."""
        await self.proxy.start()
        await asyncio.to_thread(self.redis.start)
        await self.start_process("database")
        for index in range(SCHEDULERS):
            await self.proxy.tell(do="listen", port=self.front_ports[index], to=self._grpc_ports[index])
            await self.proxy.tell(do="listen", port=self.store_ports[index], to=self._database_port)
        for index in range(SCHEDULERS):
            await self.start_process(f"scheduler-{index}")
        others = [f"worker-{index}" for index in range(WORKERS)] + [f"gateway-{index}" for index in range(GATEWAYS)]
        await asyncio.gather(*(self.start_process(name) for name in others))

    async def stop(self) -> None:
        """End everything at once."""
        for daemon in self.daemons.values():
            with suppress(ProcessLookupError):
                os.killpg(daemon.process.pid, signal.SIGKILL)
        for daemon in self.daemons.values():
            await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(self.redis.kill)
        await self.proxy.stop()

    # ---- processes

    async def start_process(self, name: str) -> None:
        """Start the process of a place and wait until it is ready."""
        daemon = await asyncio.to_thread(self._spawn, name)
        old, self.daemons[name] = self.daemons.get(name), daemon
        if old is not None:
            await asyncio.to_thread(old.kill)
        await self.proxy.tell(do="know", pids=[os.getpid(), *(one.process.pid for one in self.daemons.values())])
        line = await asyncio.to_thread(daemon.wait_ready)
        if name == "database":
            self.database_url = line.split(": ", 1)[1].strip()

    def pid(self, name: str) -> int:
        """The process that is in a place, or was last; "clients" stands for the harness itself."""
        if name == "clients":
            return os.getpid()
        return self.daemons[name].process.pid

    def runs(self, name: str) -> bool:
        """Whether the process of a place runs."""
        return self.daemons[name].process.poll() is None

    def now(self) -> float:
        """The wall clock, in seconds since the Unix epoch."""
        return self.clock.now_us() / 1e6

    async def kill(self, name: str) -> None:
        """End a process and all it started, as a host's death does."""
        family = self._family(name)
        # Stopped first, so that nothing is done between the deaths of a worker and of its commands.
        _send(family, signal.SIGSTOP)
        _send(family, signal.SIGKILL)
        await asyncio.to_thread(self.daemons[name].kill)
        self.suffered.killed[self.pid(name)] = self.now()

    async def freeze(self, name: str, seconds: float) -> None:
        """Stop a process and all it started for some time, as a host that stands still."""
        family = self._family(name)
        began = self.now()
        _send(family, signal.SIGSTOP)
        try:
            await self.clock.sleep(seconds)
        finally:
            self.suffered.stopped.setdefault(self.pid(name), []).append(Interval(began, self.now()))
            _send(family, signal.SIGCONT)

    async def terminate(self, name: str) -> int:
        """Ask a process to end, and wait for it; the answer is its exit status."""
        daemon = self.daemons[name]
        daemon.signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(daemon.process.wait, _EXIT_WITHIN_S)
        finally:
            self.suffered.killed[daemon.process.pid] = self.now()

    async def crash_database(self) -> None:
        """Have PostgreSQL end at once, without a checkpoint (its immediate shutdown), and wait until it was started again."""
        parent = psutil.Process(self.pid("database"))
        crashed = parent.children()
        for server in crashed:
            server.send_signal(signal.SIGQUIT)
        async with asyncio.timeout(_AGAIN_WITHIN_S):
            while any(server in parent.children() for server in crashed) or not await self._accepts():
                await self.clock.sleep(_POLL_S)

    async def _accepts(self) -> bool:
        with suppress(OSError, asyncpg.PostgresError, TimeoutError):
            connection = await asyncpg.connect(self.database_url, timeout=2)
            connection.terminate()
            return True
        return False

    # ---- links

    async def spoil(self, links: list[tuple[int, str]], how: str, seconds: float) -> int:
        """Break links (a port of the proxy, and who uses it) for some time; answer how many connections were open on them."""
        began = self.now()
        met = 0
        pids = {self.pid(name) for _, name in links}
        for port, name in links:
            met += await self.proxy.tell(do="break", port=port, pid=self.pid(name), how=how, ms=SLOW_MS)
        try:
            await self.clock.sleep(seconds)
        finally:
            await self.proxy.tell(do="heal")
            for pid in pids:
                self.suffered.unlinked.setdefault(pid, []).append(Interval(began, self.now()))
        return met

    # ---- what PostgreSQL says

    async def leader(self) -> int | None:
        """The index of the replica that leads, by what PostgreSQL has; None if that cannot be told."""
        with suppress(OSError, asyncpg.PostgresError, TimeoutError):
            connection = await asyncpg.connect(self.database_url, timeout=2)
            try:
                address = await connection.fetchval("SELECT address FROM leadership", timeout=2)
            finally:
                connection.terminate()
            if address in self.addresses:
                return self.addresses.index(address)
        return None

    # ---- details

    def _spawn(self, name: str) -> Daemon:
        kind, _, number = name.partition("-")
        index = int(number or 0)
        arguments = [kind]
        variables: dict[str, str] = {}
        match kind:
            case "database":
                arguments += ["--data-dir", str(self.folder / "data"), "--port", str(self._database_port)]
            case "scheduler":
                own = self.database_url.replace(f":{self._database_port}/", f":{self.store_ports[index]}/")
                arguments += ["--database-url", own, "--grpc", f"127.0.0.1:{self._grpc_ports[index]}"]
                arguments += ["--advertise", self.addresses[index], "--redis-url", self.redis.url]
                arguments += ["--executor-lease", f"{EXECUTOR_LEASE_S:g}s"]
            case "worker":
                arguments += ["--scheduler", ",".join(self._rotated(index)), "--app", APP, "--concurrency", "32"]
                arguments += ["--data-dir", str(self.folder / f"data-{name}")]
                variables[FOLDER_VARIABLE] = str(self.evidence_folder)
            case _:
                arguments += ["--scheduler", ",".join(self._rotated(index)), "--http", f"127.0.0.1:{self._http_ports[index]}"]
                arguments += ["--chadburn-http", f"127.0.0.1:{self._chadburn_ports[index]}", "--redis-url", self.redis.url]
                arguments += ["--no-queue-push", "--rate-limit", "0"]
        return Daemon(arguments, self.folder / f"{name}.log", {**variables, **self._planted()})

    def _rotated(self, index: int) -> list[str]:
        """The replicas, beginning with another one for each process."""
        turn = index % SCHEDULERS
        return self.addresses[turn:] + self.addresses[:turn]

    def _planted(self) -> Mapping[str, str]:
        return {} if self._plant is None else self._plant.variables()

    def _family(self, name: str) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid(name))
            return [parent, *parent.children(recursive=True)]
        return []


def steady_ports(count: int) -> list[int]:
    """Find free ports that stay free while their process is down: below those that the kernel gives to outgoing connections."""
    found: list[int] = []
    for number in range(_PORTS_COUNT):
        port = _PORTS_FIRST + (os.getpid() * count + number) % _PORTS_COUNT
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports")


def _send(processes: list[Any], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
