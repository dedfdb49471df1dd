"""Checkpoints on their way: from an attempt to the scheduler that makes them durable.

`UnconfirmedCheckpoints` is the pure part, which the session owns; `CheckpointSaver` lets attempts wait for the confirmation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from foliot.v1.worker_pb2 import Checkpoint

CHECKPOINT_BYTES_MAX: Final = 1024 * 1024
"""The contract's limit of a checkpoint's JSON text."""


class CheckpointError(Exception):
    """A checkpoint was not saved: it is too large, or the attempt no longer holds the task."""


class UnconfirmedCheckpoints:
    """Checkpoints that the scheduler has not confirmed, by token; sent again after a reconnect."""

    def __init__(self) -> None:
        self._by_token: dict[int, dict[int, str]] = {}
        self._outbox: deque[tuple[int, int]] = deque()
        self._sequence = 0

    def __bool__(self) -> bool:
        return bool(self._by_token)

    def add(self, token: int, checkpoint_json: str) -> int:
        """Take a checkpoint to send; answer its sequence, which grows over all attempts."""
        self._sequence += 1
        self._by_token.setdefault(token, {})[self._sequence] = checkpoint_json
        self._outbox.append((token, self._sequence))
        return self._sequence

    def next_message(self) -> Checkpoint | None:
        """Take the next one to send, oldest first."""
        while self._outbox:
            token, sequence = self._outbox.popleft()
            checkpoint_json = self._by_token.get(token, {}).get(sequence)
            if checkpoint_json is not None:
                return Checkpoint(token=token, sequence=sequence, checkpoint_json=checkpoint_json)
        return None

    def confirm(self, token: int, sequence: int) -> bool:
        """Forget a checkpoint that was saved or refused; answer whether it was waited for."""
        kept = self._by_token.get(token)
        if kept is None or kept.pop(sequence, None) is None:
            return False
        if not kept:
            del self._by_token[token]
        return True

    def drop(self, token: int, reason: str) -> list[tuple[int, int, str]]:
        """Forget all of an attempt; answer (token, sequence, reason) of each."""
        return [(token, sequence, reason) for sequence in self._by_token.pop(token, {})]

    def send_again(self) -> None:
        """Make all due again: the stream they went out on has ended."""
        self._outbox = deque(
            sorted(((token, number) for token, kept in self._by_token.items() for number in kept), key=lambda pair: pair[1])
        )


class CheckpointSaver:
    """Hands checkpoints to the session and wakes who waits for them.

    `submit` takes a token and JSON text and answers the sequence, or None if the attempt no longer holds the task
    (`Session.checkpoint`, plus a nudge for the writer).
    """

    def __init__(self, submit: Callable[[int, str], int | None]) -> None:
        self._submit = submit
        self._waiting: dict[tuple[int, int], asyncio.Future[None]] = {}

    def save(self, token: int, checkpoint_json: str) -> asyncio.Future[None]:
        """Send a checkpoint; the answer is done once it is durable, or holds a `CheckpointError`."""
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(checkpoint_json.encode()) > CHECKPOINT_BYTES_MAX:
            saved.set_exception(CheckpointError(f"a checkpoint has at most {CHECKPOINT_BYTES_MAX} bytes"))
            return saved
        sequence = self._submit(token, checkpoint_json)
        if sequence is None:
            saved.set_exception(CheckpointError("the attempt no longer holds the task"))
            return saved
        self._waiting[token, sequence] = saved
        return saved

    def settle(self, settled: Iterable[tuple[int, int, str]]) -> None:
        """Wake those whose checkpoint was saved (error empty) or was not."""
        for token, sequence, error in settled:
            waiter = self._waiting.pop((token, sequence), None)
            if waiter is None or waiter.done():
                continue
            if error:
                waiter.set_exception(CheckpointError(error))
            else:
                waiter.set_result(None)
