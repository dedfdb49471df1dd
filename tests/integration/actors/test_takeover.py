"""A term that has everything in it at once is taken over: nothing is lost, nothing differs, and all of it ends as it must."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from foliot.v1 import job_pb2, spec_pb2
from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Kind, Outcome, TriggerRule
from foliot_scheduler.core.transitions import LIVE_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import JobId, WorkerId
from tests.integration.actors.likeness import assert_alike
from tests.integration.actors.terms import PROJECT, Terms, first_term, node, plan_of, task_spec
from tests.unit.core.invariants import check_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import RunId, TaskId

QUEUES = ("default", "nobody", "doomed", "deaf", "claims")


@pytest.fixture
async def terms(database_url: str) -> AsyncIterator[Terms]:
    """The first term, with two workers that confirm what they are given."""
    async with first_term(database_url) as terms:
        await terms.join("w1")
        await terms.join("w2")
        yield terms


class Story:
    """What goes on when the leader dies."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.rules: RunId
        self.scheduled: JobId
        self.not_succeeded: dict[str, str] = {}
        """Names of tasks that do not succeed, and how they end."""

    async def tell(self) -> None:
        """Everything at once; what takes time comes first."""
        await self._scheduled_runs_and_lost_attempts()
        await self._run_with_every_rule()
        await self._runs_of_other_kinds()
        await self._waits_and_retries()
        await self._limits_and_claims()
        await self._dependencies()

    async def _scheduled_runs_and_lost_attempts(self) -> None:
        """A run that goes on with two due times waiting behind it; attempts lost with their worker, and never confirmed."""
        terms = self.terms
        schedule = job_pb2.Schedule(cron="* * * * *", concurrency_policy=job_pb2.CONCURRENCY_POLICY_QUEUE)
        self.scheduled = await terms.create_job(node("tick"), schedule=schedule)
        await terms.join("dying", "doomed")
        terms.deaf.add(WorkerId("deaf one"))
        await terms.join("deaf one", "deaf")
        await terms.submit(task_spec("lost with its worker", queue="doomed"))
        await terms.submit(task_spec("never confirmed", queue="deaf"))
        await terms.pass_time_with_heartbeats(180, "dying")
        job = terms.state.jobs[self.scheduled]
        assert len(job.active_runs) == 1
        assert len(job.waiting_runs) == 2

    async def _run_with_every_rule(self) -> None:
        terms = self.terms
        self.rules = await terms.start(
            node("good"),
            node("bad"),
            node("slow"),
            node("all-success", "good", "slow"),
            node("all-done", "bad", "slow", rule=spec_pb2.TRIGGER_RULE_ALL_DONE),
            node("one-success", "bad", "slow", rule=spec_pb2.TRIGGER_RULE_ONE_SUCCESS),
            node("one-failed", "good", "slow", rule=spec_pb2.TRIGGER_RULE_ONE_FAILED),
            node("none-failed", "good", "slow", "skipped", rule=spec_pb2.TRIGGER_RULE_NONE_FAILED),
            node("always", "slow", rule=spec_pb2.TRIGGER_RULE_ALWAYS),
            node("skipped", "bad"),
            job_pb2.JobTask(key="marker", dependencies=["slow"]),
            node("tried-again", attempts=3),
            node("changed", "slow"),
            node("cancelled"),
        )
        tasks = terms.tasks_of(self.rules)
        self.not_succeeded |= {"bad": "failed", "one-failed": "skipped", "skipped": "skipped", "cancelled": "cancelled"}
        await terms.end(tasks["good"].id)
        await terms.end(tasks["bad"].id, Outcome.FAILED)
        await terms.end(tasks["tried-again"].id, Outcome.FAILED)
        await terms.ask(commands.CancelTask(PROJECT, tasks["cancelled"].id))
        change = commands.TaskChange(plan_of(task_spec("changed", "new line")))
        await terms.ask(commands.UpdateTask(PROJECT, tasks["changed"].id, change))

    async def _runs_of_other_kinds(self) -> None:
        """One of which nothing has started, and one that was cancelled whole."""
        terms = self.terms
        pending = await terms.start(node("first", queue="nobody"), node("second", "first"))
        assert terms.state.runs[pending].state is RunState.PENDING
        cancelled = await terms.start(node("cancelled-with-its-run"))
        self.not_succeeded["cancelled-with-its-run"] = "cancelled"
        await terms.ask(commands.CancelRun(PROJECT, cancelled))
        dead = await terms.start(node("dead-letter"))
        job_id = terms.state.runs[dead].job_id
        await terms.end(terms.tasks_of(dead)["dead-letter"].id, Outcome.FAILED)
        await terms.ask(commands.RedriveRun(PROJECT, dead, job_id))

    async def _waits_and_retries(self) -> None:
        terms = self.terms
        spec = task_spec("delayed")
        spec.start_at.FromDatetime(terms.clock.now() + timedelta(seconds=100))
        await terms.submit(spec)
        backing_off = await terms.submit(task_spec("backing off", attempts=5, checkpoint_enabled=True))
        await self._save_checkpoint(backing_off, '{"half": true}')
        await terms.end(backing_off, Outcome.FAILED)
        await terms.pass_time_with_heartbeats(12)
        await terms.end(backing_off, Outcome.TIMED_OUT)
        running = await terms.submit(task_spec("long", checkpoint_enabled=True))
        lease = terms.lease_of(running)
        started = [commands.AttemptStarted(lease.token, terms.state.now)]
        await terms.do(commands.AttemptsStarted(lease.worker.session, lease.worker.profile.id, started))
        await self._save_checkpoint(running, "{}")
        revived = await terms.submit(task_spec("revived", queue="default"))
        record = terms.state.tasks[revived]
        await terms.end(revived, Outcome.FAILED)
        await terms.ask(commands.RetryTask(PROJECT, revived, record=record))

    async def _save_checkpoint(self, task_id: TaskId, text: str) -> None:
        lease = self.terms.lease_of(task_id)
        worker = lease.worker
        await self.terms.do(commands.CheckpointReported(worker.session, worker.profile.id, lease.token, 1, text))

    async def _limits_and_claims(self) -> None:
        terms = self.terms
        limits = [spec_pb2.ConcurrencyLimit(key="printer", max_running=1)]
        for number in range(3):
            await terms.submit(task_spec(f"prints {number}", limits=limits))
        for number in range(3):
            await terms.submit(task_spec(f"claimed {number}", queue="claims"))
        for executor in ("x1", "x2"):
            claim = commands.ClaimTask(PROJECT, WorkerId(executor), "host", frozenset({"claims"}), frozenset({Kind.COMMAND}))
            await terms.ask(claim)
        # Two of one batch have ended, one goes on.
        bulk = [commands.NewTask(plan_of(task_spec(f"bulk {number}"))) for number in range(6)]
        effects = await terms.do(commands.SubmitTasks(PROJECT, bulk))
        for grant in effects.leases:
            for lease in grant.leases[1:]:
                await terms.end(lease.task.id)

    async def _dependencies(self) -> None:
        terms = self.terms
        done, failing, waited_for = [await terms.submit(task_spec(name)) for name in ("done", "failing", "waited for")]
        of_run = terms.tasks_of(self.rules)["slow"].id
        await terms.submit(task_spec("after done"), done, waited_for)
        last = await terms.submit(task_spec("after a run's"), of_run, waited_for)
        await terms.submit(task_spec("after both"), last, done, failing, rule=TriggerRule.ALL_DONE)
        await terms.submit(task_spec("after one failed"), waited_for, rule=TriggerRule.ONE_FAILED)
        await terms.submit(task_spec("after one success"), failing, waited_for, rule=TriggerRule.ONE_SUCCESS)
        await terms.submit(task_spec("after a failed one"), failing)
        await terms.end(done)
        await terms.end(failing, Outcome.FAILED)
        self.not_succeeded |= {"failing": "failed", "after a failed one": "failed", "after one failed": "skipped"}


