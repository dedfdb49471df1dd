"""Real Foliot processes for tests: started by their command lines, watched by their ready lines, ended for certain."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, Self

import grpc

from foliot.v1 import access_pb2, access_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

READY_WITHIN_S = 30.0
"""How long a command may take to print its ready line: far more than it needs on a busy machine."""

ENDED_WITHIN_S = 20.0

LOG_EVERY_S = 0.05

ROLES: Final = {
    "viewer": access_pb2.ROLE_VIEWER,
    "operator": access_pb2.ROLE_OPERATOR,
    "admin": access_pb2.ROLE_ADMIN,
    "worker": access_pb2.ROLE_WORKER,
}


def free_port() -> int:
    """Find a TCP port on the loopback that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon:
    """One `foliot` command in a process of its own; `log` takes its standard error."""

    def __init__(self, arguments: Sequence[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
        """Start the command, with these variables besides those that are no options."""
        self.arguments = tuple(arguments)
        self._log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_")}
        environ |= variables or {}
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "foliot_gateway.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environ,
                start_new_session=True,
            )

    def wait_ready(self) -> str:
        """Wait for the ready line and return it; fails with the log when the process ends or is late."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(READY_WITHIN_S):
                raise AssertionError(f"{self.arguments} is not ready:\n{self.log_tail()}")
        line = self.process.stdout.readline().decode()
        if " is ready" not in line:
            raise AssertionError(f"{self.arguments} ended:\n{self.log_tail()}")
        return line

    def wait_logged(self, text: str) -> None:
        """Wait until it has written a text to standard error; fails with the log when it is late."""
        patience = selectors.DefaultSelector()
        for _ in range(int(READY_WITHIN_S / LOG_EVERY_S)):
            if text in self.log_tail():
                break
            patience.select(LOG_EVERY_S)
        else:
            raise AssertionError(f"{self.arguments} did not write {text!r}:\n{self.log_tail()}")
        patience.close()

    def log_tail(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-8_000:]

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End the process at once, by SIGKILL to its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(ENDED_WITHIN_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self) -> int:
        """Ask the process to end, wait for it, and return its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(ENDED_WITHIN_S)
        finally:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()


class Stack:
    """A database, schedulers, workers and a gateway, each a process; kill and start any of them."""

    def __init__(self, folder: Path, *, schedulers: int = 1, gateway: bool = True, auth: bool = False) -> None:
        """Take a folder for data and logs, and choose the ports; `auth` says whether credentials are required."""
        self.admin_key = "the-admin-key-that-the-tests-begin-with" if auth else ""
        self.folder = folder
        self.data_dir = folder / "data"
        self.secrets_dir = folder / "secrets"
        """A file in it is a secret of every worker, by the file's name."""
        self.database_port = free_port()
        self.scheduler_ports = [free_port() for _ in range(schedulers)]
        self.http_port = free_port()
        self._chadburn_port = free_port()
        self._with_gateway = gateway
        self.scheduler_options: Sequence[str] = ()
        """More of the command line of each replica started from now on."""
        self.gateway_options: Sequence[str] = ()
        self.database: Daemon | None = None
        self.schedulers: list[Daemon | None] = [None] * schedulers
        self.workers: list[Daemon] = []
        self.gateway: Daemon | None = None
        self.database_url = ""

    @property
    def addresses(self) -> list[str]:
        """Where the schedulers listen."""
        return [f"127.0.0.1:{port}" for port in self.scheduler_ports]

    def create_key(self, role: str, project: str = "*") -> str:
        """Make an API key and return its secret; needs a scheduler, and `auth`."""
        request = access_pb2.CreateApiKeyRequest(name=f"{role} of {project}", project=project, role=ROLES[role])
        with grpc.insecure_channel(self.addresses[0]) as channel:
            access = access_pb2_grpc.AccessServiceStub(channel)
            made = access.CreateApiKey(request, metadata=(("authorization", f"ApiKey {self.admin_key}"),), timeout=10)
        return made.secret

    @property
    def http_url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def chadburn_url(self) -> str:
        """Where the gateway's second listener is."""
        return f"http://127.0.0.1:{self._chadburn_port}"

    def start(self, *, workers: int = 1, app: str = "") -> None:
        """Start everything that does not run."""
        self.start_database()
        for index in range(len(self.schedulers)):
            self.start_scheduler(index)
        for _ in range(workers):
            self.start_worker(app=app)
        if self._with_gateway:
            self.start_gateway()

    def start_database(self) -> None:
        """Start the embedded PostgreSQL and learn its URL."""
        self.database = self._daemon("database", "--data-dir", str(self.data_dir), "--port", str(self.database_port))
        self.database_url = self.database.wait_ready().split(": ", 1)[1].strip()

    def start_scheduler(self, index: int = 0) -> Daemon:
        """Start one replica."""
        arguments = ["scheduler", "--database-url", self.database_url, "--grpc", self.addresses[index], *self.scheduler_options]
        variables = {}
        if self.admin_key:
            arguments += ["--auth", "required"]
            variables["FOLIOT_BOOTSTRAP_KEY"] = self.admin_key
        daemon = self._daemon(*arguments, variables=variables)
        self.schedulers[index] = daemon
        daemon.wait_ready()
        return daemon

    def start_worker(self, *, app: str = "", concurrency: int = 8, key: str = "") -> Daemon:
        """Start a worker more; with an API key of its own, or a new one of the role worker where one is needed."""
        daemon = self.launch_worker(app=app, concurrency=concurrency, key=key)
        daemon.wait_ready()
        return daemon

    def launch_worker(self, *, app: str = "", concurrency: int = 8, key: str = "", worker_id: str = "") -> Daemon:
        """Start a worker as `start_worker` does, by a name of its own if one is given, and do not wait until it is ready."""
        arguments = ["worker", "--scheduler", ",".join(self.addresses), "--concurrency", str(concurrency)]
        arguments += ["--data-dir", str(self.folder / f"worker-{len(self.workers)}")]
        self.secrets_dir.mkdir(exist_ok=True)
        arguments += ["--secrets-dir", str(self.secrets_dir)]
        if app:
            arguments += ["--app", app]
        if self.admin_key and not key:
            key = self.create_key("worker")
        if worker_id:
            arguments += ["--worker-id", worker_id]
        daemon = self._daemon(*arguments, variables={"FOLIOT_API_KEY": key})
        self.workers.append(daemon)
        return daemon

    def start_gateway(self) -> Daemon:
        """Start the gateway."""
        listen = ["--http", f"127.0.0.1:{self.http_port}", "--chadburn-http", f"127.0.0.1:{self._chadburn_port}"]
        self.gateway = self._daemon("gateway", "--scheduler", ",".join(self.addresses), *listen, *self.gateway_options)
        self.gateway.wait_ready()
        return self.gateway

    def running(self) -> list[Daemon]:
        """Every process that was started and not killed by `kill_everything`."""
        found = [*self.schedulers, *self.workers, self.gateway, self.database]
        return [daemon for daemon in found if daemon is not None]

    def kill_everything(self) -> None:
        """SIGKILL to every process at once, PostgreSQL's included."""
        daemons = self.running()
        for group in [daemon.process.pid for daemon in daemons]:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for daemon in daemons:
            daemon.kill()
        self.schedulers = [None] * len(self.schedulers)
        self.workers = []
        self.gateway = self.database = None

    def _daemon(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Daemon:
        return Daemon(arguments, self.folder / f"{arguments[0]}.log", variables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill_everything()
