"""One term after another on one database: engines that are restored from what the one before has committed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from foliot.kit.clock import ManualClock
from foliot.v1 import job_pb2, spec_pb2
from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Effects, Refusal, Reply
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.model import Job, Kind, Lease, Outcome, Run, Task, TaskPlan, TriggerRule, WorkerProfile
from foliot_scheduler.core.types import DEFAULT_PROJECT, JobId, Micros, Project, RunId, TaskId, Token, WorkerId
from foliot_scheduler.specs.jobs import plan_job
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store import election
from foliot_scheduler.store.commit import Committer
from foliot_scheduler.store.pool import ONE_WRITER, open_connection
from foliot_scheduler.store.recovery import load_live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foliot_scheduler.core.state import State
    from foliot_scheduler.store.pool import Connection

SHARD = 0
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROJECT = DEFAULT_PROJECT


class Terms:
    """The engine of the present term. Every step of it is committed before the next."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.clock = ManualClock(NOON)
        self.began_us = self.clock.now_us()
        self.engine: Engine
        self._committer: Committer
        self.deaf: set[WorkerId] = set()
        """Workers that receive nothing."""
        self._sessions = 0

    @property
    def state(self) -> State:
        return self.engine.state

    async def lead(self) -> Engine:
        """Begin the next term, as a replica does after the death of the leader; returns the engine of the one before."""
        before: Engine | None = getattr(self, "engine", None)
        epoch, _ = await election.take_epoch(self.connection, SHARD)
        self._committer = Committer(self.connection, SHARD, epoch)
        rows = await load_live(self.connection, SHARD)
        self.engine = Engine(epoch=epoch, new_id=self.clock.uuid7, draw=self.clock.random)
        await restore(self.engine, rows, TaskPlans(), Micros(self.clock.now_us()), partial(self.clock.sleep, 0))
        return before or self.engine

    async def do(self, *batch: commands.Command) -> Effects:
        """Apply commands together, commit what follows, and have workers confirm what they are given."""
        effects = self.engine.step(batch, Micros(self.clock.now_us()))
        await self._committer.commit(self._committer.encode(effects.writes))
        for grant in effects.leases:
            if grant.worker_id not in self.deaf:
                await self.do(commands.LeasesAcknowledged(grant.session, grant.worker_id, (grant.batch.first_token,)))
        return effects

    async def ask(self, command: commands.Command) -> Reply:
        """Apply one command and return its reply; raises a refusal."""
        reply = (await self.do(command)).replies[0]
        if isinstance(reply, Refusal):
            raise reply
        return reply

    async def pass_time(self, seconds: float) -> Effects:
        """Let so much time go by."""
        self.clock.advance(seconds)
        return await self.do(commands.Tick())

    # ---------------------------------------------------------------------------------------------------------- wishes

    async def submit(
        self, spec: spec_pb2.TaskSpec | None = None, *after: TaskId, rule: TriggerRule = TriggerRule.ALL_SUCCESS
    ) -> TaskId:
        """Create a task on its own; its dependencies are live."""
        reply = await self.ask(commands.SubmitTasks(PROJECT, [commands.NewTask(plan_of(spec or task_spec()), after, rule)]))
        assert isinstance(reply, Task)
        return reply.id

    async def create_job(self, *nodes: job_pb2.JobTask, **fields: Any) -> JobId:
        """Create a job."""
        reply = await self.ask(commands.CreateJob(PROJECT, plan_job(job_pb2.JobSpec(name="job", tasks=nodes, **fields))))
        assert isinstance(reply, Job)
        return reply.id

    async def start(self, *nodes: job_pb2.JobTask, **fields: Any) -> RunId:
        """Create a job and start a run of it."""
        reply = await self.ask(commands.TriggerJob(PROJECT, await self.create_job(*nodes, **fields)))
        assert isinstance(reply, Run)
        return reply.id

    def tasks_of(self, run_id: RunId) -> dict[str, Task]:
        """The tasks of a live run, by key."""
        return {task.key: task for task in self.state.runs[run_id].tasks}

    # --------------------------------------------------------------------------------------------------------- workers

    async def join(
        self,
        name: str = "w1",
        *queues: str,
        capacity: int = 100,
        held: tuple[Token, ...] = (),
        project: Project | None = None,
    ) -> Effects:
        """Have a worker open a stream; one that is given a project's tasks alone if that is named."""
        self._sessions += 1
        return await self.do(commands.WorkerJoined(self._sessions, profile(name, capacity, *queues), held, project))

    async def pass_time_with_heartbeats(self, seconds: int, *silent: str) -> None:
        """Let time go by, with heartbeats of all workers but the silent ones."""
        for _ in range(0, seconds, 4):
            self.clock.advance(4)
            alive = [worker for name, worker in self.state.workers.items() if worker.session and name not in silent]
            await self.do(*[commands.Heartbeat(worker.session, worker.profile.id, 1) for worker in alive])

    async def end(self, task_id: TaskId, outcome: Outcome = Outcome.SUCCEEDED) -> Effects:
        """Have whoever holds a task report its end."""
        lease = self.lease_of(task_id)
        worker, now = lease.worker, Micros(self.clock.now_us())
        error = "" if outcome is Outcome.SUCCEEDED else "it went wrong"
        if worker.is_executor:
            assert worker.project is not None
            ended = commands.EndClaim(worker.project, worker.profile.id, task_id, outcome, 0, error, b"out", b"err")
            return await self.do(ended)
        end = commands.AttemptEnd(lease.token, outcome, 0, error, b"out", b"err", now, now)
        return await self.do(commands.AttemptsEnded(worker.session, worker.profile.id, [end]))

    def lease_of(self, task_id: TaskId) -> Lease:
        lease = self.state.tasks[task_id].lease
        assert lease is not None, "the task is not leased"
        return lease

    # ------------------------------------------------------------------------------------------------------------ rows

    async def state_of(self, task_id: TaskId) -> str:
        """Where a task stands in PostgreSQL."""
        query = "SELECT state FROM task WHERE id = $1 UNION ALL SELECT state FROM task_history WHERE id = $1"
        found = await self.connection.fetch(query, task_id)
        (row,) = found
        state: str = row["state"]
        return state


