"""The worker streams that are open on this replica, and what is to be sent on each.

A session is one stream of one worker. Senders only append to it; the stream's own writer takes what has gathered. Leases become
messages only as they are written, of a bounded size each: what waits for a slow worker is no copy of its tasks' specs. A session
holds no scheduling state: losing it loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from foliot.kit.metrics import Counter, Gauge
from foliot.v1 import worker_pb2
from foliot_scheduler.core.effects import LeaseGrant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from foliot_scheduler.core.effects import Effects
    from foliot_scheduler.core.types import Token, WorkerId

OUTBOX_MAX = 10_000
"""Messages that may wait for one worker's stream. It bounds the memory a stuck worker costs; leases alone never reach it, as
credits bound them."""


LEASES_BYTES_MAX = 4 * 1024 * 1024
"""Specs and checkpoints in one message of leases, give or take one lease: a quarter of what workers take."""

_LEASES = Counter("foliot_leases_total", unit="leases", description="Leases that were sent to workers.")
_RECORDED = Counter("foliot_results_total", unit="results", description="Results of attempts that were recorded.")
_STALE = Counter("foliot_results_stale_total", unit="results", description="Results refused because their lease had ended.")
_STREAMS = Gauge("foliot_worker_streams", unit="streams", description="Work streams that are open on this replica.")


class Session:
    """One stream of one worker."""

    def __init__(self, number: int, worker_id: WorkerId) -> None:
        """Take the session's number, unique in this process, and the worker's name for itself."""
        self.number = number
        self.worker_id = worker_id
        self._outbox: list[worker_pb2.WorkResponse | LeaseGrant] = []
        self._arrived = asyncio.Event()
        self.closed = False

    def send(self, message: worker_pb2.WorkResponse | LeaseGrant) -> None:
        """Append a message, or leases; a stream that does not keep up is closed."""
        if self.closed:
            return
        if len(self._outbox) >= OUTBOX_MAX:
            self.close()
            return
        self._outbox.append(message)
        self._arrived.set()

    def close(self) -> None:
        """End the stream after what has gathered is sent."""
        self.closed = True
        self._arrived.set()

    async def take(self) -> list[worker_pb2.WorkResponse | LeaseGrant]:
        """Wait for messages and leases and take all of them; an empty list means that the stream is to end."""
        while not self._outbox and not self.closed:
            self._arrived.clear()
            await self._arrived.wait()
        taken, self._outbox = self._outbox, []
        return taken


class Sessions:
    """All open sessions of this replica."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Session] = {}

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def open(self, worker_id: WorkerId) -> Session:
        """Register a stream whose worker has said hello."""
        session = Session(next(self._numbers), worker_id)
        self._open[session.number] = session
        _STREAMS.set(len(self._open))
        return session

    def forget(self, session: Session) -> None:
        """Forget a stream that has ended."""
        session.close()
        self._open.pop(session.number, None)
        _STREAMS.set(len(self._open))

    def close_all(self, message: worker_pb2.WorkResponse) -> None:
        """Tell every worker the same last thing and end its stream."""
        for session in list(self._open.values()):
            session.send(message)
            session.close()

    def send_off(self, effects: Effects) -> None:
        """Send what committed effects say to workers."""
        for grant in effects.leases:
            session = self._open.get(grant.session)
            _LEASES.add(len(grant.leases))
            if session is not None:
                session.send(grant)
        for worker_id, number, recorded, stale in effects.acknowledgements:
            _RECORDED.add(len(recorded))
            _STALE.add(len(stale))
            self._send(
                number, worker_id, worker_pb2.WorkResponse(result_ack=worker_pb2.ResultAck(tokens=recorded, stale_tokens=stale))
            )
        for worker_id, number, tokens in effects.cancellations:
            self._send(number, worker_id, worker_pb2.WorkResponse(cancel=worker_pb2.Cancel(tokens=tokens)))
        for saved in effects.checkpoint_acknowledgements:
            ack = worker_pb2.CheckpointAck(token=saved.token, sequence=saved.sequence, error=saved.error)
            self._send(saved.session, saved.worker_id, worker_pb2.WorkResponse(checkpoint_ack=ack))
        for worker_id, number in effects.disconnects:
            session = self._open.get(number)
            if session is not None and session.worker_id == worker_id:
                session.close()

    def confirm_heartbeats(self, heartbeats: Iterable[tuple[WorkerId, int, int]]) -> None:
        """Confirm renewals; the caller has made sure that the term is trusted."""
        for worker_id, number, sequence in heartbeats:
            self._send(number, worker_id, worker_pb2.WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=sequence)))

    def _send(self, number: int, worker_id: WorkerId, message: worker_pb2.WorkResponse) -> None:
        session = self._open.get(number)
        if session is not None and session.worker_id == worker_id:
            session.send(message)


def messages_of(taken: Iterable[worker_pb2.WorkResponse | LeaseGrant]) -> Iterator[worker_pb2.WorkResponse]:
    """Give what was taken from a session as messages, one by one: leases of one batch in as many as their size asks for."""
    for one in taken:
        if isinstance(one, LeaseGrant):
            yield from _lease_messages(one)
        else:
            yield one


def _lease_messages(grant: LeaseGrant) -> Iterator[worker_pb2.WorkResponse]:
    message = worker_pb2.WorkResponse(leases=worker_pb2.LeaseBatch(batch=grant.batch.first_token))
    size = 0
    for lease in grant.leases:
        if size > LEASES_BYTES_MAX:
            yield message
            message = worker_pb2.WorkResponse(leases=worker_pb2.LeaseBatch(batch=grant.batch.first_token))
            size = 0
        task = lease.task
        said = message.leases.leases.add(
            token=lease.token, task_id=task.id, attempt=lease.attempt, spec=task.plan.spec, project=task.project
        )
        if task.traceparent:
            said.traceparent = task.traceparent
        if task.checkpoint:
            said.checkpoint_json = task.checkpoint
        if task.run is not None:
            said.run_id = task.run.id
            said.key = task.key
        size += len(task.plan.spec) + len(task.checkpoint)
    yield message


def tokens_of(values: Iterable[int]) -> tuple[Token, ...]:
    """Take tokens from the wire."""
    return tuple(values)  # type: ignore[arg-type]  # protobuf knows plain integers only
