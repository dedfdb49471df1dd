"""Attempts that are programs: their environment, output, checkpoints and ends. Commands and binaries share it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from foliot.kit.clock import Clock
from foliot.kit.logs import get_logger
from foliot.v1.worker_pb2 import Result
from foliot_worker.attempt import CANCELLED, FAILED, SUCCEEDED, Attempt
from foliot_worker.checkpoints import CHECKPOINT_BYTES_MAX, CheckpointSaver
from foliot_worker.executors.directories import AttemptFiles, Directories
from foliot_worker.executors.outputs import Lines, Tail
from foliot_worker.executors.processes import Process, Processes
from foliot_worker.logs import LogBuffer
from foliot_worker.runner import Host

_log = get_logger(__name__)

SHELL: Final = "/bin/sh"

CHECKPOINT_INTERVAL_S: Final = 1.0
"""How often the checkpoint files of running programs are looked at; one look costs 2 us for each."""

_CHANGE_DIRECTORY_FAILED: Final = 125
"""Exit status when the working directory went away between the check and the start; shells use 126 and up."""

# posix_spawn cannot change the directory, and a program that does it first and then execs costs a third of the whole. But there
# is a shell on the way in any case, so it does it: a built-in in front of the line costs microseconds. It stays on the same
# line, so that the shell's messages name the right line numbers. `cd` exports OLDPWD, which would tell of the worker.
_ENTER: Final = "cd -- {} || exit 125; unset OLDPWD; "

_KEPT_VARIABLES: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 -- what programs take without the variable
}
"""What programs see of the worker's environment, with what stands for those that are not set. Nothing else gets through."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run."""

    environment: Mapping[str, str]
    """Added to the clean environment."""

    line: str = ""
    """A shell line; or else `arguments` are given."""

    arguments: Sequence[str] = ()
    """The program's absolute path and its arguments."""

    working_directory: str = ""
    """Where it starts; empty: in a fresh directory."""


class _Running:
    """A program that runs: what is kept in `Attempt.state`."""

    __slots__ = ("checkpoint_seen", "error", "files", "host", "lines", "output", "process")

    def __init__(self, host: Host, files: AttemptFiles) -> None:
        self.host = host
        self.files = files
        self.output = Tail()
        self.error = Tail()
        self.lines: tuple[Lines, Lines] | None = None
        self.process: Process | None = None
        self.checkpoint_seen: tuple[int, int] = (0, 0)

    def write_out(self, chunk: bytes) -> None:
        """Take standard output."""
        self.output.feed(chunk)
        if self.lines is not None:
            self.lines[0].feed(chunk)

    def write_error(self, chunk: bytes) -> None:
        """Take standard error."""
        self.error.feed(chunk)
        if self.lines is not None:
            self.lines[1].feed(chunk)


