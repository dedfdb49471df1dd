"""One story of clients, workers and executors that do what they like, with a journal that lags behind.

A seed makes the story: `Simulation(seed).run(steps)`. Every step applies some random commands at some later time; now and then
the journal finishes its commit, and only then what the engine had decided leaves. The invariants are checked after every step.
`settle_down` ends all faults and lets time pass until nothing goes on.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Effects, Refusal, Repeated, Reply
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.subscriptions import CreateWebhook
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import HOUR, MINUTE, SECOND, Micros, Project, Span, TaskId, Token, WorkerId
from tests.unit.core import wishes
from tests.unit.core.dice import Dice
from tests.unit.core.fake_journal import Encoded, FakeJournal, run_row, task_row
from tests.unit.core.fake_workers import FakeExecutor, FakeWorker
from tests.unit.core.invariants import check_due_times, check_engine, check_events, check_failed_dependents, check_journal
from tests.unit.core.oracle import may_have_started
from tests.unit.core.support import NOON, Ids

SETTINGS = CoreSettings(
    lost_attempts_max=3,
    live_tasks_max=150,
    decisions_per_step=2,
    fires_below=20,
    fire_all_max=3,
    fires_per_tick=7,
    skips_max=3,
    worker_kept=Span(2 * MINUTE),
)
PROJECTS = (Project("red"), Project("blue"))
LISTENING = PROJECTS[0]
"""The project that has a webhook, for everything."""


@dataclass
class Known:
    """What is known of a task from the outside."""

    project: Project
    ways: set[TaskState] = field(default_factory=set)
    """Every way it ever ended."""
    retried: bool = False
    token: Token = Token(0)  # noqa: RUF009 - a NewType: the call gives back its argument
    """Of its latest lease."""


class Applied(NamedTuple):
    """One call of the engine."""

    batch: list[commands.Command]
    now: Micros
    taking: bool
    """Whether the effects were taken after it."""


class InCommit(NamedTuple):
    """What the journal is about to make durable."""

    encoded: Encoded
    effects: Effects
    asked: list[commands.Command]


class Simulation:
    """One story."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = Dice(seed)
        self.engine = new_engine(seed)
        self.journal = FakeJournal()
        self.now = NOON
        self.log: list[Applied] = []
        self.decisions: list[str] = []
        """The effects that were taken, as text."""
        self.projects = PROJECTS
        self.tasks: dict[TaskId, Known] = {}
        self.records: list[tuple[Micros, Task]] = []
        """Rows that somebody read a while ago, and when."""
        self.acknowledged: set[TaskId] = set()
        """Tasks whose submission was answered, without those whose deletion was."""
        self.answers: dict[tuple[Project, str], tuple[bytes, bytes]] = {}
        """Idempotency key -> digest and ids of the first use."""
        self.workers = [FakeWorker(WorkerId(f"w{n}"), self.dice) for n in range(3)]
        self.executors = [FakeExecutor(WorkerId(f"x{n}"), project, self.dice) for n, project in enumerate(PROJECTS)]
        self.sessions = 0
        self._asked: list[commands.Command] = []
        self._in_commit: InCommit | None = None

    # ---------------------------------------------------------------------------------------------------------- steps

    def run(self, steps: int) -> None:
        self.apply([CreateWebhook(LISTENING, "http://receiver/", "", frozenset(), b"")], taking=False)
        for _ in range(steps):
            self._pass_time()
            batch: list[commands.Command] = []
            for _ in range(self.dice.number(0, 3)):
                batch.extend(wishes.random_wish(self))
            for executor in self.executors:
                batch.extend(executor.act())
            self.apply([*batch, *self._workers_say()], taking=self.dice.chance(0.6))
            if self.dice.chance(0.05):
                self._say_something_stale()
            if self.dice.chance(0.1):
                self.check_committed()

    def apply(self, batch: list[commands.Command], *, taking: bool) -> None:
        """Apply commands; `taking`: the commit under way ends and the next begins."""
        self.log.append(Applied([clone(command) for command in batch], self.now, taking))
        live_before = set(self.engine.state.tasks)
        self.engine.apply(batch, self.now)
        self._asked.extend(batch)
        self._look(live_before)
        check_engine(self.engine)
        if taking:
            self.finish_commit()
            effects = self.engine.take_effects()
            self.decisions.append(describe(effects))
            self._check_replies(effects.replies)
            self._in_commit = InCommit(self.journal.encode(effects.writes), effects, self._asked)
            self._asked = []

    def finish_commit(self) -> None:
        """What was in commit becomes durable, and leaves."""
        if self._in_commit is None:
            return
        encoded, effects, asked = self._in_commit
        self._in_commit = None
        self.journal.commit(encoded)
        for command, reply in zip(asked, effects.replies, strict=True):
            if isinstance(command, commands.SubmitTasks):
                self.acknowledged.update(_ids(reply))
            if isinstance(command, commands.DeleteTask) and not isinstance(reply, Refusal):
                self.acknowledged.discard(command.task_id)
            if isinstance(command, commands.ClaimTask):
                for executor in self.executors:
                    if executor.id == command.executor_id:
                        executor.receive(reply)
        for worker in self.workers:
            worker.receive(effects)

    def check_committed(self) -> None:
        """Commit all there is: then the journal alone tells what the engine knows, and nothing acknowledged is lost."""
        self.apply([], taking=True)
        self.finish_commit()
        check_journal(self.engine, self.journal)
        check_due_times(self.engine, self.journal)
        check_events(self.journal, LISTENING)
        stored = self.journal.live.keys() | self.journal.history.keys()
        assert self.acknowledged <= stored, "an acknowledged task is lost"

    def settle_down(self) -> None:
        """End all faults, and let time pass until nothing goes on."""
        for worker in self.workers:
            worker.faulty = False
            worker.session = 0  # whoever wanted no more work comes back for it
        jobs = [job for job in self.engine.state.jobs.values() if job.state != "deleted"]
        self.apply([commands.SetJobState(job.project, job.id, "delete") for job in jobs], taking=True)
        for _ in range(1_000):
            if not self.engine.state.tasks:
                self.check_committed()  # whom somebody's success concerns is known by what is stored
            putting_back = wishes.put_back(self)
            if not self.engine.state.tasks and putting_back is None:
                break
            tasks = self.engine.state.tasks.values()
            dues = [task.due for task in tasks if task.due is not None]
            only_wait = bool(dues) and all(task.state in {TaskState.SCHEDULED, TaskState.BLOCKED} for task in tasks)
            self.now = Micros(max(self.now, min(dues)) if only_wait else self.now + SECOND)
            unserved = [task for task in tasks if task.plan.placement not in wishes.PLACEMENTS_SERVED]
            cancels = [commands.CancelTask(task.project, task.id) for task in unserved]
            again = [putting_back] if putting_back is not None else []
            self.apply([*cancels, *self._workers_say(), *again], taking=True)
        assert not self.engine.state.tasks, "something never ends"
        assert not self.engine.state.runs
        assert not self.engine.state.leases
        assert not self.engine.state.gates._gates
        self.check_committed()
        assert not self.journal.batches
        check_failed_dependents(self.journal)

    def _workers_say(self) -> list[commands.Command]:
        said: list[commands.Command] = []
        for worker in self.workers:
            self.sessions += 1
            said.extend(worker.act(self.now, self.sessions))
        return said

    def _pass_time(self) -> None:
        dice = self.dice
        due = self.engine.next_due()
        if due is not None and due > self.now and dice.chance(0.2):
            self.now = Micros(due)
        elif dice.chance(0.01):
            self.check_committed()  # a commit may take long, but not as long as what was read before it is remembered
            self.now = Micros(self.now + dice.number(1, HOUR // 4))
        elif dice.chance(0.02):
            self.now = Micros(self.now - dice.number(1, MINUTE))  # a clock that was set back
        else:
            self.now = Micros(self.now + dice.number(0, SECOND))

    def _say_something_stale(self) -> None:
        """A report of a lease that has ended, or is another's, changes nothing."""
        state = self.engine.state
        while state.undecided:
            self.apply([], taking=False)  # what the engine goes on with by itself
        worker = self.dice.pick(self.workers)
        held = {token for token, lease in state.leases.items() if lease.worker.profile.id == worker.id}
        stale = [token for one in self.workers for token in one.past if token not in held]
        if not stale:
            return
        before = self._everything()
        ends = [worker._end(token, self.now) for token in self.dice.some(stale, 5 / len(stale))]
        self.apply([commands.AttemptsEnded(worker.session, worker.id, ends)], taking=False)
        assert self._everything() == before
        assert state.effects.acknowledgements[-1].stale == [end.token for end in ends]

    def _everything(self) -> tuple[object, ...]:
        state = self.engine.state
        return (
            {task_id: task_row(task) for task_id, task in state.tasks.items()},
            {run_id: run_row(run) for run_id, run in state.runs.items()},
            set(state.leases),
            set(state.effects.writes.tasks),
            len(state.effects.writes.attempts),
            len(state.effects.leases),
        )

    # ------------------------------------------------------------------------------------------------------- checking

    def _look(self, live_before: set[TaskId]) -> None:
        """Note ends, revivals and leases; hold each lease to the oracle, and to a token higher than the one before."""
        state = self.engine.state
        for task_id, task in state.effects.writes.tasks.items():
            known = self.tasks.setdefault(task_id, Known(task.project))
            assert known.project == task.project
            if not task.is_live:
                known.ways.add(task.state)
            elif known.ways and task_id not in live_before:
                known.retried = True
        for task in state.tasks.values():
            known = self.tasks[task.id]
            if task.lease is None or task.lease.token == known.token:
                continue
            assert task.lease.token > known.token
            known.token = task.lease.token
            assert len(task.lease.worker.leases) <= task.lease.worker.profile.capacity
            assert task.plan.start_at is None or task.plan.start_at <= state.now
            parents: tuple[TaskId, ...] = task.depends_on
            if task.run is not None:
                parents = tuple(task.run.tasks[parent].id for parent in task.run.plan.graph.parents[task.position])
            allowed = may_have_started(task.trigger_rule, [self.tasks[parent].ways for parent in parents])
            assert allowed or known.retried, "a task is leased before its dependencies allow it"

    def _check_replies(self, replies: list[Reply]) -> None:
        """A repeated request gets the first one's ids, and a key is used once."""
        for command, reply in zip(self._asked, replies, strict=True):
            once = getattr(command, "once", None)
            if once is None or isinstance(reply, Refusal):
                continue
            project: Project = command.project  # type: ignore[union-attr, assignment]  # every command with a key has one
            key = (project, once.key)
            if isinstance(reply, Repeated):
                assert self.answers[key] == (once.digest, reply.ids)
            else:
                assert key not in self.answers
                self.answers[key] = (once.digest, b"".join(_ids(reply)))


def new_engine(seed: int) -> Engine:
    """An engine whose ids and draws follow from the seed."""
    return Engine(epoch=7, new_id=Ids(), draw=Dice(seed + 1).fraction, settings=SETTINGS)


def replay(sim: Simulation) -> list[str]:
    """Apply a story's commands to a new engine; returns its decisions, which must be those of the first."""
    engine = new_engine(sim.seed)
    decisions = []
    for batch, now, taking in sim.log:
        engine.apply(batch, now)
        if taking:
            effects = engine.take_effects()
            decisions.append(describe(effects))
            effects.writes.mark_stored()
    return decisions


def clone(command: commands.Command) -> commands.Command:
    """A copy of a command that shares nothing the engine changes."""
    if isinstance(command, commands.PutBackDependents):
        return replace(command, records=[copy(record) for record in command.records])
    record = getattr(command, "record", None)
    return command if record is None else replace(command, record=copy(record))


def _ids(reply: object) -> list[TaskId]:
    if isinstance(reply, list):
        return reply
    created = getattr(reply, "id", None)
    return [created] if created is not None else []


def describe(effects: Effects) -> str:
    """Effects as text, to compare two of them."""
    writes = effects.writes
    return repr(
        (
            [(id_, task.stored, task_row(task)) for id_, task in writes.tasks.items()],
            sorted(writes.plans_changed),
            [task.id for task in writes.tasks_deleted],
            (writes.failed_dependents, list(writes.dependents_due)),
            [(id_, run.stored, run_row(run)) for id_, run in writes.runs.items()],
            [(id_, job.version, job.state, job.next_due, job.waiting_runs) for id_, job in writes.jobs.items()],
            (writes.attempts, writes.fires, writes.fire_spans, writes.idempotency, writes.batches_closed),
            [(token, batch.worker_id, batch.task_ids) for token, batch in writes.batches_opened.items()],
            [(key, worker.offline, worker.last_heard) for key, worker in writes.workers.items()],
            [type(reply).__name__ for reply in effects.replies],
            [_ids(reply) for reply in effects.replies],
            [(grant.worker_id, grant.session, [lease.token for lease in grant.leases]) for grant in effects.leases],
            (effects.cancellations, effects.acknowledgements, effects.checkpoint_acknowledgements),
            writes.deliveries,
            (effects.heartbeats, effects.disconnects),
        )
    )
