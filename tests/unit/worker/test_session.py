from __future__ import annotations

import math

import pytest

from foliot.v1 import worker_pb2
from foliot.v1.worker_pb2 import WorkResponse
from foliot_worker.actions import NOTHING
from foliot_worker.outbox import RESULTS_MAX
from foliot_worker.session import HELLO_TIMEOUT_S, STARTED_AFTER_S, STOP_GRACE_S, Session
from foliot_worker.stream_state import LocalProtocolError, RemoteProtocolError, StreamState
from tests.unit.worker.session_driver import INTERVAL_S, TRUSTED_S, TTL_S, Driver, started, stopped


@pytest.fixture
def driver() -> Driver:
    return Driver()


class TestGreeting:
    def test_hello_comes_first_and_once(self, driver: Driver) -> None:
        assert driver.say() is None
        driver.session.opened(driver.now)
        first = driver.say()
        assert first is not None
        assert first.hello.worker_id == "w"
        assert driver.say() is None
        driver.welcome()
        assert driver.session.state is StreamState.WORKING

    def test_an_unanswered_hello_hangs_up(self, driver: Driver) -> None:
        driver.session.opened(driver.now)
        driver.say()
        assert driver.session.next_deadline() == driver.now + HELLO_TIMEOUT_S
        assert driver.tick(HELLO_TIMEOUT_S - 0.01) is NOTHING
        assert driver.tick(0.02).hang_up == "hello was not answered"
        # Said once: until the stream is closed there is nothing more to do.
        assert driver.session.next_deadline() == math.inf
        assert driver.tick(1) is NOTHING

    @pytest.mark.parametrize("address", ["10.0.0.2:7070", ""])
    def test_redirect_is_passed_on_and_ends_the_stream(self, driver: Driver, address: str) -> None:
        driver.session.opened(driver.now)
        driver.say()
        actions = driver.hear(WorkResponse(redirect=worker_pb2.Redirect(address=address)))
        assert actions.redirect == address
        assert driver.session.state is StreamState.OFFLINE
        driver.session.broken()
        driver.session.opened(driver.now)
        assert driver.say() is not None

    def test_leases_before_welcome_are_the_scheduler_s_fault(self, driver: Driver) -> None:
        driver.session.opened(driver.now)
        with pytest.raises(RemoteProtocolError, match="leases while greeting"):
            driver.lease(1)

    def test_welcome_before_hello_is_the_scheduler_s_fault(self, driver: Driver) -> None:
        driver.session.opened(driver.now)
        with pytest.raises(RemoteProtocolError):
            driver.welcome()

    def test_welcome_twice_and_empty_messages_are_the_scheduler_s_fault(self, driver: Driver) -> None:
        driver.connect()
        with pytest.raises(RemoteProtocolError, match="welcome while working"):
            driver.welcome()
        with pytest.raises(RemoteProtocolError, match="without content"):
            driver.hear(WorkResponse())

    @pytest.mark.parametrize(("ttl_s", "interval_s"), [(0, 0), (10, 0), (10, 8), (1, 1)])
    def test_terms_that_cannot_be_kept_are_refused(self, driver: Driver, ttl_s: float, interval_s: float) -> None:
        driver.session.opened(driver.now)
        driver.say()
        with pytest.raises(RemoteProtocolError, match="heartbeats every"):
            driver.welcome(ttl_s=ttl_s, interval_s=interval_s)

    def test_opening_twice_is_our_fault(self, driver: Driver) -> None:
        driver.connect()
        with pytest.raises(LocalProtocolError):
            driver.session.opened(driver.now)

    @pytest.mark.parametrize(("concurrency", "capacity"), [(0, 4), (5, 4)])
    def test_concurrency_fits_the_capacity(self, concurrency: int, capacity: int) -> None:
        with pytest.raises(ValueError, match="concurrency"):
            Session(worker_pb2.Hello(capacity=capacity), concurrency=concurrency)


