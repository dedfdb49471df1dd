"""The worker's side of the Work stream without any I/O: facts in, actions out.

Facts are messages from the scheduler, ended attempts, the passing of monotonic time (`now`, in seconds) and wishes of
the process. Most methods answer `Actions`, to be carried out at once and in the order its docstring gives. What is to
be said is *pulled* with `next_message` whenever the stream can take another message, so results batch by need: whatever
gathered while the last write went out is in the next one, and no timer holds a result back.

A lease is in exactly one of these places, by its token:

    waiting    not started; from here it may be given back
    running    its work goes on (fresh: not reported as started yet; reported: it is)
    stopping   its work was asked to end and nobody wants the result, but it holds its slot until it really ends
    results    ended; kept, and sent again after a reconnect, until the scheduler has recorded it

How long leases are trusted is in `renewal`, what is to be said in `outbox`, which moves are legal in `stream_state`.

The session starts nothing, reads no clock, and knows neither gRPC nor the executors.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from foliot.v1.worker_pb2 import Heartbeat, Hello, Lease, Resources, Result, StartedAttempt, WorkRequest, WorkResponse
from foliot_worker.actions import NOTHING, Actions, Stop
from foliot_worker.outbox import Outbox
from foliot_worker.renewal import Renewal
from foliot_worker.stream_state import LocalProtocolError, RemoteProtocolError, StreamEvent, StreamState, next_state

HELLO_TIMEOUT_S: Final = 5.0
"""How long the scheduler may take to answer hello: a fail-over takes milliseconds, so 5 s of silence is a dead end."""

STARTED_AFTER_S: Final = 0.05
"""An attempt that runs longer is reported as started; shorter ones are told by their result alone (a limit of the
scheduler)."""

STOP_GRACE_S: Final = 5.0
"""From asking an attempt to stop to killing it."""

_TALKING: Final = (StreamState.WORKING, StreamState.DRAINING)  # a set would hash a state each time, which takes longer


class Session:
    """The conversation of one worker, for the life of its process.

    `hello` introduces it (its `held_tokens` are filled in here); `concurrency` is how many attempts run at once, while
    `hello.capacity` is how many leases it may hold.
    """

    def __init__(self, hello: Hello, *, concurrency: int) -> None:
        if not 1 <= concurrency <= hello.capacity:
            raise ValueError(f"concurrency {concurrency} must be from 1 to the capacity {hello.capacity}")
        self.state = StreamState.OFFLINE
        self._hello = hello
        self._concurrency = concurrency
        self._leaving = False
        self._renewal = Renewal()
        self._outbox = Outbox()
        self._hello_until = math.inf
        self._hello_due = False
        self._beat_due: Resources | None = None
        # The places of leases, by token. `_fresh` and `_reported` both run; the first are not reported as started yet.
        # Both hold the instant of the start and are in that order.
        self._waiting: OrderedDict[int, Lease] = OrderedDict()
        self._fresh: dict[int, float] = {}
        self._reported: dict[int, float] = {}
        self._results: dict[int, Result] = {}
        # True: the lease is still ours and is given back when the work has ended.
        self._stopping: dict[int, bool] = {}
        # Gathered for the next `Actions`.
        self._stop: list[Stop] = []
        self._start: list[Lease] = []
        self._forgotten: Sequence[int] = ()
        self._stale: Sequence[int] = ()
        self._settled: list[tuple[int, int, str]] = []
        self._redirect: str | None = None
        self._hang_up = ""
        self._on: dict[str, Callable[[WorkResponse, float], None]] = {
            "welcome": self._on_welcome,
            "leases": self._on_leases,
            "result_ack": self._on_result_ack,
            "heartbeat_ack": self._on_heartbeat_ack,
            "cancel": self._on_cancel,
            "checkpoint_ack": self._on_checkpoint_ack,
            "redirect": self._on_redirect,
            "drain": self._on_drain,
        }

    # ---- facts

    def opened(self, now: float) -> None:
        """Note that a stream is open: hello is due."""
        self._move(StreamEvent.OPENED)
        self._hello_due = True
        self._hello_until = now + HELLO_TIMEOUT_S

    def broken(self) -> None:
        """Note that the stream has ended; legal in every state, since it may end after a redirect too."""
        if self.state is StreamState.GREETING or self.state in _TALKING:
            self._move(StreamEvent.BROKEN)
        self._hello_due = False
        self._beat_due = None
        self._renewal.stream_ended()
        self._outbox.stream_ended()

    def received(self, message: WorkResponse, now: float) -> Actions:
        """Take a message. Raises `RemoteProtocolError` if it breaks the rules: the stream is then to be closed."""
        kind = message.WhichOneof("message")
        if kind is None:
            raise RemoteProtocolError("a message without content")
        greeting = kind in {"welcome", "redirect"}
        if (self.state is not StreamState.GREETING) if greeting else (self.state not in _TALKING):
            raise RemoteProtocolError(f"{kind} while {self.state.value}")
        self._on[kind](message, now)
        return self._emit(now)

    def finished(self, results: Sequence[Result], now: float) -> Actions:
        """Note that attempts have ended, with the results they would report; those of stopped ones are dropped."""
        # First of all: a process that was paused past its leases must not report what ended meanwhile.
        if now >= self._renewal.trusted_until:
            self._lose(now)
        fresh, reported, kept, outbox = self._fresh, self._reported, self._results, self._outbox.results
        for result in results:
            token = result.token
            if fresh.pop(token, None) is None and reported.pop(token, None) is None:
                self._stopped(token)
            else:
                kept[token] = result
                outbox.append(result)
        return self._emit(now)

    def tick(self, now: float, *, now_us: int, resources: Resources) -> Actions:
        """Note the time; to be called no later than `next_deadline`. `resources` goes into a heartbeat that is due.

        `now_us` is the same instant on the wall clock, in microseconds since the Unix epoch.
        """
        if now >= self._renewal.trusted_until:
            self._lose(now)
        if self.state is StreamState.GREETING:
            if now >= self._hello_until:
                self._hello_until = math.inf  # said once
                self._hang_up = "hello was not answered"
        elif self.state in _TALKING:
            self._report_started(now, now_us)
            if self._renewal.beat_due(now):
                self._beat_due = resources
            if self._renewal.unanswered(now):
                self._hang_up = "heartbeats are not confirmed"
        return self._emit(now)

    def checkpoint(self, token: int, checkpoint_json: str) -> int | None:
        """Note the progress of a running attempt; answer its sequence, or None if the attempt is not running."""
        if token not in self._fresh and token not in self._reported:
            return None
        return self._outbox.checkpoints.add(token, checkpoint_json)

    def leave(self, now: float) -> Actions:
        """Note that the process is to end: give back what has not started and ask for no more leases."""
        if not self._leaving:
            self._leaving = True
            self._give_back_waiting()
            if self.state is StreamState.WORKING:
                self._say_goodbye()
        return self._emit(now)

    def abandon(self, now: float, *, grace_s: float) -> Actions:
        """Note that running attempts can wait no longer: stop them, and give their leases back as they end."""
        self._stop_running(grace_s)
        return self._emit(now)

    # ---- questions

    @property
    def held(self) -> int:
        """How many leases it holds, unconfirmed results included."""
        return len(self._waiting) + self.running + len(self._results)

    @property
    def running(self) -> int:
        """How many attempts run, those that are being stopped included."""
        return len(self._fresh) + len(self._reported) + len(self._stopping)

    def next_deadline(self) -> float:
        """Answer the instant of the next `tick`; infinite if none is needed."""
        deadline = self._renewal.trusted_until if self._fresh or self._reported or self._waiting else math.inf
        if self.state is StreamState.GREETING:
            return min(deadline, self._hello_until)
        if self.state in _TALKING:
            deadline = min(deadline, self._renewal.beat_at)
            if self._fresh:
                deadline = min(deadline, next(iter(self._fresh.values())) + STARTED_AFTER_S)
        return deadline

    @property
    def sayable(self) -> bool:
        """Whether `next_message` is worth asking; it may still answer None, and sees then whether the session is over."""
        return bool(self._hello_due or self._beat_due is not None or self._leaving or self._outbox)

    def next_message(self, now: float) -> WorkRequest | None:
        """Take the next thing to say, or None. `now` must be read just before it is sent: renewals count from there."""
        if self.state is StreamState.GREETING:
            return self._next_hello(now)
        if self.state not in _TALKING:
            return None
        if self._beat_due is not None:
            resources, self._beat_due = self._beat_due, None
            return WorkRequest(heartbeat=Heartbeat(sequence=self._renewal.beat_sent(now), resources=resources))
        message = self._outbox.next_message(self._results)
        if message is None:
            self._close_if_empty()
        return message

    # ---- messages

    def _on_welcome(self, message: WorkResponse, now: float) -> None:
        self._renewal.welcomed(message.welcome, now)
        self._move(StreamEvent.WELCOMED)
        for token in message.welcome.dropped_tokens:
            self._drop(token)
        self._outbox.resume(self._results.values())
        # What was said of starts may have been lost with the last stream.
        self._fresh, self._reported = {**self._reported, **self._fresh}, {}
        if self._leaving:
            self._give_back_waiting()
            self._say_goodbye()

    def _on_leases(self, message: WorkResponse, _now: float) -> None:
        batch = message.leases
        self._outbox.acks.append(batch.batch)
        waiting, fresh, reported = self._waiting, self._fresh, self._reported
        results, stopping = self._results, self._stopping
        for lease in batch.leases:
            token = lease.token
            if token in waiting or token in fresh or token in reported or token in results or token in stopping:
                continue  # sent again after a reconnect
            waiting[token] = lease
        # Stopped work holds slots the scheduler no longer counts, so some excess is no fault; twice over is.
        if len(waiting) > 2 * self._hello.capacity:
            raise RemoteProtocolError(f"{len(waiting)} leases wait where {self._hello.capacity} may be held")
        if self._leaving:
            self._give_back_waiting()

    def _on_result_ack(self, message: WorkResponse, _now: float) -> None:
        ack = message.result_ack
        self._forgotten, self._stale = ack.tokens, ack.stale_tokens
        results, checkpoints = self._results, self._outbox.checkpoints
        for tokens in (ack.tokens, ack.stale_tokens):
            for token in tokens:
                results.pop(token, None)
                if checkpoints:
                    self._settled += checkpoints.drop(token, "the attempt has ended")

    def _on_heartbeat_ack(self, message: WorkResponse, _now: float) -> None:
        self._renewal.confirmed(message.heartbeat_ack.sequence)

    def _on_cancel(self, message: WorkResponse, _now: float) -> None:
        for token in message.cancel.tokens:
            self._drop(token)

    def _on_checkpoint_ack(self, message: WorkResponse, _now: float) -> None:
        ack = message.checkpoint_ack
        if self._outbox.checkpoints.confirm(ack.token, ack.sequence):
            self._settled.append((ack.token, ack.sequence, ack.error))

    def _on_redirect(self, message: WorkResponse, _now: float) -> None:
        self._move(StreamEvent.REDIRECTED)
        self._redirect = message.redirect.address

    def _on_drain(self, message: WorkResponse, _now: float) -> None:
        self._move(StreamEvent.HANDED_OVER)
        self._redirect = message.drain.address

    # ---- leases

    def _lose(self, now: float) -> None:
        """Give up what may be another's soon. Results stay: their tokens say whether they still count."""
        self._give_back_waiting()
        self._stop_running(self._renewal.lost_grace_s(now))

    def _drop(self, token: int) -> None:
        """Forget a lease that no longer counts, stopping its work."""
        if self._waiting.pop(token, None) is not None or self._results.pop(token, None) is not None:
            self._settled += self._outbox.checkpoints.drop(token, "the lease is lost")
        elif self._fresh.pop(token, None) is not None or self._reported.pop(token, None) is not None:
            self._begin_stop(token, STOP_GRACE_S, ours=False)
        elif token in self._stopping:
            self._stopping[token] = False

    def _stop_running(self, grace_s: float) -> None:
        tokens = [*self._reported, *self._fresh]
        self._reported.clear()
        self._fresh.clear()
        for token in tokens:
            self._begin_stop(token, grace_s, ours=True)

    def _begin_stop(self, token: int, grace_s: float, *, ours: bool) -> None:
        self._stopping[token] = ours
        self._stop.append(Stop(token, grace_s))
        self._settled += self._outbox.checkpoints.drop(token, "the lease is lost")

    def _stopped(self, token: int) -> None:
        ours = self._stopping.pop(token, None)
        if ours is None:
            raise LocalProtocolError(f"an attempt ended that does not run: {token}")
        if ours and self.state is not StreamState.OFFLINE:
            self._outbox.releases.append(token)

    def _give_back_waiting(self) -> None:
        # Without a stream there is nothing to say: the next hello will not name them.
        if self.state is not StreamState.OFFLINE:
            self._outbox.releases.extend(self._waiting)
        self._waiting.clear()

    # ---- the rest

    def _next_hello(self, now: float) -> WorkRequest | None:
        if not self._hello_due:
            return None
        self._hello_due = False
        self._renewal.hello_sent(now)
        hello = Hello()
        hello.CopyFrom(self._hello)
        for place in (self._waiting, self._reported, self._fresh, self._results):
            hello.held_tokens.extend(place)
        # Work that is being stopped still runs: another must not get it before it was given back.
        hello.held_tokens.extend(token for token, ours in self._stopping.items() if ours)
        return WorkRequest(hello=hello)

    def _report_started(self, now: float, now_us: int) -> None:
        while self._fresh:
            token, at = next(iter(self._fresh.items()))
            if now - at < STARTED_AFTER_S:
                break
            del self._fresh[token]
            self._reported[token] = at
            started_at_us = now_us - round((now - at) * 1e6)
            self._outbox.started.append(StartedAttempt(token=token, started_at_us=started_at_us))

    def _say_goodbye(self) -> None:
        self._move(StreamEvent.LEFT)
        self._outbox.goodbye = True

    def _close_if_empty(self) -> None:
        """Close once asked to leave, with nothing held and nothing to say."""
        if not self._leaving or self.state in {StreamState.CLOSED, StreamState.WORKING}:
            return
        if not (self.held or self._outbox.goodbye or self._outbox.releases):
            self._move(StreamEvent.EMPTIED)

    def _move(self, event: StreamEvent) -> None:
        self.state = next_state(self.state, event)

    def _emit(self, now: float) -> Actions:
        """Fill free slots and hand out what has gathered."""
        if self._waiting and now < self._renewal.trusted_until:
            free = self._concurrency - self.running
            while free > 0 and self._waiting:
                token, lease = self._waiting.popitem(last=False)
                self._fresh[token] = now
                self._start.append(lease)
                free -= 1
        if self._leaving:
            self._close_if_empty()
        idle = self._redirect is None and not self._hang_up
        if idle and not (self._start or self._stop or self._forgotten or self._stale or self._settled):
            return NOTHING
        actions = Actions(
            stop=self._stop,
            start=self._start,
            forgotten=self._forgotten,
            stale=self._stale,
            checkpoints=self._settled,
            redirect=self._redirect,
            hang_up=self._hang_up,
        )
        self._stop, self._start, self._settled = [], [], []
        self._forgotten = self._stale = ()
        self._redirect, self._hang_up = None, ""
        return actions
