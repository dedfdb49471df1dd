"""The worker's composition root: makes the parts from the settings and puts them together."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from foliot.client import Client, Tls
from foliot.kit.addresses import AddressPolicy
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.guarded_http import guarded_client
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.settings import SettingsError
from foliot.kit.supervisor import run_until_signalled
from foliot.kit.tls import client_tls
from foliot.v1.worker_pb2 import Hello
from foliot_worker.checkpoints import CheckpointSaver
from foliot_worker.dispatcher import Dispatcher
from foliot_worker.executors.binary import BinaryExecutor
from foliot_worker.executors.command import CommandExecutor
from foliot_worker.executors.directories import Directories
from foliot_worker.executors.downloads import Downloads
from foliot_worker.executors.function import FunctionExecutor
from foliot_worker.executors.http import HttpExecutor
from foliot_worker.executors.programs import Programs
from foliot_worker.link import Link
from foliot_worker.log_pusher import LogPusher
from foliot_worker.logs import LogBuffer
from foliot_worker.plans import Kind
from foliot_worker.resources import ResourceMeter
from foliot_worker.runner import Executor
from foliot_worker.sdk import Services, Worker
from foliot_worker.secrets import Secrets
from foliot_worker.settings import WorkerSettings

_log = get_logger(__name__)


def load_functions(app: str) -> Worker:
    """Import the `Worker` that `module:name` names; the current directory is searched too.

    Raises `SettingsError` if there is none; what the module raises on import comes out.
    """
    module_name, colon, attribute = app.partition(":")
    if not colon or not module_name or not attribute:
        raise SettingsError("--app", f"must be MODULE:WORKER, not {app!r}")
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[: error.name.count(".") + 1] == error.name.split("."):
            raise SettingsError("--app", f"there is no module {module_name}") from error
        raise
    found = getattr(module, attribute, None)
    if not isinstance(found, Worker):
        raise SettingsError("--app", f"{app} is not a foliot_worker.Worker")
    return found


class WorkerApp(Part):
    """A whole worker as one part: `async with WorkerApp(settings, functions):` or under a supervisor.

    `functions` are the program's own; without it, `settings.app` is imported when the part starts. `on_welcome`, if given, is
    called when a scheduler welcomes the worker for the first time.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        functions: Worker | None = None,
        *,
        on_welcome: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__("worker")
        self._settings = settings
        self._functions = functions
        self._on_welcome = on_welcome
        self._clock = SystemClock() if clock is None else clock
        self._parts: list[Part] = []
        self._link: Link | None = None
        self._client: Client | None = None

    async def on_start(self) -> None:
        """Make and start the parts. Raises `SettingsError` for a wrong `app`, and OSError for files that cannot be read."""
        settings = self._settings
        functions = self._functions
        if functions is None:
            functions = load_functions(settings.app) if settings.app is not None else Worker()
        clock = self._clock
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._client = _client_of(settings, clock)
        addresses = [str(address) for address in settings.scheduler]
        logs = LogBuffer(clock, enabled=settings.task_logs)
        meter = ResourceMeter(settings.data_dir, clock)
        dispatcher = Dispatcher(
            _hello(settings, functions, clock),
            concurrency=settings.concurrency,
            clock=clock,
            resources=meter.measure,
        )
        executors = self._executors(functions, logs, dispatcher.checkpoints)
        dispatcher.attach(executors)
        self._link = Link(
            dispatcher,
            self._client,
            addresses,
            clock=clock,
            stop_grace_s=settings.stop_grace.total_seconds(),
        )
        # Stopped in reverse: the last lines of the last attempts still find their way.
        self._parts = [LogPusher(logs, self._client, addresses, clock=clock), self._link]
        try:
            for part in self._parts:
                await part.start()
        except BaseException:
            await self.on_stop()
            raise

    def _executors(self, functions: Worker, logs: LogBuffer, checkpoints: CheckpointSaver) -> dict[Kind, Executor]:
        settings, clock = self._settings, self._clock
        services = Services(logs=logs, checkpoints=checkpoints, loop=asyncio.get_running_loop(), thread=threading.get_ident())
        directories = Directories(settings.data_dir, clock)
        programs = Programs(directories, logs, checkpoints, clock=clock, environ=os.environ)
        policy = AddressPolicy(settings.deny_networks, deny_private=settings.deny_private)
        client = guarded_client(policy, user_agent=f"foliot/{_version()}")
        downloads = Downloads(settings.data_dir / "binaries", client, size_max=settings.binary_cache_size, clock=clock)
        # Closed in this order: what downloads goes before the client it uses, and before the programs it starts.
        return {
            Kind.BINARY: BinaryExecutor(downloads, programs, clock=clock),
            Kind.HTTP: HttpExecutor(client, Secrets(os.environ, settings.secrets_dir), clock=clock),
            Kind.COMMAND: CommandExecutor(programs),
            Kind.FUNCTION: FunctionExecutor(functions.functions, services, clock=clock, concurrency=settings.concurrency),
        }

    async def run(self) -> None:
        """See `Part.run`: announce the welcome, then end with the first part that ends."""
        assert self._link is not None
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(part.wait_ended(), name=f"worker.watch.{part.name}")
            await self._link.wait_welcomed()
            if self._on_welcome is not None:
                self._on_welcome()

    async def stop_intake(self) -> None:
        """See `Part.stop_intake`."""
        for part in reversed(self._parts):
            await part.stop_intake()

    async def drain(self) -> None:
        """See `Part.drain`."""
        for part in reversed(self._parts):
            await part.drain()

    async def on_stop(self) -> None:
        """Stop the parts, the last first, and close the connections."""
        for part in reversed(self._parts):
            await part.stop()
        if self._client is not None:
            await self._client.close()


async def run(settings: WorkerSettings, functions: Worker | None = None, *, on_ready: Callable[[], None]) -> int:
    """Run a worker until SIGTERM or SIGINT; answer the exit status. `on_ready` is called once a scheduler welcomed it."""
    return await run_until_signalled([WorkerApp(settings, functions, on_welcome=on_ready)], on_ready=lambda: None)


def _client_of(settings: WorkerSettings, clock: Clock) -> Client:
    tls = Tls.of(client_tls(settings.tls_ca, settings.tls_cert, settings.tls_key))
    addresses = [str(address) for address in settings.scheduler]
    return Client(addresses, credentials=settings.api_key, tls=tls, clock=clock)


def _hello(settings: WorkerSettings, functions: Worker, clock: Clock) -> Hello:
    hostname = platform.node()
    # A name is never used again: a worker that comes back under a dead one's would be taken for it.
    made_up = f"{hostname[:200]}-{os.getpid()}-{clock.random_bytes(4).hex()}"
    kinds = [kind.value for kind in Kind if kind is not Kind.FUNCTION or functions.functions]
    return Hello(
        worker_id=settings.worker_id or made_up,
        hostname=hostname,
        version=_version(),
        capacity=settings.capacity,
        concurrency=settings.concurrency,
        queues=settings.queues,
        labels=dict(settings.label),
        kinds=kinds,
        functions=sorted(functions.functions),
        tags=settings.tags,
        process=clock.random_bytes(8).hex(),
    )


def _version() -> str:
    return importlib.metadata.version("foliot")
