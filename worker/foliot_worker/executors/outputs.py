"""What a program writes: the tail that is kept on the task, and lines for the log."""

from __future__ import annotations

from collections import deque
from typing import Final

from foliot_worker.attempt import OUTPUT_BYTES_MAX
from foliot_worker.logs import LINE_BYTES_MAX, AttemptLog

_NOTICE_BYTES: Final = 64
"""Room kept for the line that says what was cut."""


class Tail:
    """The last bytes of an output, within the contract's limit. Costs one list operation for each chunk."""

    __slots__ = ("_chunks", "_dropped", "_size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0

    def feed(self, chunk: bytes) -> None:
        """Add what was written."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= OUTPUT_BYTES_MAX:
            gone = len(self._chunks.popleft())
            self._size -= gone
            self._dropped += gone

    def value(self) -> bytes:
        """Answer what was written, or its end, with a last line that says how much is missing."""
        whole = b"".join(self._chunks)
        dropped = self._dropped
        if not dropped and len(whole) <= OUTPUT_BYTES_MAX:
            return whole
        kept = whole[-(OUTPUT_BYTES_MAX - _NOTICE_BYTES) :]
        dropped += len(whole) - len(kept)
        return kept + f"\n[cut: the first {dropped} bytes are not kept]\n".encode()


def cut_head(data: bytes) -> bytes:
    """Answer the beginning of what is over the limit, with a last line that says so; what fits stays as it is."""
    if len(data) <= OUTPUT_BYTES_MAX:
        return data
    return data[: OUTPUT_BYTES_MAX - _NOTICE_BYTES] + b"\n[cut: the rest is not kept]\n"


class Lines:
    """Splits an output into log lines of one level. A line that grows past the limit is written in the limit's length."""

    __slots__ = ("_level", "_log", "_rest")

    def __init__(self, log: AttemptLog, level: str) -> None:
        self._log = log
        self._level = level
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Add what was written."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._write(line)
        if len(rest) > LINE_BYTES_MAX:
            # Written now, with its mark of a cut; what follows until the line's end counts as further lines.
            self._write(rest)
            rest = b""
        self._rest = rest

    def end(self) -> None:
        """Write what came after the last line end."""
        if self._rest:
            self._write(self._rest)
            self._rest = b""

    def _write(self, line: bytes) -> None:
        self._log.write(self._level, line.removesuffix(b"\r").decode(errors="replace"))
