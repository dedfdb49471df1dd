"""What the tests of the core share: builders of plans, and a world of one engine, its journal and its workers.

`World` is for tests that tell a story: every call steps the engine, commits, and has the workers receive what was sent to
them. What is random, concurrent or faulty lives in `simulation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foliot_scheduler.core import commands
from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.effects import Effects, Refusal, Repeated, Reply
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.graph import Graph
from foliot_scheduler.core.model import (
    ConcurrencyLimit,
    ConcurrencyPolicy,
    Job,
    JobPlan,
    Kind,
    Lease,
    MisfirePolicy,
    NodePlan,
    Outcome,
    Placement,
    RetryPolicy,
    Run,
    SchedulePlan,
    Stored,
    Task,
    TaskPlan,
    TriggerRule,
    WorkerProfile,
)
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import (
    DEFAULT_PROJECT,
    HOUR,
    SECOND,
    JobId,
    Micros,
    Project,
    RunId,
    Span,
    TaskId,
    Token,
    WorkerId,
)
from tests.unit.core.fake_journal import FakeJournal

NOON = Micros(1_795_176_000_000_000)
"""2026-11-20 12:00:00 UTC, a Friday."""

KINDS = frozenset({Kind.COMMAND, Kind.HTTP, Kind.BINARY, Kind.FUNCTION})


def placement(*, queue: str = "default", kind: Kind = Kind.COMMAND, function: str = "", **labels: str) -> Placement:
    return Placement(queue, kind, function, tuple(sorted(labels.items())))


def plan(
    name: str = "task",
    *,
    at: Placement | None = None,
    priority: int = 5,
    limits: tuple[ConcurrencyLimit, ...] = (),
    start_at: Micros | None = None,
    timeout: Span = HOUR,
    retry: RetryPolicy | None = None,
) -> TaskPlan:
    return TaskPlan(name, at or placement(), priority, (), limits, start_at, timeout, retry or RetryPolicy(), name.encode())


def marker(name: str = "marker") -> TaskPlan:
    return plan(name, at=placement(kind=Kind.MARKER))


def limited(key: str, max_running: int, *more: tuple[str, int], name: str = "task", priority: int = 5) -> TaskPlan:
    limits = (ConcurrencyLimit(key, max_running), *(ConcurrencyLimit(*one) for one in more))
    return plan(name, limits=limits, priority=priority)


def retried(attempts: int, *, wait: Span = SECOND, on: frozenset[Outcome] | None = None) -> RetryPolicy:
    """So many attempts with the same wait between them, without jitter."""
    retry_on = frozenset({Outcome.FAILED, Outcome.TIMED_OUT}) if on is None else on
    return RetryPolicy(attempts, wait, 1.0, wait, 0.0, retry_on)


@dataclass(frozen=True)
class Node:
    """One task of a job, as a test writes it."""

    key: str
    after: tuple[str, ...] = ()
    rule: TriggerRule = TriggerRule.ALL_SUCCESS
    plan: TaskPlan = field(default_factory=plan)


def job_plan(*nodes: Node, schedule: SchedulePlan | None = None, max_active_runs: int = 0, name: str = "job") -> JobPlan:
    graph = Graph.build([(node.key, node.after) for node in nodes])
    planned = tuple(NodePlan(node.key, node.rule, node.plan) for node in nodes)
    return JobPlan(name, "", (), schedule, planned, graph, max_active_runs, b"job", b"head")


def schedule(
    expression: str,
    *,
    timezone: str = "UTC",
    max_jitter: Span = Span(0),
    misfire: MisfirePolicy = MisfirePolicy.FIRE_ONCE,
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW,
) -> SchedulePlan:
    return SchedulePlan(parse_schedule(expression, timezone), expression, timezone, max_jitter, misfire, concurrency)


def profile(
    worker_id: str = "w1",
    *,
    capacity: int = 100,
    queues: frozenset[str] = frozenset({"default"}),
    kinds: frozenset[Kind] = KINDS,
    functions: frozenset[str] = frozenset(),
    labels: tuple[tuple[str, str], ...] = (),
) -> WorkerProfile:
    return WorkerProfile(WorkerId(worker_id), "host", "1", capacity, queues, labels, kinds, functions, ())


class Ids:
    """Ids that sort by creation, as UUIDv7 do."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> bytes:
        self.given += 1
        return self.given.to_bytes(16, "big")