class TestLeases:
    def test_at_most_concurrency_run_and_the_rest_wait_in_order(self, driver: Driver) -> None:
        driver.connect()
        assert started(driver.lease(5, 3, 9, 1)) == [5, 3]
        assert started(driver.finish(3)) == [9]
        assert started(driver.finish(5, 9)) == [1]

    def test_every_batch_is_confirmed_in_one_message(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.lease(2)
        message = driver.say()
        assert message is not None
        assert list(message.lease_ack.batches) == [1, 2]

    def test_a_lease_that_is_held_is_not_taken_twice(self, driver: Driver) -> None:
        driver.connect()
        assert started(driver.lease(1, 2, 3)) == [1, 2]
        driver.finish(1)
        assert driver.session.running == 2
        assert started(driver.lease(1, 2, 3)) == []
        assert started(driver.finish(2, 3)) == []
        assert driver.reported() == [1, 2, 3]

    def test_twice_the_capacity_is_the_scheduler_s_fault(self, driver: Driver) -> None:
        driver.connect()
        with pytest.raises(RemoteProtocolError, match="may be held"):
            driver.lease(*range(1, 20))

    def test_cancel_drops_what_waits_and_stops_what_runs(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3, 4)
        actions = driver.cancel(3, 1, 77)
        assert [(stop.token, stop.grace_s) for stop in actions.stop] == [(1, STOP_GRACE_S)]
        # The slot is free only when the work has really ended, and its result is not reported.
        assert started(actions) == []
        assert started(driver.finish(1)) == [4]
        driver.finish(2)
        assert driver.reported() == [2]
        assert driver.session.held == 2

    def test_cancel_of_a_result_forgets_it(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.finish(1)
        driver.cancel(1)
        assert driver.reported() == []
        assert driver.session.held == 0

    def test_an_end_of_what_does_not_run_is_our_fault(self, driver: Driver) -> None:
        driver.connect()
        with pytest.raises(LocalProtocolError, match="does not run"):
            driver.finish(1)


class TestResults:
    def test_results_batch_by_need(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3)
        driver.finish(1)
        driver.finish(2)
        driver.say()
        assert driver.reported() == [1, 2]
        driver.finish(3)
        assert driver.reported() == [3]

    def test_kept_until_confirmed(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2)
        driver.finish(1, 2)
        driver.say_all()
        assert driver.session.held == 2
        actions = driver.ack(1, stale=[2])
        assert (list(actions.forgotten), list(actions.stale)) == ([1], [2])
        assert driver.session.held == 0

    def test_sent_again_after_a_reconnect_with_their_leases_named(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3)
        driver.finish(1)
        driver.say_all()
        driver.session.broken()
        hello, actions = driver.connect()
        assert sorted(hello.held_tokens) == [1, 2, 3]
        assert actions is NOTHING
        assert driver.reported() == [1]
        driver.ack(1)
        assert driver.session.held == 2

    def test_work_goes_on_without_a_stream(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3)
        driver.session.broken()
        assert started(driver.finish(1)) == [3]
        assert driver.say() is None
        driver.connect()
        assert driver.reported() == [1]

    def test_welcome_drops_what_no_longer_counts(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3, 4)
        driver.finish(1)
        driver.session.broken()
        _, actions = driver.connect(dropped=[1, 2, 4])
        assert stopped(actions) == [2]
        driver.finish(2, 3)
        assert driver.reported() == [3]

    def test_messages_are_bounded_in_number_and_in_bytes(self) -> None:
        driver = Driver(concurrency=RESULTS_MAX + 1, capacity=RESULTS_MAX + 1)
        driver.connect()
        driver.lease(*range(1, RESULTS_MAX + 2))
        driver.finish(*range(1, RESULTS_MAX + 2))
        sizes = [len(message.results.results) for message in driver.say_all() if message.HasField("results")]
        assert sizes == [RESULTS_MAX, 1]
        driver.ack(*range(1, RESULTS_MAX + 2))
        driver.lease(*range(5001, 5007))
        driver.finish(*range(5001, 5007), output=b"x" * 1_000_000)
        sizes = [len(message.results.results) for message in driver.say_all() if message.HasField("results")]
        assert sizes == [3, 3]


class TestStarted:
    def test_only_what_runs_for_a_while_is_reported(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2)
        assert driver.session.next_deadline() == driver.now + STARTED_AFTER_S
        driver.finish(1)
        driver.tick(STARTED_AFTER_S + 0.001)
        messages = [message for message in driver.say_all() if message.HasField("started")]
        assert [(one.token, one.started_at_us) for one in messages[0].started.attempts] == [(2, 100_000_000)]
        driver.tick(1)
        assert "started" not in driver.said()

    def test_reported_again_on_the_next_stream(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.tick(0.1)
        driver.say_all()
        driver.session.broken()
        driver.connect()
        driver.tick()
        assert driver.said() == ["started"]


class TestRenewal:
    def test_heartbeats_come_at_the_agreed_interval(self, driver: Driver) -> None:
        driver.connect()
        assert driver.session.next_deadline() == driver.now + INTERVAL_S
        driver.tick(INTERVAL_S)
        message = driver.say()
        assert message is not None
        assert (message.heartbeat.sequence, message.heartbeat.resources.cpu_usage) == (1, 0.5)
        assert driver.session.next_deadline() == driver.now + INTERVAL_S

    def test_trust_counts_from_when_the_heartbeat_was_sent(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.tick(INTERVAL_S)
        sent_at = driver.now
        message = driver.say()
        assert message is not None
        driver.now += 3
        driver.hear(WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=message.heartbeat.sequence)))
        driver.now = sent_at + TRUSTED_S - 0.01
        assert stopped(driver.tick()) == []
        assert stopped(driver.tick(0.02)) == [1]

    def test_without_renewal_all_work_stops_and_is_not_reported(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3)
        driver.session.broken()
        assert driver.session.next_deadline() == 100.0 + TRUSTED_S
        actions = driver.tick(TRUSTED_S)
        assert stopped(actions) == [1, 2]
        assert started(actions) == []
        # Killed before the lease's end, which is 30 % of its life away.
        assert all(0 < stop.grace_s < TTL_S - TRUSTED_S for stop in actions.stop)
        assert started(driver.finish(1, 2)) == []
        hello, _ = driver.connect()
        assert list(hello.held_tokens) == []
        assert driver.reported() == []

    def test_a_process_that_was_paused_past_its_leases_kills_at_once(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2)
        driver.now += 60
        # What ended meanwhile is not reported either, even if its end is the first thing that is heard of.
        actions = driver.finish(1)
        assert [(stop.token, stop.grace_s) for stop in actions.stop] == [(1, 0), (2, 0)]
        assert driver.reported() == []

    def test_work_that_is_being_stopped_is_still_named_and_given_back_when_it_ends(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.session.broken()
        driver.tick(TRUSTED_S)
        hello, _ = driver.connect()
        assert list(hello.held_tokens) == [1]
        driver.finish(1)
        released = [message.release for message in driver.say_all() if message.HasField("release")]
        assert [list(release.tokens) for release in released] == [[1]]

    def test_results_of_before_are_still_reported_after_a_loss(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.finish(1)
        driver.tick(TRUSTED_S)
        assert driver.reported() == [1]

    def test_silence_hangs_up_while_there_is_time_to_reconnect(self, driver: Driver) -> None:
        driver.connect()
        driver.tick(INTERVAL_S)
        driver.say()
        driver.tick(INTERVAL_S)
        assert driver.tick(TTL_S / 2).hang_up == "heartbeats are not confirmed"

    @pytest.mark.parametrize("sequence", [1, 2])
    def test_a_confirmation_of_nothing_is_the_scheduler_s_fault(self, driver: Driver, sequence: int) -> None:
        driver.connect()
        driver.tick(INTERVAL_S)
        driver.beat()
        with pytest.raises(RemoteProtocolError, match="confirmed"):
            driver.hear(WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=sequence)))

    def test_no_deadline_while_offline_with_nothing_held(self, driver: Driver) -> None:
        assert driver.session.next_deadline() == math.inf


class TestCheckpoints:
    def test_sent_before_the_result_and_settled(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.say_all()
        assert driver.session.checkpoint(1, "{}") == 1
        driver.finish(1)
        assert driver.said() == ["checkpoint", "results"]
        ack = worker_pb2.CheckpointAck(token=1, sequence=1)
        assert list(driver.hear(WorkResponse(checkpoint_ack=ack)).checkpoints) == [(1, 1, "")]
        assert driver.hear(WorkResponse(checkpoint_ack=ack)) is NOTHING

    def test_sent_again_after_a_reconnect(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.session.checkpoint(1, '"a"')
        driver.session.checkpoint(1, '"b"')
        driver.say_all()
        driver.session.broken()
        driver.connect()
        texts = [message.checkpoint.checkpoint_json for message in driver.say_all() if message.HasField("checkpoint")]
        assert texts == ['"a"', '"b"']

    def test_refused_when_the_attempt_does_not_run_and_settled_when_it_is_dropped(self, driver: Driver) -> None:
        driver.connect()
        assert driver.session.checkpoint(1, "{}") is None
        driver.lease(1)
        driver.session.checkpoint(1, "{}")
        assert list(driver.cancel(1).checkpoints) == [(1, 1, "the lease is lost")]

    def test_settled_when_the_result_is_recorded_without_a_word(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.session.checkpoint(1, "{}")
        driver.finish(1)
        assert list(driver.ack(1).checkpoints) == [(1, 1, "the attempt has ended")]


class TestLeaving:
    def test_gives_back_what_waits_then_says_goodbye_and_closes_when_empty(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2, 3)
        driver.say_all()
        driver.session.leave(driver.now)
        messages = driver.say_all()
        assert [message.WhichOneof("message") for message in messages] == ["release", "goodbye"]
        assert list(messages[0].release.tokens) == [3]
        assert driver.state() is StreamState.DRAINING
        driver.finish(1, 2)
        assert driver.said() == ["results"]
        assert driver.session.held == 2
        driver.ack(1, 2)
        assert driver.state() is StreamState.CLOSED

    def test_leases_that_crossed_goodbye_go_back(self, driver: Driver) -> None:
        driver.connect()
        driver.session.leave(driver.now)
        driver.lease(1)
        kinds = driver.said()
        assert kinds == ["lease_ack", "release", "goodbye"]
        assert driver.session.state is StreamState.CLOSED

    def test_abandoned_work_is_stopped_and_given_back(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1, 2)
        driver.session.leave(driver.now)
        driver.say_all()
        actions = driver.session.abandon(driver.now, grace_s=3)
        assert [(stop.token, stop.grace_s) for stop in actions.stop] == [(1, 3), (2, 3)]
        driver.finish(1, 2)
        assert driver.said() == ["release"]
        assert driver.session.state is StreamState.CLOSED

    def test_offline_and_empty_closes_at_once(self, driver: Driver) -> None:
        driver.session.leave(driver.now)
        assert driver.session.state is StreamState.CLOSED

    def test_the_wish_outlives_the_stream(self, driver: Driver) -> None:
        driver.connect()
        driver.lease(1)
        driver.session.leave(driver.now)
        driver.session.broken()
        driver.finish(1)
        driver.connect()
        assert driver.said() == ["results", "goodbye"]
        driver.ack(1)
        assert driver.session.state is StreamState.CLOSED


def test_drain_asks_for_another_stream_and_keeps_the_work(driver: Driver) -> None:
    driver.connect()
    driver.lease(1)
    actions = driver.hear(WorkResponse(drain=worker_pb2.Drain(address="10.0.0.3:7070")))
    assert actions.redirect == "10.0.0.3:7070"
    driver.session.broken()
    hello, _ = driver.connect()
    assert list(hello.held_tokens) == [1]


def test_urgent_things_are_said_first(driver: Driver) -> None:
    driver.connect()
    driver.lease(1, 2, 3)
    driver.session.checkpoint(2, "{}")
    driver.finish(1)
    driver.tick(INTERVAL_S)
    driver.session.leave(driver.now)
    assert driver.said() == ["heartbeat", "lease_ack", "checkpoint", "results", "started", "goodbye"]
