"""Log lines of attempts on their way to the scheduler.

Lines wait in a bounded buffer and go out on their own calls, to any replica, so that a chatty task slows neither scheduling nor
itself: when the buffer is full, lines are dropped and counted, and one line says how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from foliot.kit.clock import Clock
from foliot.kit.metrics import Counter
from foliot.v1.worker_pb2 import TaskLogLine
from foliot_worker.attempt import Attempt

LINE_BYTES_MAX: Final = 16 * 1024
"""The contract's limit of a line; a longer one is cut and ends in `…`."""

BUFFER_LINES_MAX: Final = 20_000
"""Lines that wait: what a leader's fail-over of a second costs at the rate a push call sustains."""

BUFFER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of messages that wait, whichever limit comes first."""

_DROPPED = Counter(
    "foliot_worker_log_lines_dropped_total",
    unit="lines",
    description="Log lines of tasks that were dropped because they came faster than they could be sent.",
)


class LogBuffer:
    """Lines that wait to be sent, oldest first. Used from the event loop's thread only.

    `enabled` is False where nothing takes lines: executors then do not even split their output.
    """

    def __init__(self, clock: Clock, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._clock = clock
        self._lines: deque[TaskLogLine] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def open(self, attempt: Attempt) -> AttemptLog:
        """Make the log of one attempt."""
        return AttemptLog(self, self._clock, task_id=attempt.lease.task_id, attempt=attempt.number)

    def put(self, line: TaskLogLine) -> bool:
        """Take a line if there is room; answer whether there was."""
        size = len(line.message)
        if len(self._lines) >= BUFFER_LINES_MAX or self._bytes + size > BUFFER_BYTES_MAX:
            return False
        self._lines.append(line)
        self._bytes += size
        self._arrived.set()
        return True

    async def wait_lines(self) -> None:
        """Wait until there is a line."""
        while not self._lines:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self, *, count_max: int, bytes_max: int) -> list[TaskLogLine]:
        """Take lines off the front: at most `count_max`, and about `bytes_max` bytes."""
        taken: list[TaskLogLine] = []
        size = 0
        while self._lines and len(taken) < count_max and size < bytes_max:
            line = self._lines.popleft()
            size += len(line.message)
            taken.append(line)
        self._bytes -= size
        return taken


class AttemptLog:
    """Numbers the lines of one attempt and counts those that were dropped."""

    __slots__ = ("_attempt", "_buffer", "_clock", "_dropped", "_number", "_task_id")

    def __init__(self, buffer: LogBuffer, clock: Clock, *, task_id: bytes, attempt: int) -> None:
        self._buffer = buffer
        self._clock = clock
        self._task_id = task_id
        self._attempt = attempt
        self._number = 0
        self._dropped = 0

    def write(self, level: str, message: str) -> None:
        """Add a line without its line end; `level` is debug, info, warn or error."""
        if not self._buffer.enabled:
            return
        if self._dropped and not self._put("warn", f"{self._dropped} lines were dropped: they came too fast"):
            self._drop()
            return
        self._dropped = 0
        if not self._put(level, cut_line(message)):
            self._drop()

    def _put(self, level: str, message: str) -> bool:
        line = TaskLogLine(
            task_id=self._task_id,
            attempt=self._attempt,
            number=self._number + 1,
            at_us=self._clock.now_us(),
            level=level,
            message=message,
        )
        if not self._buffer.put(line):
            return False
        self._number += 1
        return True

    def _drop(self) -> None:
        self._dropped += 1
        _DROPPED.add()


def cut_line(message: str) -> str:
    """Cut a line to its limit in UTF-8; what cannot be encoded or stored (lone surrogates, NUL) is replaced."""
    if "\0" in message:
        message = message.replace("\0", "\ufffd")
    if len(message) <= LINE_BYTES_MAX // 4 and message.isascii():
        return message
    encoded = message.encode(errors="replace")
    if len(encoded) > LINE_BYTES_MAX:
        encoded = encoded[: LINE_BYTES_MAX - 3] + "…".encode()
        return encoded.decode(errors="ignore")
    return encoded.decode()