async def test_a_term_with_everything_in_it_is_taken_over_and_finished(terms: Terms) -> None:
    story = Story(terms)
    await story.tell()
    check_engine(terms.engine)
    check_rich(terms.state)

    before = await terms.lead()

    check_engine(terms.engine)
    assert_alike(before.state, terms.state)
    assert terms.state.next_tokens(1) > max(before.state.leases)
    counts = {name: (worker.succeeded, worker.failed) for name, worker in terms.state.workers.items() if worker.leases}
    assert set(counts) == {"w1", "w2", "deaf one"}
    await finish(terms)

    check_engine(terms.engine)
    await check_ends(terms, story)


async def test_a_term_is_taken_over_again_before_anybody_came_back(terms: Terms) -> None:
    story = Story(terms)
    await story.tell()
    before = await terms.lead()
    await terms.pass_time(1)
    await terms.lead()
    assert_alike(before.state, terms.state)
    for _ in range(3):
        await terms.pass_time(30)  # nobody comes back: all that was leased runs again, claims a minute later
    assert not terms.state.leases
    await terms.lead()
    check_engine(terms.engine)
    await finish(terms)
    await check_ends(terms, story)


def check_rich(state: State) -> None:
    """Make sure that the story has what recovery has a rule for."""
    live = list(state.tasks.values())
    assert {task.state for task in live} == LIVE_TASK_STATES
    assert {task.trigger_rule for task in live} == set(TriggerRule)
    assert {run.state for run in state.runs.values()} == {RunState.PENDING, RunState.RUNNING}
    assert {task.outcome for task in live} >= {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST, None}
    assert any(task.lost_attempts for task in live)
    assert any(task.checkpoint and task.lease for task in live)
    assert any(task.checkpoint and not task.lease for task in live)
    assert any(task.run is not None and task.plan != task.run.plan.nodes[task.position].plan for task in live)
    assert any(task.run is not None and task.children for task in live)
    assert any(batch.open < len(batch.task_ids) for batch in state.batches.values())
    assert any(not batch.acknowledged for batch in state.batches.values())
    assert state.gates.waiting() == 2
    assert len(state.executors) == 2
    assert len({lease.worker.profile.id for lease in state.leases.values()}) == 5