@dataclass
class World:
    """An engine whose every decision is committed at once and whose workers confirm what they receive."""

    settings: CoreSettings = field(default_factory=CoreSettings)
    now: Micros = NOON
    drawn: float = 0.5
    acknowledging: bool = True

    def __post_init__(self) -> None:
        self.engine = Engine(epoch=1, new_id=Ids(), draw=lambda: self.drawn, settings=self.settings)
        self.state = self.engine.state
        self.journal = FakeJournal()
        self.effects = Effects()
        """Those of the latest step."""
        self.held: dict[WorkerId, dict[Token, Lease]] = {}
        """What each worker received and was not told to stop, and has not reported."""
        self.sessions = 0

    # ----------------------------------------------------------------------------------------------------- the engine

    def do(self, *batch: commands.Command) -> Effects:
        """Apply commands together and commit what follows."""
        effects = self.effects = self.engine.step(batch, self.now)
        self.journal.apply(effects.writes)
        for grant in effects.leases:
            self.held.setdefault(grant.worker_id, {}).update({lease.token: lease for lease in grant.leases})
        for cancellation in effects.cancellations:
            for token in cancellation.tokens:
                self.held[cancellation.worker_id].pop(token, None)
        if effects.leases and self.acknowledging:
            for grant in effects.leases:
                confirm = commands.LeasesAcknowledged(grant.session, grant.worker_id, (grant.batch.first_token,))
                self.engine.apply([confirm], self.now)
            self.journal.apply(self.engine.take_effects().writes)
        return effects

    def ask(self, command: commands.Command) -> Reply:
        """Apply one command and return its reply; raises a refusal."""
        reply = self.do(command).replies[0]
        if isinstance(reply, Refusal):
            raise reply
        return reply

    def pass_time(self, span: int = 0) -> Effects:
        """Let so many µs go by."""
        self.now = Micros(self.now + span)
        return self.do(commands.Tick())

    def go_on(self) -> int:
        """Let the engine do what it goes on with by itself, step by step; returns how many steps that took."""
        steps = 0
        while self.engine.next_due() == self.now:
            self.do(commands.Tick())
            steps += 1
        return steps

    # ---------------------------------------------------------------------------------------------------------- tasks

    def submit(
        self,
        task: TaskPlan | None = None,
        *after: TaskId,
        rule: TriggerRule = TriggerRule.ALL_SUCCESS,
        project: Project = DEFAULT_PROJECT,
        once: commands.Once | None = None,
    ) -> TaskId:
        """Create a task on its own."""
        new = commands.NewTask(task or plan(), after, rule)
        ended = {id_: self.journal.history[id_].state for id_ in after if id_ in self.journal.history}
        reply = self.ask(commands.SubmitTasks(project, [new], once, ended=ended))
        if isinstance(reply, Repeated):
            return TaskId(reply.ids)
        assert isinstance(reply, Task)
        return reply.id

    def cancel(self, task_id: TaskId) -> Task:
        reply = self.ask(commands.CancelTask(self.journal.row(task_id).project, task_id, record=self.record(task_id)))
        assert isinstance(reply, Task)
        return reply

    def retry(self, task_id: TaskId) -> Task:
        reply = self.ask(commands.RetryTask(DEFAULT_PROJECT, task_id, record=self.record(task_id)))
        assert isinstance(reply, Task)
        return reply

    def change(self, task_id: TaskId, change: commands.TaskChange) -> Task:
        ended = {id_: row.state for id_, row in self.journal.history.items()}
        command = commands.UpdateTask(DEFAULT_PROJECT, task_id, change, ended, record=self.record(task_id))
        reply = self.ask(command)
        assert isinstance(reply, Task)
        return reply

    def delete(self, task_id: TaskId) -> None:
        self.ask(commands.DeleteTask(DEFAULT_PROJECT, task_id, record=self.record(task_id)))

    def record(self, task_id: TaskId) -> Task | None:
        """The row of a task that is not live, as a caller reads it from PostgreSQL."""
        return None if task_id in self.state.tasks else record_of(self.journal, task_id)

    def task(self, task_id: TaskId) -> Task:
        """The live task."""
        return self.state.tasks[task_id]

    def state_of(self, task_id: TaskId) -> TaskState:
        """Where a task stands: in memory if it is live, else as it is stored."""
        task = self.state.tasks.get(task_id)
        return task.state if task is not None else self.journal.history[task_id].state

    # ----------------------------------------------------------------------------------------------------------- jobs

    def create_job(self, spec: JobPlan, *, paused: bool = False) -> JobId:
        reply = self.ask(commands.CreateJob(DEFAULT_PROJECT, spec, paused=paused))
        assert isinstance(reply, Job)
        return reply.id

    def trigger(self, job_id: JobId) -> RunId:
        reply = self.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id))
        assert isinstance(reply, Run)
        return reply.id

    def start(self, *nodes: Node) -> RunId:
        """Create a job and start a run of it."""
        return self.trigger(self.create_job(job_plan(*nodes)))

    def tasks_of(self, run_id: RunId) -> dict[str, TaskId]:
        """The tasks of a live run, by key."""
        return {task.key: task.id for task in self.state.runs[run_id].tasks}

    # -------------------------------------------------------------------------------------------------------- workers

    def join(self, worker_id: str = "w1", *, said: WorkerProfile | None = None, held: tuple[Token, ...] = ()) -> int:
        """Have a worker open a stream; returns its session."""
        self.sessions += 1
        self.do(commands.WorkerJoined(self.sessions, said or profile(worker_id), held))
        return self.sessions

    def beat(self, worker_id: str = "w1") -> Effects:
        """A heartbeat on the worker's stream."""
        worker = self.state.workers[WorkerId(worker_id)]
        return self.do(commands.Heartbeat(worker.session, worker.profile.id, 1))

    def lease_of(self, task_id: TaskId) -> Lease:
        lease = self.state.tasks[task_id].lease
        assert lease is not None, "the task is not leased"
        return lease

    def leased(self, worker_id: str = "w1") -> list[TaskId]:
        """The tasks that a worker holds, in the order it received them."""
        return [lease.task.id for lease in self.held.get(WorkerId(worker_id), {}).values()]

    def end(self, task_id: TaskId, outcome: Outcome = Outcome.SUCCEEDED, *, error: str = "") -> Effects:
        """Have the worker that holds a task report its end."""
        lease = self.lease_of(task_id)
        return self.report(lease.worker.profile.id, lease.token, outcome, error=error)

    def report(self, worker_id: str, token: Token, outcome: Outcome = Outcome.SUCCEEDED, *, error: str = "") -> Effects:
        """Have any worker report the end of any token."""
        self.held.get(WorkerId(worker_id), {}).pop(token, None)
        end = commands.AttemptEnd(token, outcome, None, error, b"out", b"err", self.now, self.now)
        return self.do(commands.AttemptsEnded(1, WorkerId(worker_id), [end]))


def record_of(journal: FakeJournal, task_id: TaskId) -> Task | None:
    """A task as PostgreSQL has it; None when there is none."""
    row = journal.live.get(task_id) or journal.history.get(task_id)
    if row is None:
        return None
    return Task(
        task_id,
        row.project,
        row.plan,
        row.created,
        row.updated,
        state=row.state,
        trigger_rule=row.trigger_rule,
        run_id=row.run_id,
        position=row.position,
        depends_on=row.depends_on,
        attempt=row.attempt,
        failed_attempts=row.failed_attempts,
        lost_attempts=row.lost_attempts,
        due=row.due,
        worker_id=row.worker_id,
        started=row.started,
        ended=row.ended,
        outcome=row.outcome,
        exit_code=row.exit_code,
        error=row.error,
        stored=Stored.LIVE if row.is_live else Stored.HISTORY,
        row_state=row.state,
        row_priority=row.plan.priority,
    )
