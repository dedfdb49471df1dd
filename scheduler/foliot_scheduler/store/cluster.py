"""One PostgreSQL cluster on disk: created, upgraded, freed of whatever an earlier life left behind.

Layout of a data directory:

    lock                   held (flock) by the process that runs the cluster, for as long as it lives
    postgres/              the cluster
    postgres.new/          a cluster being made or upgraded; whole only once it has been renamed, so it may be deleted
    postgres.old-16/       the cluster as it was before an upgrade, kept for whoever wants to go back
    postgres.password      the superuser's password for TCP connections, mode 0600
    postgres.log           what the server printed
    run/                   the unix socket, mode 0700: whoever may enter may connect

Everything here is called with the lock held.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from foliot.kit.clock import Clock
from foliot_scheduler.store.errors import EmbeddedPostgresError
from foliot_scheduler.store.programs import MAJOR, Identity, has_programs, identity_for, launch, programs, run

SUPERUSER = "foliot"
DATABASE = "foliot"

SOCKET_PATH_BYTES_MAX = 107
"""What fits into sockaddr_un.sun_path on Linux, without its closing NUL (unix(7))."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./@+=-]+")
"""Paths that mean the same in a URL, in postgresql.conf and in asyncpg's list of hosts."""

_LEFTOVER_GRACE_S = 4.0
"""How long an orphaned server may take to end by itself: its parent's death has told it to, and it writes a checkpoint."""
_LEFTOVER_STEP_S = 0.02


OWN_NAMES = frozenset({"admin-key", "lock", "postgres", "postgres.new", "postgres.log", "postgres.password", "run"})
"""What tells that a directory is Foliot's; `foliot up` keeps its workers' files in `worker-…` beside them."""


def check_ours(path: Path) -> None:
    """Raise EmbeddedPostgresError for a directory that holds something, and none of it ours.

    A slip of the hand must not fill somebody's folder with a database. Raises OSError when it cannot be read.
    """
    found = [entry.name for entry in path.iterdir()]
    if found and not any(name in OWN_NAMES or name.startswith("worker-") for name in found):
        raise EmbeddedPostgresError(f"data directory {path} is not empty and not Foliot's: name another, or an empty one")


