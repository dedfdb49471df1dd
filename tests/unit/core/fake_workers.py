"""Workers and executors of a simulation: they run, fail, stall, die, come back, and report late, twice or wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Kind, Outcome, Resources, Task
from foliot_scheduler.core.types import MINUTE, SECOND, Micros, Project, TaskId, Token, WorkerId
from tests.unit.core.support import profile

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import Effects
    from tests.unit.core.dice import Dice

OUTCOMES = (
    *(Outcome.SUCCEEDED,) * 4,
    *(Outcome.FAILED,) * 2,
    Outcome.TIMED_OUT,
    Outcome.NON_RETRYABLE,
    Outcome.CANCELLED,
)
TIRED = 0.3
"""How likely a worker does nothing in a step."""


class FakeWorker:
    """A worker with a stream."""

    def __init__(self, worker_id: WorkerId, dice: Dice) -> None:
        self.id = worker_id
        self.dice = dice
        self.session = 0
        self.held: list[Token] = []
        """Leases it runs."""
        self.reported: list[Token] = []
        """Results that were not confirmed yet."""
        self.past: list[Token] = []
        """Every token it ever held."""
        self.unconfirmed: list[Token] = []
        """Batches it has not confirmed."""
        self.stalled_until = Micros(0)
        self.faulty = True

    def act(self, now: Micros, next_session: int) -> list[commands.Command]:
        """What it says in one step; `next_session` numbers the stream, should it open one."""
        if not self.faulty:
            return [self._join(next_session)] if not self.session else [self._beat(), *self._confirm(), *self._work(now)]
        dice = self.dice
        if now < self.stalled_until or dice.chance(TIRED):
            return []
        if not self.session:
            return [self._join(next_session)]
        if dice.chance(0.02):
            self.stalled_until = Micros(now + dice.number(0, 20) * SECOND)
        if dice.chance(0.02):
            return self._fall_over()
        said: list[commands.Command] = [self._beat()] if dice.chance(0.8) else []
        if dice.chance(0.8):
            said.extend(self._confirm())
        return said + self._work(now) + self._talk(now)

    def receive(self, effects: Effects) -> None:
        """Take what was sent on its stream; some of it never arrives."""
        for grant in effects.leases:
            if grant.worker_id != self.id or grant.session != self.session or self._loses():
                continue
            tokens = [lease.token for lease in grant.leases]
            assert not set(tokens) & set(self.past), "a token is given twice"
            self.held.extend(tokens)
            self.past.extend(tokens)
            self.unconfirmed.append(grant.batch.first_token)
        for cancellation in effects.cancellations:
            if cancellation.worker_id == self.id and cancellation.session == self.session and not self._loses():
                self.held = [token for token in self.held if token not in cancellation.tokens]
        for ack in effects.acknowledgements:
            if ack.worker_id == self.id and ack.session == self.session:
                self.reported = [token for token in self.reported if token not in {*ack.recorded, *ack.stale}]
        for gone in effects.disconnects:
            if gone.worker_id == self.id and gone.session == self.session:
                self.session = 0

    def _loses(self) -> bool:
        return self.faulty and self.dice.chance(0.05)

    def _join(self, session: int) -> commands.WorkerJoined:
        self.session = session
        self.unconfirmed = []
        held = [*self.held, *self.reported]
        if self.faulty and self.dice.chance(0.2):
            held = self.dice.some(held, 0.5)
        labels = (("zone", "a"),) if self.id == "w0" else ()
        capacity = self.dice.number(1, 6) if self.faulty else 20
        said = profile(self.id, capacity=capacity, functions=frozenset({"f"}), labels=labels)
        return commands.WorkerJoined(session, said, tuple(held))

    def _beat(self) -> commands.Heartbeat:
        return commands.Heartbeat(self.session, self.id, 1, Resources(0.1, 0.2, 0.3) if self.dice.chance(0.5) else None)

    def _confirm(self) -> list[commands.Command]:
        batches, self.unconfirmed = tuple(self.unconfirmed), []
        return [commands.LeasesAcknowledged(self.session, self.id, batches)] if batches else []

    def _work(self, now: Micros) -> list[commands.Command]:
        """Report ends: of what it runs, again of what it reported, and of what it lost long ago."""
        dice = self.dice
        ending = dice.some(self.held, 0.3)
        self.held = [token for token in self.held if token not in ending]
        self.reported.extend(ending)
        if self.faulty and self.reported and dice.chance(0.1):
            ending.append(dice.pick(self.reported))
        if self.faulty and self.past and dice.chance(0.1):
            ending.append(dice.pick(self.past))
            self.held = [token for token in self.held if token != ending[-1]]
        if not ending:
            return []
        return [commands.AttemptsEnded(self.session, self.id, [self._end(token, now) for token in ending])]

    def _end(self, token: Token, now: Micros) -> commands.AttemptEnd:
        dice = self.dice
        outcome = dice.pick(OUTCOMES) if self.faulty else Outcome.SUCCEEDED
        started = Micros(now - dice.number(-MINUTE, MINUTE))  # its clock may be wrong
        error = "" if outcome is Outcome.SUCCEEDED else "it went wrong"
        return commands.AttemptEnd(token, outcome, dice.number(0, 2), error, b"out", b"err", started, now)

    def _talk(self, now: Micros) -> list[commands.Command]:
        """Starts, checkpoints, leases given back, and the wish for no more."""
        dice = self.dice
        said: list[commands.Command] = []
        if self.past and dice.chance(0.2):
            started = [commands.AttemptStarted(dice.pick(self.held or self.past), now)]
            said.append(commands.AttemptsStarted(self.session, self.id, started))
        if self.past and dice.chance(0.1):
            said.append(commands.CheckpointReported(self.session, self.id, dice.pick(self.held or self.past), 1, "{}"))
        if self.held and dice.chance(0.05):
            returned = dice.some(self.held, 0.5)
            self.held = [token for token in self.held if token not in returned]
            said.append(commands.LeasesReleased(self.session, self.id, tuple(returned)))
        if dice.chance(0.01):
            said.append(commands.WorkerDraining(self.session, self.id))
        return said

    def _fall_over(self) -> list[commands.Command]:
        """Die with all work, or lose the stream only; the scheduler may or may not notice."""
        session, self.session = self.session, 0
        if self.dice.chance(0.5):
            self.held = []
            self.reported = []
        return [commands.WorkerLeft(session, self.id)] if self.dice.chance(0.5) else []


class FakeExecutor:
    """An executor that claims by unary calls."""

    def __init__(self, executor_id: WorkerId, project: Project, dice: Dice) -> None:
        self.id = executor_id
        self.project = project
        self.dice = dice
        self.claimed: list[TaskId] = []

    def act(self) -> list[commands.Command]:
        dice = self.dice
        said: list[commands.Command] = []
        if dice.chance(0.1):
            queues, kinds = frozenset({"default"}), frozenset({Kind.COMMAND, Kind.BINARY})
            said.append(commands.ClaimTask(self.project, self.id, "host", queues, kinds))
        if self.claimed and dice.chance(0.3):
            said.append(commands.RenewClaim(self.project, self.id, dice.pick(self.claimed)))
        if self.claimed and dice.chance(0.1):
            outcome = dice.pick((Outcome.SUCCEEDED, Outcome.FAILED))
            end = commands.EndClaim(self.project, self.id, dice.pick(self.claimed), outcome, 0, "", b"", b"")
            said.append(end)
        return said

    def receive(self, reply: object) -> None:
        """Take the answer to a claim."""
        if isinstance(reply, Task):
            self.claimed.append(reply.id)
