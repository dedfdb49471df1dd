"""A peer's own program, driven by lines: one process submits, another works, as a user would run them.

All tell times of CLOCK_MONOTONIC in nanoseconds, which every process of the machine shares.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

READY_WITHIN_S: Final = 60.0
ANSWER_WITHIN_S: Final = 600.0
STOP_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.002


class DriverError(Exception):
    """A peer's program ended, or said nothing in time."""


class Driver:
    """One process of a peer."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = {**os.environ, **environ}
        self._process: asyncio.subprocess.Process | None = None
        self._heard: dict[bytes, deque[list[int]]] = {}
        """What was said while another word was waited for."""

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
            start_new_session=True,
        )
        await self.hear("ready", within_s=READY_WITHIN_S)

    async def ask(self, *words: object) -> list[int]:
        """Say a line and answer the numbers of the line that comes back."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        await self._process.stdin.drain()
        return await self.hear("pending" if words[0] == "pending" else "did")

    async def hear(self, word: str, *, within_s: float = ANSWER_WITHIN_S) -> list[int]:
        """Answer the numbers of the next line that begins with the word; raises DriverError."""
        if earlier := self._heard.get(word.encode()):
            return earlier.popleft()
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                while line := await self._process.stdout.readline():
                    said, *numbers = line.split() or [b""]
                    if not all(number.isdigit() for number in numbers):
                        continue  # a banner
                    told = [int(number) for number in numbers]
                    if said == word.encode():
                        return told
                    self._heard.setdefault(said, deque()).append(told)
        except TimeoutError:
            raise DriverError(f"{self._command} did not say {word} within {within_s:g} s") from None
        raise DriverError(f"{self._command} ended without saying {word}")

    async def wait_none_pending(self) -> None:
        """Wait until the peer itself counts nothing that has not ended."""
        while (await self.ask("pending"))[0]:  # noqa: ASYNC110 (another process counts)
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """End it and all that it started."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