class Programs:
    """Runs programs as attempts, in the running event loop. `environ` is the worker's environment."""

    def __init__(
        self,
        directories: Directories,
        logs: LogBuffer,
        checkpoints: CheckpointSaver,
        *,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._directories = directories
        self._logs = logs
        self._checkpoints = checkpoints
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._processes = Processes()
        self._environment = {name: environ.get(name) or stand_in for name, stand_in in _KEPT_VARIABLES.items()}
        self._running: dict[int, Attempt] = {}
        self._looking: asyncio.TimerHandle | None = None

    def start(self, attempt: Attempt, host: Host, program: Program) -> None:
        """Start a program as an attempt: it is watched for its timeout and reported. Does not raise."""
        attempt.started_at_us = attempt.started_at_us or self._clock.now_us()
        try:
            self._spawn(attempt, host, program)
        except (OSError, ValueError) as error:
            message = f"it could not be started: {error}"
            result = attempt.result(FAILED, self._clock.now_us(), error=message)
            attempt.state = None
            self._loop.call_soon(host.report, [result])
        else:
            self._running[attempt.token] = attempt
            host.watch(attempt)
            if self._looking is None:
                self._looking = self._loop.call_later(CHECKPOINT_INTERVAL_S, self._look_for_checkpoints)

    def stop(self, attempt: Attempt, grace_s: float) -> None:
        """Stop a started program and its process group."""
        running: _Running | None = attempt.state
        if running is not None and running.process is not None:
            self._processes.stop(running.process, grace_s)

    async def close(self) -> None:
        """Kill what runs and remove its files."""
        if self._looking is not None:
            self._looking.cancel()
        await self._processes.close()
        await self._loop.run_in_executor(None, self._directories.close)

    def _spawn(self, attempt: Attempt, host: Host, program: Program) -> None:
        directory = program.working_directory
        if directory:
            directory = os.path.abspath(directory)  # noqa: PTH100 -- on the way of every command
            if not os.path.isdir(directory):  # noqa: PTH112
                raise NotADirectoryError(f"the working directory {directory} does not exist")
        files = self._directories.prepare(attempt, with_directory=not directory)
        running = _Running(host, files)
        if self._logs.enabled:
            log = self._logs.open(attempt)
            running.lines = (Lines(log, "info"), Lines(log, "error"))
        try:
            running.process = self._processes.spawn(
                _argv(program, directory or files.directory),
                self._environment_of(attempt, program, files),
                stdout=running.write_out,
                stderr=running.write_error,
                ended=lambda process: self._ended(attempt, process),
            )
        except BaseException:
            self._directories.clean(files, checkpoint_written=False)
            raise
        attempt.state = running

    def _environment_of(self, attempt: Attempt, program: Program, files: AttemptFiles) -> dict[str, str]:
        environment = {
            **self._environment,
            **program.environment,
            "FOLIOT_TASK_ID": attempt.task_id,
            "FOLIOT_RUN_ID": attempt.run_id,
            "FOLIOT_TASK_KEY": attempt.lease.key,
            "FOLIOT_ATTEMPT": str(attempt.number),
            "FOLIOT_PROJECT": attempt.lease.project,
            "FOLIOT_CHECKPOINT": files.checkpoint,
            "FOLIOT_CHECKPOINT_OUT": files.checkpoint_out,
        }
        if attempt.lease.traceparent:
            environment["TRACEPARENT"] = attempt.lease.traceparent
        return environment

    def _ended(self, attempt: Attempt, process: Process) -> None:
        running: _Running = attempt.state
        self._running.pop(attempt.token, None)
        self._take_checkpoint(attempt, running)
        self._directories.clean(running.files, checkpoint_written=running.checkpoint_seen != (0, 0))
        if running.lines is not None:
            for lines in running.lines:
                lines.end()
        running.host.report([self._result(attempt, running, process.status)])

    def _result(self, attempt: Attempt, running: _Running, status: int) -> Result:
        if attempt.stop_reason is not None:
            outcome, error = CANCELLED, "it was stopped"
        elif status == 0:
            outcome, error = SUCCEEDED, ""
        else:
            outcome, error = FAILED, _failure(status, fresh=bool(running.files.directory))
        return attempt.result(
            outcome,
            self._clock.now_us(),
            error=error,
            exit_code=status,
            output=running.output.value(),
            error_output=running.error.value(),
        )

    # ---- checkpoints

    def _look_for_checkpoints(self) -> None:
        for attempt in self._running.values():
            self._take_checkpoint(attempt, attempt.state)
        # One timer for all programs, and none while there are none.
        self._looking = self._loop.call_later(CHECKPOINT_INTERVAL_S, self._look_for_checkpoints) if self._running else None

    def _take_checkpoint(self, attempt: Attempt, running: _Running) -> None:
        """Send the file that the program has put into place since the last look, if any."""
        path = running.files.checkpoint_out
        try:
            found = os.stat(path)  # noqa: PTH116 -- on the way of every command
        except OSError:
            return
        seen = (found.st_ino, found.st_mtime_ns)
        if seen == running.checkpoint_seen:
            return
        running.checkpoint_seen = seen
        try:
            if found.st_size > CHECKPOINT_BYTES_MAX:
                raise ValueError(f"it has over {CHECKPOINT_BYTES_MAX} bytes")
            checkpoint_json = Path(path).read_text()
            msgspec.json.decode(checkpoint_json)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            self._logs.open(attempt).write("warn", f"the checkpoint was not taken: {error}")
            return
        saved = self._checkpoints.save(attempt.token, checkpoint_json)
        saved.add_done_callback(_log_unsaved)


def _argv(program: Program, directory: str) -> list[str]:
    if program.arguments:
        # The positional parameters keep every byte of the arguments as it is.
        return [SHELL, "-c", _ENTER.format('"$0"') + 'exec "$@"', directory, *program.arguments]
    return [SHELL, "-c", _ENTER.format(shlex.quote(directory)) + program.line]


def _failure(status: int, *, fresh: bool) -> str:
    if status == _CHANGE_DIRECTORY_FAILED and not fresh:
        return f"exit status {status} (used when the working directory cannot be entered, too)"
    number = status - 128
    with contextlib.suppress(ValueError):
        if number > 0:
            return f"exit status {status} (killed by {signal.Signals(number).name})"
    return f"exit status {status}"


def _log_unsaved(saved: asyncio.Future[None]) -> None:
    if not saved.cancelled() and saved.exception() is not None:
        _log.info("worker.checkpoint_not_saved", error=str(saved.exception()))