class DataDirectory:
    """A data directory and the cluster in it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path.resolve()
        self.cluster = self.path / "postgres"
        self.log_path = self.path / "postgres.log"
        self._fresh = self.path / "postgres.new"
        self._password_path = self.path / "postgres.password"
        self._clock = clock
        self._lock: int | None = None

    def lock(self) -> None:
        """Create the directory if need be and claim it; raises EmbeddedPostgresError when another process has it."""
        try:
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            check_ours(self.path)
            # Not truncated: it holds the owner's process id, which the error below quotes.
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EmbeddedPostgresError(f"data directory {self.path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise EmbeddedPostgresError(
                f"data directory {self.path} is in use by another Foliot process (pid {owner or 'unknown'}): "
                "stop it, or choose another --data-dir"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        """Give the directory up; legal at any time."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def password(self) -> str:
        """The superuser's password for TCP connections."""
        return self._password_path.read_text(encoding="ascii").strip()

    async def prepare(self) -> Identity:
        """Make the cluster ready to be started: created, upgraded, nothing left running. Says as whom to run it.

        Raises EmbeddedPostgresError, naming the directory, when it cannot be.
        """
        identity = self._identity()
        self._finish_swap()
        if self._fresh.exists():
            await self._end_leftovers(self._fresh)
            shutil.rmtree(self._fresh)
        if self.cluster.exists():
            await self._end_leftovers(self.cluster)
            found = self._major()
            if found != MAJOR:
                await self._upgrade(identity, found)
        else:
            await self._create(identity, self._fresh)
            self._fresh.rename(self.cluster)
            _sync(self.path)
        return identity

    def socket_folder(self, identity: Identity, port: int) -> Path:
        """Make the private folder of the unix socket: in the data directory, or a short one where that path is too long."""
        folder = self.path / "run"
        name = f".s.PGSQL.{port}"
        if len(os.fsencode(folder / name)) > SOCKET_PATH_BYTES_MAX or not _PLAIN_PATH.fullmatch(str(folder)):
            status = self.path.stat()
            digest = hashlib.sha256(f"{status.st_dev}:{status.st_ino}".encode()).hexdigest()[:12]
            root = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
            folder = root / f"foliot-{digest}"
            if len(os.fsencode(folder / name)) > SOCKET_PATH_BYTES_MAX:
                folder = Path("/tmp", folder.name)  # noqa: S108 - its owner and mode are checked below
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        owners = {os.geteuid(), identity.account.uid if identity.account is not None else os.geteuid()}
        # In a shared folder anybody may have been there first: never speak to a socket in a folder of theirs.
        if folder.is_symlink() or status.st_uid not in owners:
            raise EmbeddedPostgresError(f"the socket folder {folder} of data directory {self.path} belongs to somebody else")
        folder.chmod(0o700)
        identity.give(folder)
        # No server runs here (prepare saw to it), so these are left from an earlier one; its process id in the lock file
        # may by now be somebody else's, which would keep PostgreSQL from starting.
        for left in (folder / name, folder / f"{name}.lock"):
            left.unlink(missing_ok=True)
        return folder

    async def end_stragglers(self) -> None:
        """Kill whatever of the cluster still runs."""
        for pid in _processes_in(self.cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._wait_for_none(self.cluster, _LEFTOVER_GRACE_S)

    def _identity(self) -> Identity:
        reached = [self.path / "postgres", programs()]
        return identity_for(self.cluster, *reached)

    def _major(self) -> int:
        try:
            text = (self.cluster / "PG_VERSION").read_text(encoding="ascii")
            found = int(text)
        except (OSError, ValueError) as error:
            raise EmbeddedPostgresError(
                f"{self.cluster} is not a PostgreSQL cluster: its PG_VERSION is missing or unreadable"
            ) from error
        if found > MAJOR:
            raise EmbeddedPostgresError(
                f"data directory {self.path} was written by PostgreSQL {found}, and this Foliot brings {MAJOR}: "
                "use the newer Foliot that wrote it"
            )
        if not has_programs(found):
            raise EmbeddedPostgresError(
                f"data directory {self.path} was written by PostgreSQL {found}, which this Foliot cannot upgrade: "
                "dump it with that version's pg_dump and load it anew"
            )
        return found

    async def _create(self, identity: Identity, folder: Path, *options: str) -> None:
        self._make_private(identity, folder)
        await run(
            identity,
            str(programs() / "initdb"),
            f"--pgdata={folder}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_path}",
            "--encoding=UTF8",
            # Trust holds for the unix socket only, and its folder is private.
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            # The server's own collation: one brought by the machine may change under an index with a system update.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *options,
            cwd=self.path,
        )

    def _make_private(self, identity: Identity, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        identity.give(folder)
        if not self._password_path.exists():
            self._write_password()
        identity.give(self._password_path)

    def _write_password(self) -> None:
        # Written whole under another name first: half a password would lock everybody out of TCP.
        partial = self._password_path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(base64.urlsafe_b64encode(self._clock.random_bytes(24)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._password_path)

    async def _upgrade(self, identity: Identity, found: int) -> None:
        """Bring the cluster to MAJOR by pg_upgrade, on a copy: until the swap at the end the old one is as it was."""
        old_programs = programs(found)
        await self._shut_down_cleanly(identity, old_programs)
        control = await run(identity, str(old_programs / "pg_controldata"), str(self.cluster), cwd=self.path)
        checksums = re.search(r"^Data page checksum version:\s*([1-9])", control, re.MULTILINE) is not None
        # pg_upgrade wants both to agree.
        await self._create(identity, self._fresh, "--data-checksums" if checksums else "--no-data-checksums")
        with tempfile.TemporaryDirectory(prefix="foliot-") as scratch:
            # pg_upgrade puts its sockets into its working directory, so that has to be a short path too.
            identity.give(Path(scratch))
            await run(
                identity,
                str(programs() / "pg_upgrade"),
                f"--old-bindir={old_programs}",
                f"--new-bindir={programs()}",
                f"--old-datadir={self.cluster}",
                f"--new-datadir={self._fresh}",
                f"--username={SUPERUSER}",
                cwd=Path(scratch),
            )
        self.cluster.rename(self.path / f"postgres.old-{found}")
        self._fresh.rename(self.cluster)
        _sync(self.path)

    def _finish_swap(self) -> None:
        """Complete an upgrade that was killed between its two renames: only then is there a new cluster and no current one."""
        if not self.cluster.exists() and self._fresh.exists() and any(self.path.glob("postgres.old-*")):
            self._fresh.rename(self.cluster)
            _sync(self.path)

    async def _shut_down_cleanly(self, identity: Identity, old_programs: Path) -> None:
        """Let the old version replay its log and write a checkpoint: pg_upgrade refuses a cluster that was killed."""
        control = await run(identity, str(old_programs / "pg_controldata"), str(self.cluster), cwd=self.path)
        if re.search(r"^Database cluster state:\s*shut down\s*$", control, re.MULTILINE):
            return
        command = [str(old_programs / "postgres"), "--single", "-D", str(self.cluster), "-F", "template1"]
        process = await launch(identity, *command, death_signal=signal.SIGTERM, output=asyncio.subprocess.DEVNULL, cwd=self.path)
        if await process.wait() != 0:
            raise EmbeddedPostgresError(f"data directory {self.path} could not be recovered before its upgrade")

    async def _end_leftovers(self, cluster: Path) -> None:
        """Wait for, then stop, whatever still runs on a cluster: orphans of a Foliot that was killed."""
        if not await self._wait_for_none(cluster, _LEFTOVER_GRACE_S / 2):
            for kind in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                for pid in _processes_in(cluster):
                    with suppress(ProcessLookupError):
                        os.kill(pid, kind)
                if await self._wait_for_none(cluster, _LEFTOVER_GRACE_S):
                    break
            else:
                raise EmbeddedPostgresError(f"data directory {self.path}: an earlier PostgreSQL still runs and cannot be stopped")
        # PostgreSQL takes any process with the id in this file for a server, and ids are reused.
        (cluster / "postmaster.pid").unlink(missing_ok=True)

    async def _wait_for_none(self, cluster: Path, seconds: float) -> bool:
        deadline = self._clock.monotonic() + seconds
        while _processes_in(cluster):
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(_LEFTOVER_STEP_S)
        return True


def _processes_in(cluster: Path) -> list[int]:
    """List the processes whose working directory is the cluster: its server and the server's children, nobody else.

    Safer than the process id in postmaster.pid, which says nothing of the children and may be reused.
    """
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                if os.readlink(f"/proc/{entry.name}/cwd") == str(cluster):  # noqa: PTH115 - a Path for each process of the machine is waste
                    found.append(int(entry.name))
    return found


def _sync(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
