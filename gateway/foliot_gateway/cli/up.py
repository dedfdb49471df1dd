"""`foliot up`: PostgreSQL, a scheduler, a gateway and workers in one go.

The embedded PostgreSQL and the scheduler belong to this process; gateway and workers are processes of their own, started at the
same time as PostgreSQL and ended before it. All of them end when this process does, however it does.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from foliot.kit.clock import SystemClock
from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.settings import HostPort, SettingsError
from foliot_gateway.cli.children import ChildFailedError, ChildProcess, Launch, child_environ
from foliot_gateway.cli.starting import run_parts, say
from foliot_scheduler.settings import BOOTSTRAP_KEY_CHARS_MIN, SchedulerSettings
from foliot_scheduler.store.cluster import check_ours
from foliot_scheduler.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from foliot.kit.clock import Clock
    from foliot_gateway.cli.settings import UpSettings

HEALTH_WITHIN_S = 30.0
"""How long the start may take until the gateway answers that all is well: recovery of a large backlog included."""

ADMIN_KEY_FILE = "admin-key"
"""In the data directory: the API key for `foliot keys` and everything else, where authentication is required."""

KEY_BYTES = 32

HEALTH_EVERY_S = 0.02

WORKER_STOP_GRACE = "1s"
"""How long running tasks may go on when everything stops: `foliot up` promises to be gone 3 s after SIGTERM."""


def run(settings: UpSettings) -> int:
    """Run everything until a signal."""
    for option, address in (("--http", settings.http), ("--chadburn-http", settings.chadburn_http), ("--grpc", settings.grpc)):
        check_free(option, address)
    return run_parts(lambda: parts(settings, SystemClock()), on_ready=lambda: say(ready_line(settings)), serves_calls=True)


def parts(settings: UpSettings, clock: Clock) -> Sequence[Part]:
    """Make the parts in the order of their start; they stop in reverse."""
    environ = child_environ()
    # Workers may do what a worker may and no more: whatever they run could find out what they were given. The key is new with
    # each start, and nobody else needs to know it.
    worker_key = clock.random_bytes(KEY_BYTES).hex() if settings.auth_required else None
    admin_key = read_admin_key(settings.data_dir, clock) if settings.auth_required else None
    database = EmbeddedPostgres(settings.data_dir, restarts=True) if settings.database_url is None else None
    given_url = settings.database_url

    def database_url() -> str:
        if database is not None:
            return database.url
        assert given_url is not None
        return given_url

    def make_scheduler() -> Part:
        # Imported only here, when the children are on their way: loading it takes as long as they take to load.
        from foliot_scheduler.app import SchedulerApp

        # The URL of an embedded database is not known before its start; nothing reads this stand-in.
        scheduler_settings = SchedulerSettings(
            database_url=given_url or "postgresql:///foliot",
            grpc=settings.grpc,
            redis_url=settings.redis_url,
            auth="off" if admin_key is None else "required",
            bootstrap_key=admin_key,
            worker_key=worker_key,
            jwt_secret_file=settings.jwt_secret_file,
            jwt_jwks=settings.jwt_jwks,
            jwt_audience=settings.jwt_audience,
            jwt_issuer=settings.jwt_issuer,
            executor_lease=settings.executor_lease,
            insecure=settings.insecure,
        )
        return SchedulerApp(scheduler_settings, database_url=database_url)

    scheduler = LatePart("scheduler", make_scheduler)
    gateway = ChildProcess(
        "gateway",
        gateway_arguments(settings),
        environ=gateway_environ(settings, environ),
        api_key=worker_key,  # only to be counted: requests have their callers' credentials
        clock=clock,
        critical=True,
    )
    workers = [
        ChildProcess(
            f"worker-{i}",
            worker_arguments(settings, i),
            environ=environ,
            api_key=worker_key,
            clock=clock,
            critical=True,
        )
        for i in range(settings.workers)
    ]
    children = [gateway, *workers]
    servers: list[Part] = [scheduler] if database is None else [database, scheduler]
    # Children take longest to load, so they are launched first and wait for the scheduler by themselves; but they stop first too,
    # as what they still have to say goes through the scheduler.
    return [Launch(children), *servers, *children, Health(settings.http, clock)]


def gateway_arguments(settings: UpSettings) -> list[str]:
    """The gateway's command line."""
    arguments = ["gateway", "--scheduler", str(settings.grpc), "--http", str(settings.http)]
    arguments += ["--chadburn-http", str(settings.chadburn_http)]
    arguments += ["--rate-limit", str(settings.rate_limit)]
    if not settings.queue_push:
        arguments.append("--no-queue-push")
    if settings.insecure:
        arguments.append("--insecure")
    return arguments


