"""What waits for a worker's stream, and the messages that it becomes."""

from __future__ import annotations

import pytest

from foliot.v1 import worker_pb2
from foliot_scheduler.actors import sessions
from foliot_scheduler.actors.sessions import LEASES_BYTES_MAX, Session, messages_of
from foliot_scheduler.core.effects import LeaseGrant
from foliot_scheduler.core.types import WorkerId
from tests.unit.core.support import World, plan, profile

MIB = 1024 * 1024


def grant_of(count: int, spec: bytes) -> LeaseGrant:
    """A batch of leases of tasks with this spec."""
    world = World()
    for _ in range(count):
        world.submit(plan()._replace(spec=spec))
    world.join(said=profile("w1", capacity=count))
    (grant,) = world.effects.leases
    assert len(grant.leases) == count
    return grant


def test_small_leases_of_a_batch_are_one_message() -> None:
    grant = grant_of(100, b"spec")
    (message,) = messages_of([grant])
    assert message.leases.batch == grant.batch.first_token
    assert [lease.token for lease in message.leases.leases] == [lease.token for lease in grant.leases]


def test_large_leases_of_a_batch_are_as_many_messages_as_a_worker_can_take() -> None:
    grant = grant_of(20, bytes(MIB))
    messages = list(messages_of([grant]))
    assert len(messages) > 1
    assert all(message.ByteSize() < LEASES_BYTES_MAX + 2 * MIB for message in messages)
    assert {message.leases.batch for message in messages} == {grant.batch.first_token}
    assert [lease.token for message in messages for lease in message.leases.leases] == [lease.token for lease in grant.leases]


async def test_a_stream_that_does_not_keep_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "OUTBOX_MAX", 2)
    session = Session(1, WorkerId("w"))
    message = worker_pb2.WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=1))
    closed = []
    for _ in range(3):
        session.send(message)
        closed.append(session.closed)
    assert closed == [False, False, True]
    assert await session.take() == [message, message], "what had gathered is still sent"
    assert await session.take() == []
