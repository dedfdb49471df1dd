"""Child processes in an event loop, without a thread, a task or a timer for each.

Theory of operation. A child is started with posix_spawn (a vfork: nothing of the memory is copied) as the leader of a session
of its own. Its end is read from a pidfd, its output from two pipes. All these descriptors are in one epoll instance that
is itself watched by the event loop: to watch a descriptor so costs 1 us, where the loop's own `add_reader` costs 10, and
a short command needs three of them.

When a child has ended it is not waited for at once: while it is a zombie its process group's number cannot be taken by
another, so what is left of the group can be killed by that number. Descendants that made a session of their own are out of
reach; nothing waits for them, even if they hold the pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping
from typing import Final

_CHUNK_BYTES: Final = 64 * 1024
"""One read: the default capacity of a pipe."""

_LAST_READS_MAX: Final = 16
"""Reads of each pipe after the child has ended: a pipe of the largest capacity users get (1 MiB), and not more."""

_EVENTS_MAX: Final = 256
"""Events taken in one turn of the loop."""

# Python ignores SIGPIPE, and a child inherits that: `yes | head` would run on. All others are as they were, too.
_SIGNALS_TO_RESET: Final = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

Sink = Callable[[bytes], None]


class Process:
    """A child that was started; all but `status` is the business of `Processes`."""

    __slots__ = ("ended", "err", "kill_timer", "out", "pid", "pidfd", "sinks", "status")

    def __init__(self, pid: int, pidfd: int, pipes: tuple[int, int], sinks: tuple[Sink, Sink]) -> None:
        self.pid = pid
        self.status = 0
        """Its exit status, 128 + n if signal n killed it; set when it has ended."""
        self.ended: Callable[[Process], None] = _ignore
        self.pidfd = pidfd
        self.out, self.err = pipes
        self.sinks = sinks
        self.kill_timer: asyncio.TimerHandle | None = None


class Processes:
    """Starts children and watches them; belongs to the running event loop. Raises OSError if epoll is not to be had."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        # What a descriptor is: a child's end (no sink), or one of its pipes.
        self._watched: dict[int, tuple[Process, Sink | None]] = {}
        self._running: set[Process] = set()
        self._null = os.open(os.devnull, os.O_RDWR)
        self._loop.add_reader(self._epoll.fileno(), self._on_events)

    def spawn(
        self,
        argv: list[str],
        environment: Mapping[str, str],
        *,
        stdout: Sink,
        stderr: Sink,
        ended: Callable[[Process], None],
    ) -> Process:
        """Start a program; `argv[0]` is its path. The sinks take what it writes, `ended` is called once, after all of it.

        It has an empty standard input, the given environment and no other open files. Raises OSError, and ValueError for a NUL
        in a text.
        """
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = -1, -1
        pidfd = -1
        try:
            err_read, err_write = os.pipe2(os.O_CLOEXEC)
            pid = os.posix_spawn(
                argv[0],
                argv,
                environment,
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, self._null, 0),
                    (os.POSIX_SPAWN_DUP2, out_write, 1),
                    (os.POSIX_SPAWN_DUP2, err_write, 2),
                ),
                setsid=True,
                setsigmask=(),
                setsigdef=_SIGNALS_TO_RESET,
            )
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                # Out of descriptors: a child that cannot be watched must not run.
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        except BaseException:
            for fd in (out_read, err_read):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in (out_write, err_write):
                if fd >= 0:
                    os.close(fd)
        os.set_blocking(out_read, False)
        os.set_blocking(err_read, False)
        process = Process(pid, pidfd, (out_read, err_read), (stdout, stderr))
        process.ended = ended
        self._running.add(process)
        for fd, sink in ((pidfd, None), (out_read, stdout), (err_read, stderr)):
            self._watched[fd] = (process, sink)
            self._epoll.register(fd, select.EPOLLIN)
        return process

    def stop(self, process: Process, grace_s: float) -> None:
        """Ask a process group to end with SIGTERM, and kill it after `grace_s` seconds, at once if 0. Legal again."""
        if process not in self._running:
            return
        if process.kill_timer is not None:
            process.kill_timer.cancel()
        if grace_s <= 0:
            self._kill(process)
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            os.killpg(process.pid, signal.SIGCONT)  # one that is stopped would not see it
        process.kill_timer = self._loop.call_later(grace_s, self._kill, process)

    async def close(self) -> None:
        """Kill all that runs, and wait for it; their `ended` is not called."""
        all_gone = asyncio.Event()

        def count_down(_process: Process) -> None:
            if not self._running:
                all_gone.set()

        for process in self._running:
            process.ended = count_down
            self._kill(process)
        if self._running:
            await all_gone.wait()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        os.close(self._null)

    def _kill(self, process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _on_events(self) -> None:
        ended: list[Process] = []
        for fd, _ in self._epoll.poll(0, _EVENTS_MAX):
            process, sink = self._watched[fd]
            if sink is None:
                ended.append(process)
            else:
                self._read(process, fd, sink)
        # Only now: an end lets another child start, whose descriptors may have the numbers of those just closed, and an event
        # that is still in the list would then be taken for the new one's.
        for process in ended:
            self._end(process)

    def _read(self, process: Process, fd: int, sink: Sink) -> bool:
        """Pass on one chunk; answer whether there may be more."""
        try:
            chunk = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._forget(fd)
            if fd == process.out:
                process.out = -1
            else:
                process.err = -1
            return False
        sink(chunk)
        return True

    def _end(self, process: Process) -> None:
        self._kill(process)  # what is left of its group; it is a zombie itself
        for fd, sink in ((process.out, process.sinks[0]), (process.err, process.sinks[1])):
            reads = 0
            while fd >= 0 and reads < _LAST_READS_MAX and self._read(process, fd, sink):
                reads += 1
        for fd in (process.out, process.err, process.pidfd):
            if fd in self._watched:
                self._forget(fd)
        if process.kill_timer is not None:
            process.kill_timer.cancel()
        _, status = os.waitpid(process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        process.status = code if code >= 0 else 128 - code
        self._running.discard(process)
        process.ended(process)

    def _forget(self, fd: int) -> None:
        del self._watched[fd]
        self._epoll.unregister(fd)
        os.close(fd)


def _ignore(_process: Process) -> None:
    """Take the end of a process that nobody waits for."""
