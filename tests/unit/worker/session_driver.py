"""A session with a hand on every lever, for the tests of its rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.duration_pb2 import Duration

from foliot.v1 import spec_pb2, worker_pb2
from foliot.v1.worker_pb2 import WorkRequest, WorkResponse
from foliot_worker.actions import Actions
from foliot_worker.session import Session
from foliot_worker.stream_state import StreamState

TTL_S = 10
INTERVAL_S = 2
TRUSTED_S = 7.0
"""70 % of the lease's life."""


class Driver:
    """A session, the time, and the scheduler's side of the conversation."""

    def __init__(self, *, concurrency: int = 2, capacity: int = 6) -> None:
        self.session = Session(worker_pb2.Hello(worker_id="w", capacity=capacity), concurrency=concurrency)
        self.now = 100.0
        self.batches = 0

    def connect(self, *, dropped: Iterable[int] = ()) -> tuple[worker_pb2.Hello, Actions]:
        """Open a stream, take hello, welcome."""
        self.session.opened(self.now)
        hello = self.say()
        assert hello is not None
        assert hello.HasField("hello")
        return hello.hello, self.welcome(dropped=dropped)

    def welcome(self, *, dropped: Iterable[int] = (), ttl_s: float = TTL_S, interval_s: float = INTERVAL_S) -> Actions:
        welcome = worker_pb2.Welcome(
            leader="s1",
            epoch=1,
            lease_ttl=Duration(nanos=round(ttl_s * 1e9) % 10**9, seconds=int(ttl_s)),
            heartbeat_interval=Duration(nanos=round(interval_s * 1e9) % 10**9, seconds=int(interval_s)),
            dropped_tokens=dropped,
        )
        return self.hear(WorkResponse(welcome=welcome))

    def hear(self, message: WorkResponse) -> Actions:
        return self.session.received(message, self.now)

    def lease(self, *tokens: int) -> Actions:
        self.batches += 1
        leases = [worker_pb2.Lease(token=token, attempt=1) for token in tokens]
        return self.hear(WorkResponse(leases=worker_pb2.LeaseBatch(batch=self.batches, leases=leases)))

    def cancel(self, *tokens: int) -> Actions:
        return self.hear(WorkResponse(cancel=worker_pb2.Cancel(tokens=tokens)))

    def ack(self, *tokens: int, stale: Sequence[int] = ()) -> Actions:
        return self.hear(WorkResponse(result_ack=worker_pb2.ResultAck(tokens=tokens, stale_tokens=stale)))

    def finish(self, *tokens: int, output: bytes = b"") -> Actions:
        results = [worker_pb2.Result(token=token, outcome=spec_pb2.OUTCOME_SUCCEEDED, output=output) for token in tokens]
        return self.session.finished(results, self.now)

    def tick(self, seconds: float = 0.0) -> Actions:
        self.now += seconds
        return self.session.tick(self.now, now_us=round(self.now * 1e6), resources=worker_pb2.Resources(cpu_usage=0.5))

    def state(self) -> StreamState:
        """Answer where the session stands; a call, so that the type checker does not take it for what it was."""
        return self.session.state

    def say(self) -> WorkRequest | None:
        return self.session.next_message(self.now)

    def say_all(self) -> list[WorkRequest]:
        return list(iter(self.say, None))

    def said(self) -> list[str]:
        """Take all messages; answer their kinds."""
        return [str(message.WhichOneof("message")) for message in self.say_all()]

    def reported(self) -> list[int]:
        """Take all messages; answer the tokens whose results are in them."""
        return [result.token for message in self.say_all() for result in message.results.results]

    def beat(self) -> None:
        """Send the heartbeat that is due and confirm it."""
        message = self.say()
        assert message is not None
        assert message.HasField("heartbeat")
        self.hear(WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=message.heartbeat.sequence)))


def started(actions: Actions) -> list[int]:
    return [lease.token for lease in actions.start]


def stopped(actions: Actions) -> list[int]:
    return [stop.token for stop in actions.stop]
