"""A term: the time one replica leads, from taking the lock to losing it.

Theory of operation. The engine has one owner, the `_decide` loop: it drains the mailbox, applies what has gathered, and wakes the
journal. Callers wait for the reply that the journal releases after the commit. Two loops, one state, no locks: both run on one
event loop and neither awaits while it touches the engine. Whatever ends the term (fenced, PostgreSQL gone, a bug, a stop) ends
all of it: callers are told NO_LEADER, streams are closed, the state is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Counts
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, NamedTuple

from foliot.kit.errors import NOT_TAKEN, ErrorReason, FoliotError
from foliot.kit.logs import get_logger
from foliot.kit.mailbox import Mailbox, MailboxClosed, MailboxFull
from foliot.kit.metrics import Counter, Gauge
from foliot.v1 import worker_pb2
from foliot_scheduler.actors.acting import ORIGIN
from foliot_scheduler.actors.backlog import Backlog, BacklogLimits, Load, Weight, weight_of
from foliot_scheduler.actors.journal import Encoded, Journal, Writer
from foliot_scheduler.core.audit import record_of
from foliot_scheduler.core.commands import CancelRun, RedriveRun, Tick, TriggerJob
from foliot_scheduler.core.types import Micros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.outbox_signal import OutboxSignal
    from foliot_scheduler.actors.sessions import Sessions
    from foliot_scheduler.core.audit import Origin
    from foliot_scheduler.core.commands import Command
    from foliot_scheduler.core.effects import Effects, Reply
    from foliot_scheduler.core.engine import Engine
    from foliot_scheduler.core.model import Worker
    from foliot_scheduler.core.types import JobId, TaskId

UNCOMMITTED_MAX = 20_000
"""Changed tasks that may wait for the next commit before the engine pauses: a commit of so many takes about half a second.
Behind a slow one the backlog grows instead, and callers are told OVERLOADED; else each commit would be larger than the last."""

UNCOMMITTED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes that commands may add to the next commit before the engine pauses: a tenth of what PostgreSQL takes in one statement, and
with the largest message on top still less than a second of its work."""

NO_LEADER_RETRY_S = 0.2
"""When to come back while nobody leads: an election takes tens of milliseconds."""

LARGE = (TriggerJob, RedriveRun, CancelRun)
"""Commands of which one may change 100,000 tasks, which takes 1 to 2 s to commit. Several of them must not become one commit: a
leader that does not renew its term for 5 s is taken for a stalled one."""

TIMER_RESOLUTION_S = 0.001
"""The engine is woken at most so often by its own timers, so that ten thousand due times spread over a second make batches."""

_TERMS = Counter("foliot_leader_terms_total", unit="terms", description="Terms that this replica has led.")
_LEADING = Gauge("foliot_leader", unit="replicas", description="1 while this replica leads, else 0.")
_TASKS_LIVE = Gauge("foliot_tasks_live", unit="tasks", description="Tasks that have not ended.")
_EPOCH = Gauge("foliot_leader_epoch", unit="terms", description="The term that this replica leads; 0 while it does not lead.")
_READY_BY_QUEUE = Gauge(
    "foliot_queue_ready", unit="tasks", description="Tasks that wait for a worker, by queue.", labels=("queue",)
)
_WORKERS = Gauge(
    "foliot_workers", unit="workers", description="Workers and executors that the leader knows, by state.", labels=("state",)
)
_TASKS_READY = Gauge("foliot_tasks_ready", unit="tasks", description="Tasks that wait for a worker.")
_LEASES_OPEN = Gauge("foliot_leases_open", unit="leases", description="Leases that workers hold.")
_COMMANDS_WAITING = Gauge(
    "foliot_leader_commands_waiting", unit="commands", description="Commands that were taken and are not committed yet."
)
_BYTES_WAITING = Gauge(
    "foliot_leader_bytes_waiting", unit="bytes", description="Specs, outputs and checkpoints that are not committed yet."
)
_REFUSED = Counter(
    "foliot_leader_refusals_total", unit="commands", description="Commands that were refused because too much waited."
)

_EVENTS = Counter("foliot_webhook_events_total", unit="events", description="Events that went into the outbox, for each webhook.")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Term:
    """One replica's leadership: its epoch goes into every commit and every token."""

    epoch: int
    elected_at: Micros
    replica: str
    address: str


class Envelope(NamedTuple):
    """A command, and who waits for its reply; None: nobody does."""

    command: Command
    reply: asyncio.Future[Reply] | None
    weight: Weight
    origin: Origin | None = None
    """Whose wish it is; None: nobody's."""


_TICK: Final = Envelope(Tick(), None, Weight(0, 0))


def _uncommitted(engine: Engine) -> int:
    """Count what waits for the next commit: changed tasks, or events for webhooks where those are more."""
    writes = engine.state.effects.writes
    return max(len(writes.tasks), len(writes.deliveries))