async def finish(terms: Terms) -> None:
    """Have the workers come back with what they hold, and everything succeed."""
    terms.deaf.clear()
    for name, worker in list(terms.state.workers.items()):
        if worker.leases:
            await terms.join(name, *QUEUES, held=tuple(worker.leases))
    if "w1" not in terms.state.workers or not terms.state.workers[WorkerId("w1")].session:
        await terms.join("w1", *QUEUES)
    while terms.state.tasks:
        if terms.state.leases:
            for lease in list(terms.state.leases.values()):
                await terms.end(lease.task.id)
        else:
            await terms.pass_time_with_heartbeats(4)


async def check_ends(terms: Terms, story: Story) -> None:
    """Look at what PostgreSQL has in the end."""
    fetch = terms.connection.fetch
    for table in ("task", "run", "lease_batch"):
        assert await fetch(f"SELECT * FROM {table}") == [], table
    ends = {row["name"]: row["state"] for row in await fetch("SELECT name, state FROM task_history")}
    assert {name: state for name, state in ends.items() if state != TaskState.SUCCEEDED} == story.not_succeeded
    told = "SELECT array_agg(number ORDER BY number) FROM attempt WHERE task_id = task_history.id"
    rows = await fetch(f"SELECT name, attempt, outcome, ({told}) AS told FROM task_history")
    for row in rows:
        last = row["attempt"] if row["outcome"] is None else row["attempt"] - 1
        assert (row["told"] or []) == list(range(1, last + 1)), f"the attempts of {row['name']}"
    (changed,) = await fetch("SELECT spec FROM task_history WHERE name = 'changed'")
    assert spec_pb2.TaskSpec.FromString(changed["spec"]).command.line == "new line"
    runs = {row["id"]: row["state"] for row in await fetch("SELECT id, state FROM run_history")}
    assert runs[story.rules] == RunState.FAILED
    fires = await fetch("SELECT run_id FROM fire WHERE job_id = $1", story.scheduled)
    assert len(fires) >= 3
    assert all(runs[fire["run_id"]] == RunState.SUCCEEDED for fire in fires), "a run that waited was forgotten"