@asynccontextmanager
async def first_term(url: str) -> AsyncIterator[Terms]:
    """Begin the first term on an empty database."""
    connection = await open_connection(url, settings=ONE_WRITER)
    try:
        await election.ensure_row(connection, SHARD)
        terms = Terms(connection)
        await terms.lead()
        yield terms
    finally:
        connection.terminate()


def task_spec(name: str = "task", line: str = "true", *, attempts: int = 1, **fields: Any) -> spec_pb2.TaskSpec:
    """A command, tried so many times with ten seconds in between."""
    spec = spec_pb2.TaskSpec(name=name, **fields)
    spec.command.line = line
    if attempts > 1:
        wait = Duration(seconds=10)
        retry = spec_pb2.RetryPolicy(max_attempts=attempts, initial_backoff=wait, max_backoff=wait, multiplier=1.0, jitter=0.0)
        spec.retry.CopyFrom(retry)
    return spec


def marker_spec(name: str = "marker") -> spec_pb2.TaskSpec:
    """Nothing to run."""
    return spec_pb2.TaskSpec(name=name)


def node(
    key: str, *after: str, rule: spec_pb2.TriggerRule.ValueType = spec_pb2.TRIGGER_RULE_UNSPECIFIED, **fields: Any
) -> job_pb2.JobTask:
    """One task of a job."""
    return job_pb2.JobTask(key=key, dependencies=after, trigger_rule=rule, spec=task_spec(key, **fields))


def plan_of(spec: spec_pb2.TaskSpec) -> TaskPlan:
    """The plan of a task on its own."""
    violations = Violations()
    plan = TaskPlans().accept("task.spec", spec, violations)
    violations.raise_if_any()
    assert plan is not None
    return plan


def profile(name: str, capacity: int = 100, *queues: str) -> WorkerProfile:
    """A worker that runs commands of the default queue, or of those named."""
    served, kinds = frozenset(queues or {"default"}), frozenset({Kind.COMMAND, Kind.HTTP})
    return WorkerProfile(
        WorkerId(name), f"host of {name}", "1.2", capacity, served, (("zone", "a"),), kinds, frozenset({"f"}), ("fast",)
    )
