"""What the worker has to say on its stream, in the order in which it is said."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from typing import Final

from foliot.v1.worker_pb2 import Goodbye, LeaseAck, Release, Result, StartedAttempt, WorkRequest
from foliot_worker.checkpoints import UnconfirmedCheckpoints

RESULTS_MAX: Final = 1_000
"""Results in one message: a tenth of the contract's limit, past which batching saves nothing more."""

RESULT_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes of results in one message, give or take one result: half of gRPC's default message limit."""


class Outbox:
    """Gathers until it is asked for the next message, so everything batches by need."""

    def __init__(self) -> None:
        self.acks: list[int] = []
        """Lease batches to confirm."""
        self.checkpoints = UnconfirmedCheckpoints()
        self.results: deque[Result] = deque()
        """Results to report."""
        self.started: list[StartedAttempt] = []
        """Attempts to report as started."""
        self.releases: list[int] = []
        """Tokens to give back."""
        self.goodbye = False
        """Whether goodbye is due."""

    def __bool__(self) -> bool:
        """Whether there may be something to say."""
        return bool(self.acks or self.results or self.started or self.releases or self.goodbye or self.checkpoints)

    def next_message(self, kept: Container[int]) -> WorkRequest | None:
        """Take the next message; results whose token is not in `kept` were dropped meanwhile and are left out."""
        if self.acks:
            batches, self.acks = self.acks, []
            return WorkRequest(lease_ack=LeaseAck(batches=batches))
        # Before results, so that the last checkpoint of an attempt is there before its end.
        checkpoint = self.checkpoints.next_message()
        if checkpoint is not None:
            return WorkRequest(checkpoint=checkpoint)
        if self.results:
            message = self._next_results(kept)
            if message is not None:
                return message
        return self._next_aside()

    def resume(self, results: Iterable[Result]) -> None:
        """Begin a new stream: these results and all checkpoints were not confirmed on the last one."""
        self.results = deque(results)
        self.checkpoints.send_again()

    def stream_ended(self) -> None:
        """Forget what only the stream that has ended needed."""
        self.acks.clear()
        self.started.clear()
        self.results.clear()
        # The next hello names what is held, and these are not among it.
        self.releases.clear()
        self.goodbye = False

    def _next_results(self, kept: Container[int]) -> WorkRequest | None:
        outbox = self.results
        chunk: list[Result] = []
        size = 0
        while outbox and len(chunk) < RESULTS_MAX and size < RESULT_BYTES_MAX:
            result = outbox.popleft()
            if result.token in kept:
                chunk.append(result)
                size += result.ByteSize()
        if not chunk:
            return None
        request = WorkRequest()
        request.results.results.extend(chunk)
        return request

    def _next_aside(self) -> WorkRequest | None:
        """Take what is neither urgent nor on the way of every task."""
        if self.started:
            request = WorkRequest()
            request.started.attempts.extend(self.started)
            self.started = []
            return request
        if self.releases:
            tokens, self.releases = self.releases, []
            return WorkRequest(release=Release(tokens=tokens))
        if self.goodbye:
            self.goodbye = False
            return WorkRequest(goodbye=Goodbye())
        return None