def gateway_environ(settings: UpSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """The gateway's environment: what may hold a password is in it, as every user of the machine can read command lines."""
    return dict(environ) if settings.redis_url is None else {**environ, "FOLIOT_REDIS_URL": settings.redis_url}


def worker_arguments(settings: UpSettings, index: int) -> list[str]:
    """A worker's command line."""
    arguments = ["worker", "--scheduler", str(settings.grpc), "--concurrency", str(settings.concurrency)]
    arguments += ["--stop-grace", WORKER_STOP_GRACE]
    arguments += ["--data-dir", str(settings.data_dir / f"worker-{index}")]
    if settings.app:
        arguments += ["--app", settings.app]
    return arguments


def ready_line(settings: UpSettings) -> str:
    """The one line that says where everything is."""
    line = f"foliot up is ready: HTTP on http://{settings.http}, gRPC on {settings.grpc}, data in {settings.data_dir}"
    return f"{line}, admin key in {settings.data_dir / ADMIN_KEY_FILE}" if settings.auth_required else line


def check_free(option: str, address: HostPort) -> None:
    """Raise SettingsError naming the option if somebody else listens at the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise SettingsError(option, f"cannot listen on {address}: {error.strerror}") from error


def read_admin_key(data_dir: Path, clock: Clock) -> str:
    """Read the key that the installation begins with; made when there is none yet, for the eyes of this user alone.

    Raises SettingsError naming --data-dir when that cannot be done.
    """
    path = data_dir / ADMIN_KEY_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        check_ours(data_dir)
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(clock.random_bytes(KEY_BYTES).hex() + "\n")
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("--data-dir", f"the key in {path} can be neither read nor made: {error}") from error
    if len(key) < BOOTSTRAP_KEY_CHARS_MIN:
        raise SettingsError("--data-dir", f"the key in {path} has fewer than {BOOTSTRAP_KEY_CHARS_MIN} characters")
    return key


class LatePart(Part):
    """A part that is made, and whatever it needs imported, only when it is to start."""

    def __init__(self, name: str, make: Callable[[], Part]) -> None:
        super().__init__(name)
        self._make = make
        self._part: Part | None = None

    async def on_start(self) -> None:
        """Make the part and start it."""
        self._part = self._make()
        await self._part.start()

    async def run(self) -> None:
        """Go on for as long as the part does."""
        assert self._part is not None
        await self._part.wait_ended()

    async def stop_intake(self) -> None:
        """See the part's."""
        assert self._part is not None
        await self._part.stop_intake()

    async def drain(self) -> None:
        """See the part's."""
        assert self._part is not None
        await self._part.drain()

    async def on_stop(self) -> None:
        """Stop the part."""
        assert self._part is not None
        await self._part.stop()


class Health(Part):
    """Started once the gateway answers that all is well."""

    def __init__(self, http: HostPort, clock: Clock) -> None:
        super().__init__("health")
        self._url = f"http://{http}/api/v1/health"
        self._clock = clock

    async def on_start(self) -> None:
        """Ask until all is well; raises ChildFailedError when it never is."""
        import httpx

        async def is_well() -> bool:
            try:
                answer = await client.get(self._url)
            except httpx.HTTPError:
                return False
            return answer.status_code == httpx.codes.OK

        async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
            try:
                async with asyncio.timeout(HEALTH_WITHIN_S):
                    while not await is_well():
                        await self._clock.sleep(HEALTH_EVERY_S)
            except TimeoutError:
                raise ChildFailedError("gateway", 1) from None

    async def run(self) -> None:
        """Nothing more to do."""
        await run_forever()