def no_leader(*, taken: bool = False) -> FoliotError:
    """The error for callers that reach nobody who leads; `taken` says that their command may have been committed nevertheless."""
    metadata = {} if taken else {NOT_TAKEN: "true"}
    message = "no replica leads at the moment"
    return FoliotError(ErrorReason.NO_LEADER, message, metadata=metadata, retry_after_s=NO_LEADER_RETRY_S)


def _standing(worker: Worker) -> str:
    if worker.offline:
        return "offline"
    return "active" if worker.leases else "idle"


class LeaderTerm(Generic[Encoded]):
    """Runs the engine for one term."""

    def __init__(
        self,
        *,
        term: Term,
        engine: Engine,
        writer: Writer[Encoded],
        sessions: Sessions,
        clock: Clock,
        outbox: OutboxSignal | None = None,
        limits: BacklogLimits | None = None,
    ) -> None:
        """Take the term, an engine with the live state, where commits go, worker streams, who sends events, how much may wait."""
        self.term = term
        self._engine = engine
        self._sessions = sessions
        self._outbox = outbox
        self._clock = clock
        limits = limits or BacklogLimits()
        self._backlog = Backlog(limits)
        """All that was taken and is not committed yet."""
        self._gathered = Load()
        """What of it goes into the next commit."""
        self._leaving = Load()
        """What of it is in the commit under way."""
        self._mailbox: Mailbox[Envelope] = Mailbox(limits.reports_max)
        self._drained: deque[Envelope] = deque()
        """Commands that were taken from the mailbox and not applied yet."""
        self._put_off: list[Envelope] = []
        """Large ones that wait until the journal takes what has changed already."""
        self._waiting: list[asyncio.Future[Reply] | None] = []
        """Who waits for the replies that the engine has gathered, in their order."""
        self._awaited = False
        """Whether anybody waits for a reply that the journal was not told of yet."""
        self._in_commit: list[asyncio.Future[Reply] | None] = []
        """Who waits for the replies of the commit under way."""
        self._wished: list[tuple[int, Command, Origin]] = []
        """Of the commands that are being applied those that somebody asked for, with the places of their replies."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = 0
        """By the store's time."""
        self._taken = asyncio.Event()
        """Set when the journal takes what the engine has decided."""
        self.journal = Journal(writer=writer, take=self._take, release=self._release, clock=clock)

    def knows_job(self, job_id: JobId) -> bool:
        """Whether the job is in memory, so that a command about it needs no row."""
        return job_id in self._engine.state.jobs

    def knows_task(self, task_id: TaskId) -> bool:
        """Whether the task is live, so that a command about it needs no row."""
        return task_id in self._engine.state.tasks

    async def execute(self, command: Command) -> Reply:
        """Have a command applied and committed. Raises FoliotError NO_LEADER or OVERLOADED; a refusal is a reply."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.post(command, reply, ORIGIN.get())
        return await reply

    def post(self, command: Command, reply: asyncio.Future[Reply] | None = None, origin: Origin | None = None) -> None:
        """Put a command into the mailbox; `origin` says whose wish it is. Raises FoliotError NO_LEADER or OVERLOADED."""
        refusal = self._backlog.refusal(command, *self.journal.pace)
        if refusal is not None and not self._mailbox.closed:
            _REFUSED.add()
            raise refusal
        weight = weight_of(command)
        try:
            self._mailbox.put(Envelope(command, reply, weight, origin))
        except MailboxClosed:
            raise no_leader() from None
        self._backlog.taken(weight)

    async def run(self) -> None:
        """Lead until the term is over; raises Fenced, StoreUnavailable, or whatever bug ended it."""
        try:
            await self.journal.prove()
            _TERMS.add()
            _LEADING.set(1)
            _EPOCH.set(self.term.epoch)
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._decide(), name="leader.decide")
                loops.create_task(self.journal.run(), name="leader.journal")
        finally:
            self._end()

    async def drain(self) -> None:
        """Take no more commands, and wait until what was taken is committed."""
        self._mailbox.close()
        while len(self._mailbox) or self._drained or self._put_off or self._waiting or self._in_commit:
            self.journal.notify()  # else what nobody waits for is left until the next pulse
            await self._clock.sleep(TIMER_RESOLUTION_S)

    async def _decide(self) -> None:
        engine = self._engine
        while True:
            while _uncommitted(engine) > UNCOMMITTED_MAX or self._commit_is_full():
                self._taken.clear()
                await self._taken.wait()
            self._drained.extend(self._put_off)
            self._put_off.clear()
            self._drained.extend(self._mailbox.drain_nowait() if self._drained else await self._next_batch())
            engine.apply(self._portion(), self.journal.now_us())
            self._write_audits()
            heartbeats = engine.take_heartbeats()
            if heartbeats and self.journal.trusted:
                self._sessions.confirm_heartbeats(heartbeats)
            if self._awaited or engine.state.effects or self._commit_is_full():
                self._awaited = False
                self.journal.notify()

    def _portion(self) -> Iterator[Command]:
        """Give what was drained, one by one, until the next commit is full; large commands are put off once one is due."""
        while self._drained and not self._commit_is_full():
            envelope = self._drained.popleft()
            if isinstance(envelope.command, LARGE) and _uncommitted(self._engine) > UNCOMMITTED_MAX:
                self._put_off.append(envelope)
                continue
            # Noted first: should the engine find a bug, this caller is told that the term is over, like all others.
            if envelope.origin is not None:
                self._wished.append((len(self._waiting), envelope.command, envelope.origin))
            self._waiting.append(envelope.reply)
            self._gathered.add(envelope.weight)
            if envelope.reply is not None:
                self._awaited = True
            yield envelope.command

    def _write_audits(self) -> None:
        """Add the records of the wishes that were just carried out to what the next commit writes."""
        state = self._engine.state
        for place, command, origin in self._wished:
            reply = state.effects.replies[place]
            record = record_of(origin, command, reply, record_id=self._clock.uuid7(), now=state.now)
            if record is not None:
                state.effects.writes.audits.append(record)
        self._wished.clear()

    def _commit_is_full(self) -> bool:
        """Whether commands have added so much to the next commit that no more should join it."""
        return self._gathered.rows > UNCOMMITTED_MAX or self._gathered.size > UNCOMMITTED_BYTES_MAX

    async def _next_batch(self) -> list[Envelope]:
        """Wait for commands, the alarm's ticks among them. Once drained there are no more: the term's end cancels the wait."""
        self._set_alarm()
        try:
            return await self._mailbox.drain()
        except MailboxClosed:
            # The journal goes on: what was taken before is committed, and its callers are answered.
            nothing_more: asyncio.Future[list[Envelope]] = asyncio.get_running_loop().create_future()
            return await nothing_more

    def _set_alarm(self) -> None:
        """See to it that a tick comes when the engine's next timer is due.

        An alarm that is set for an earlier time stays, and brings a tick for nothing: most batches move the next timer to later.
        """
        due = self._engine.next_due()
        if due is None or (self._alarm is not None and self._alarm_due <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        left_s = max((due - self.journal.now_us()) / 1e6, TIMER_RESOLUTION_S)
        self._alarm = asyncio.get_running_loop().call_later(left_s, self._ring)
        self._alarm_due = due

    def _ring(self) -> None:
        self._alarm = None
        with contextlib.suppress(MailboxFull, MailboxClosed):  # full: any command makes the engine look at its timers
            self._mailbox.put(_TICK)
            self._backlog.taken(_TICK.weight)

    def _take(self) -> Effects:
        self._taken.set()
        state = self._engine.state
        _TASKS_LIVE.set(len(state.tasks))
        _TASKS_READY.set(state.ready.count)
        _LEASES_OPEN.set(len(state.leases))
        _COMMANDS_WAITING.set(self._backlog.commands)
        _BYTES_WAITING.set(self._backlog.size)
        self._in_commit, self._waiting = self._waiting, []
        self._leaving, self._gathered = self._gathered, Load()
        return self._engine.take_effects()

    def observe(self) -> None:
        """Bring up to date what takes a walk to measure: to be called when somebody asks for the metrics."""
        state = self._engine.state
        _READY_BY_QUEUE.replace({(queue,): count for queue, count in state.ready.counts_by_queue().items()})
        workers = Counts(_standing(worker) for worker in (*state.workers.values(), *state.executors.values()))
        _WORKERS.replace({(standing,): workers[standing] for standing in ("active", "idle", "offline")})

    def _release(self, effects: Effects) -> None:
        waiting, self._in_commit = self._in_commit, []
        self._backlog.done(self._leaving)
        self._leaving = Load()
        for future, reply in zip(waiting, effects.replies, strict=True):
            if future is not None and not future.done():
                future.set_result(reply)
        self._sessions.send_off(effects)
        if effects.writes.deliveries:
            _EVENTS.add(len(effects.writes.deliveries))
            if self._outbox is not None:
                self._outbox.notify()

    def _end(self) -> None:
        """Tell everybody who waits that the term is over: what was being committed may or may not have taken effect."""
        self._mailbox.close()
        if self._alarm is not None:
            self._alarm.cancel()
        left = [envelope.reply for envelope in (*self._drained, *self._put_off, *self._mailbox.drain_nowait())]
        self._drained.clear()
        self._put_off.clear()
        for future in self._in_commit:
            if future is not None and not future.done():
                future.set_exception(no_leader(taken=True))
        for future in (*self._waiting, *left):
            if future is not None and not future.done():
                future.set_exception(no_leader())
        self._in_commit, self._waiting = [], []  # a drain under way need not wait for them any more
        self._sessions.close_all(worker_pb2.WorkResponse(drain=worker_pb2.Drain()))
        _LEADING.set(0)
        _EPOCH.set(0)
        _READY_BY_QUEUE.replace({})
        _WORKERS.replace({})
        log.info("leader.term_ended", epoch=self.term.epoch)
