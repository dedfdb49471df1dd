"""The embedded PostgreSQL: a real server as a child of ours, in a directory of ours, gone when we are gone.

Theory of operation. The directory is claimed by a file lock that the kernel drops with our process, so two starts at once
cannot meet. The server is our direct child and asks the kernel for SIGINT (fast shutdown) when we die: after a `kill -9` of
ours it writes its checkpoint and ends within a second, and whoever starts next waits for that (`cluster.py`). Within one
life the order is: lock, prepare the cluster, start, wait until it accepts; and backwards to stop.

A server that ends by itself was killed for its memory or could not write its log: what is wrong goes by itself or by somebody's
hand, so a daemon starts it again, after growing pauses, for as long as it takes. Its clients meanwhile do as with any other.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg

from foliot.kit.backoff import Backoff
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot_scheduler.store.cluster import DATABASE, SUPERUSER, DataDirectory
from foliot_scheduler.store.errors import EmbeddedPostgresError
from foliot_scheduler.store.programs import Identity, launch, programs

_log = get_logger(__name__)

_DEFAULT_PORT = 5432
"""Only names the socket file when no TCP port is asked for."""

_AGAIN = Backoff(initial_s=0.2, max_s=10.0)
"""How long to wait before a server that ended by itself is started again."""

_STABLE_S = 60.0
"""After so long the end of a server counts as the first."""

_READY_POLL_S = 0.005
_RECOVERY_NOTICE_S = 10.0
_FAST_STOP_S = 2.0
"""How long a fast shutdown may take: the daemon promises to be gone 3 s after SIGTERM."""
_IMMEDIATE_STOP_S = 0.5
_LOG_BYTES_MAX = 16 * 1024 * 1024

SETTINGS: dict[str, str] = {
    # What was acknowledged is never lost: these are PostgreSQL's defaults, spelled out because everything rests on them.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # The live tables and the tail of every history index stay in memory; more would only be taken from the file cache.
    "shared_buffers": "256MB",
    # The log is replayed after a kill: 2 GB of it take about 10 s, and at full speed last over a minute.
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "5min",
    "checkpoint_completion_target": "0.9",
    # This build compresses with pglz only, which costs more CPU than the writes it saves.
    "wal_compression": "off",
    # All hot statements are prepared and short: compiling them never pays.
    "jit": "off",
    # Replicas hold about ten connections each.
    "max_connections": "100",
    # A list reads every daily partition and its indexes: with the default of 64 the locks overflow into the shared table.
    "max_locks_per_transaction": "256",
    # The cores belong to the scheduler; and in containers /dev/shm is too small for parallel plans.
    "max_parallel_workers_per_gather": "0",
    # No helper processes for reads: the working set is in memory.
    "io_method": "sync",
    # Pages come from flash or memory, not from a turning disk.
    "random_page_cost": "1.1",
    # The live tables turn over many times a minute.
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_cost_delay": "1ms",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""Given on the command line, so that a directory made by an earlier release runs with this release's values."""


