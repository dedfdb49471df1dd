"""Whatever happens in whatever order, a session keeps its promises."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from foliot.v1.worker_pb2 import HeartbeatAck, WorkResponse
from foliot_worker.actions import Actions
from foliot_worker.stream_state import StreamState
from tests.unit.worker.session_driver import Driver

CONCURRENCY = 3


class SessionMachine(RuleBasedStateMachine):
    """Drives a session with every fact it can meet, and remembers what it did."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(concurrency=CONCURRENCY, capacity=1_000)
        self.next_token = 1
        self.running: set[int] = set()
        self.ever_started: set[int] = set()
        self.stopped: set[int] = set()
        self.unrecorded: set[int] = set()

    @property
    def state(self) -> StreamState:
        return self.driver.session.state

    def carry_out(self, actions: Actions) -> None:
        for stop in actions.stop:
            assert stop.token in self.running
            assert stop.grace_s >= 0
            self.stopped.add(stop.token)
        for lease in actions.start:
            assert lease.token not in self.ever_started, "an attempt runs once"
            self.ever_started.add(lease.token)
            self.running.add(lease.token)

    @initialize()
    def connect_first(self) -> None:
        self.driver.connect()

    @precondition(lambda self: self.state in {StreamState.WORKING, StreamState.DRAINING})
    @rule(count=st.integers(1, 5))
    def lease(self, count: int) -> None:
        tokens = range(self.next_token, self.next_token + count)
        self.next_token += count
        self.carry_out(self.driver.lease(*tokens))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(token)
        actions = self.driver.finish(token)
        self.carry_out(actions)
        if token not in self.stopped:
            self.unrecorded.add(token)

    @precondition(lambda self: self.state in {StreamState.WORKING, StreamState.DRAINING} and self.next_token > 1)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        token = data.draw(st.integers(1, self.next_token - 1))
        self.unrecorded.discard(token)
        self.carry_out(self.driver.cancel(token))

    @rule(confirm=st.booleans())
    def talk(self, confirm: bool) -> None:
        for message in self.driver.say_all():
            tokens = [result.token for result in message.results.results]
            assert not self.stopped.intersection(tokens), "stopped work is not reported"
            assert self.unrecorded.issuperset(tokens)
            if confirm and tokens:
                self.unrecorded.difference_update(tokens)
                self.carry_out(self.driver.ack(*tokens))
            if confirm and message.HasField("heartbeat"):
                ack = HeartbeatAck(sequence=message.heartbeat.sequence)
                self.carry_out(self.driver.hear(WorkResponse(heartbeat_ack=ack)))

    @rule(seconds=st.floats(0, 12))
    def pass_time(self, seconds: float) -> None:
        actions = self.driver.tick(seconds)
        self.carry_out(actions)
        if actions.hang_up:
            self.driver.session.broken()

    @precondition(lambda self: self.state is not StreamState.CLOSED)
    @rule(reconnect=st.booleans(), drop=st.booleans())
    def break_stream(self, reconnect: bool, drop: bool) -> None:
        self.driver.session.broken()
        if reconnect:
            dropped = sorted(self.unrecorded)[:1] if drop else []
            self.unrecorded.difference_update(dropped)
            hello, actions = self.driver.connect(dropped=dropped)
            held = list(hello.held_tokens)
            assert len(held) == len(set(held))
            assert self.unrecorded.issubset(held), "no result is forgotten"
            self.carry_out(actions)

    @invariant()
    def slots_are_respected(self) -> None:
        assert len(self.running) <= CONCURRENCY
        assert self.driver.session.running == len(self.running)

    def teardown(self) -> None:
        """All that was not stopped is reported in the end."""
        if self.state in {StreamState.WORKING, StreamState.DRAINING, StreamState.GREETING}:
            self.driver.session.broken()
        self.driver.connect()
        reported = set(self.driver.reported())
        assert reported == self.unrecorded


TestSessionProperties = SessionMachine.TestCase
TestSessionProperties.settings = settings(max_examples=60, stateful_step_count=40)
