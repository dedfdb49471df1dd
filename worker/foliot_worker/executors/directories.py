"""Where attempts find their files: a fresh working directory and their checkpoint, below the worker's data directory.

    <data>/attempts/<worker>/                     this process's, locked while it lives
        <number>/                                 working directory of an attempt that names none, made when it starts
        <task>.<attempt>.checkpoint.json          the last checkpoint, if there is one
        <task>.<attempt>.checkpoint-out.json      written by the program

A directory in which an attempt has left nothing is given to a later one: to remove it and make another costs 100 us on a
disk, a tenth of a short command. What a worker that died has left behind is removed by the next one that starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foliot.kit.clock import Clock
from foliot_worker.attempt import Attempt

_LOCK_NAME: Final = "lock"
_MODE: Final = 0o700


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """The paths of one attempt, as texts, since they go to programs."""

    directory: str
    """A fresh working directory; empty if none was asked for."""

    checkpoint: str
    """The file with its last checkpoint; empty if there is none."""

    checkpoint_out: str
    """Where its program writes checkpoints, by renaming a finished file into place."""


class Directories:
    """The directories of this process's attempts. Raises OSError if they cannot be made, or are another user's."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=_MODE)
        # A directory below /tmp may have been made by someone else, who could then swap the programs that run.
        if data_dir.stat().st_uid != os.getuid():
            raise PermissionError(f"{data_dir} belongs to another user")
        attempts = data_dir / "attempts"
        attempts.mkdir(exist_ok=True, mode=_MODE)
        _remove_left_behind(attempts)
        while True:
            self._own = attempts / clock.random_bytes(8).hex()
            self._own.mkdir(mode=_MODE)
            self._lock = (self._own / _LOCK_NAME).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # Another that started at this moment may have found the lock free, and removed it all.
            if (self._own / _LOCK_NAME).exists():
                break
            self._lock.close()
        self._made = 0
        self._untouched: list[str] = []
        self._prefix = f"{self._own.resolve()}{os.sep}"

    def prepare(self, attempt: Attempt, *, with_directory: bool) -> AttemptFiles:
        """Make what an attempt needs. Raises OSError."""
        directory = ""
        if with_directory:
            directory = self._untouched.pop() if self._untouched else self._make_directory()
        path = f"{self._prefix}{attempt.task_id}.{attempt.number}"
        checkpoint = ""
        if attempt.lease.checkpoint_json:
            checkpoint = f"{path}.checkpoint.json"
            Path(checkpoint).write_text(attempt.lease.checkpoint_json)
        return AttemptFiles(directory=directory, checkpoint=checkpoint, checkpoint_out=f"{path}.checkpoint-out.json")

    def clean(self, files: AttemptFiles, *, checkpoint_written: bool) -> None:
        """Remove an attempt's files; what its program left in the directory goes in a thread."""
        if files.directory:
            if _is_untouched(files.directory):
                self._untouched.append(files.directory)
            else:
                asyncio.get_running_loop().run_in_executor(None, _remove_tree, files.directory)
        for path, exists in ((files.checkpoint, bool(files.checkpoint)), (files.checkpoint_out, checkpoint_written)):
            if exists:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 -- on the way of every command

    def close(self) -> None:
        """Remove everything of this process."""
        _remove_tree(str(self._own))
        self._lock.close()

    def _make_directory(self) -> str:
        self._made += 1
        path = f"{self._prefix}{self._made}"
        os.mkdir(path, _MODE)  # noqa: PTH102 -- as above
        return path


def _is_untouched(directory: str) -> bool:
    """Answer whether a directory is empty, still there, and still has the mode it was made with."""
    try:
        if stat.S_IMODE(os.stat(directory).st_mode) != _MODE:  # noqa: PTH116 -- as above
            return False
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _remove_left_behind(attempts: Path) -> None:
    """Remove directories whose process is gone: whose lock can be had."""
    for directory in attempts.iterdir():
        try:
            with (directory / _LOCK_NAME).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_tree(str(directory))
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue  # alive, or about to be locked by a process that starts at this moment


def _remove_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