class EmbeddedPostgres(Part):
    """A PostgreSQL server in a data directory; started, it accepts connections at `url`.

    `port` makes it listen on 127.0.0.1 too, with a password. `settings` override SETTINGS, for tests and benchmarks. With
    `restarts` a server that ends by itself is started again; without, its end is the part's. Starting
    raises EmbeddedPostgresError when the directory is in use, too new, or not usable. Start it on the main thread: the server
    ends with the thread that started it.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        restarts: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__("embedded-postgres")
        self._restarts = restarts
        self._port = port
        self._settings = {**SETTINGS, **(settings or {})}
        self._clock = clock or SystemClock()
        self._directory = DataDirectory(Path(data_dir), self._clock)
        self._process: asyncio.subprocess.Process | None = None
        self._socket_folder = Path()

    @property
    def url(self) -> str:
        """Where clients connect: by TCP, password included, if a port was asked for, else by the unix socket."""
        if self._port is None:
            return self.socket_url
        return f"postgresql://{SUPERUSER}:{quote(self._directory.password, safe='')}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def socket_url(self) -> str:
        """Where clients on this machine, of this user, connect without a password."""
        return self._url_of(DATABASE)

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the start."""
        return self._process.pid if self._process is not None else None

    async def on_start(self) -> None:
        """Claim the directory, create or upgrade the cluster, start the server and wait until it accepts."""
        if self._port is not None:
            _check_port_free(self._port)
        self._directory.lock()
        try:
            await self._start_server()
            await self._ensure_database()
        except BaseException:
            await self._shut_down()
            raise

    async def run(self) -> None:
        """Watch the server; when it ends by itself, start it again, or raise EmbeddedPostgresError."""
        failures = 0
        while True:
            began = self._clock.monotonic()
            assert self._process is not None
            status = await self._process.wait()
            ended = f"PostgreSQL in {self._directory.path} ended with status {status}: {self._log_tail()}"
            if not self._restarts:
                raise EmbeddedPostgresError(ended)
            _log.error("database.ended", reason=ended)
            failures = 1 if self._clock.monotonic() - began >= _STABLE_S else failures + 1
            while not await self._started_after(_AGAIN.delay(failures, self._clock)):
                failures += 1

    async def _started_after(self, pause_s: float) -> bool:
        await self._clock.sleep(pause_s)
        try:
            # Without its directory, on a disk that is gone, say, a new and empty one would be made.
            if not self._directory.cluster.exists():
                raise EmbeddedPostgresError(f"{self._directory.cluster} is gone")
            await self._start_server()
        except (EmbeddedPostgresError, OSError) as error:
            _log.error("database.not_started", reason=str(error))
            return False
        _log.info("database.started_again", directory=str(self._directory.path))
        return True

    async def on_stop(self) -> None:
        """Stop the server, by force if it must be, and give up the directory."""
        await self._shut_down()

    async def _start_server(self) -> None:
        identity = await self._directory.prepare()
        self._socket_folder = self._directory.socket_folder(identity, self._port or _DEFAULT_PORT)
        await self._launch(identity)
        await self._wait_accepting()

    async def _launch(self, identity: Identity) -> None:
        settings = {
            **self._settings,
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or _DEFAULT_PORT),
            "unix_socket_directories": str(self._socket_folder),
            "unix_socket_permissions": "0700",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._rotate_log()
        log = os.open(self._directory.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = await launch(
                identity,
                str(programs() / "postgres"),
                "-D",
                str(self._directory.cluster),
                *options,
                death_signal=signal.SIGINT,
                output=log,
                cwd=self._directory.path,
            )
        finally:
            os.close(log)

    async def _wait_accepting(self) -> None:
        """Wait until the server says so in its pid file, which takes as long as replaying the log does."""
        assert self._process is not None
        pid_file = self._directory.cluster / "postmaster.pid"
        notice = self._clock.monotonic() + _RECOVERY_NOTICE_S
        while True:
            if self._process.returncode is not None:
                raise EmbeddedPostgresError(f"PostgreSQL in {self._directory.path} did not start: {self._log_tail()}")
            with suppress(OSError):
                lines = pid_file.read_text(encoding="utf-8").split("\n")
                # Line 8 is the state (miscadmin.h, LOCK_FILE_LINE_PM_STATUS); all lines but that one are written at once.
                if len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":  # noqa: PLR2004
                    return
            if self._clock.monotonic() > notice:
                _log.info("database.recovering", directory=str(self._directory.path))
                notice += _RECOVERY_NOTICE_S
            await self._clock.sleep(_READY_POLL_S)

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self._url_of("postgres"))
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    async def _shut_down(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            # SIGINT: disconnect everybody, write a checkpoint. SIGQUIT: end at once, the next start replays the log.
            for kind, seconds in ((signal.SIGINT, _FAST_STOP_S), (signal.SIGQUIT, _IMMEDIATE_STOP_S)):
                with suppress(ProcessLookupError):
                    process.send_signal(kind)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), seconds)
                    break
            else:
                _log.warning("database.killed", directory=str(self._directory.path))
                await self._directory.end_stragglers()
                await process.wait()
        elif process is not None and self._restarts:
            await self._directory.end_stragglers()  # one may have been on its way
        self._directory.unlock()

    def _url_of(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={self._socket_folder}&port={self._port or _DEFAULT_PORT}"

    def _rotate_log(self) -> None:
        path = self._directory.log_path
        with suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.rename(path.with_suffix(".log.1"))

    def _log_tail(self) -> str:
        """Quote the server's last words."""
        path = self._directory.log_path
        try:
            lines = path.read_text(encoding="utf-8", errors="replace")[-2000:].strip().splitlines()[-4:]
        except OSError:
            lines = []
        return f"{' | '.join(lines) or 'it said nothing'} (see {path})"


def _check_port_free(port: int) -> None:
    """Find out before anything is started; PostgreSQL would say it in four lines, none of them the reason alone."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EmbeddedPostgresError(f"PostgreSQL cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
