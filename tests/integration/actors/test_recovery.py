"""What a term finds of the one before it: each rule of recovery, on a real database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from foliot.v1 import job_pb2
from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Kind, Outcome, TriggerRule
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import Project, WorkerId
from tests.integration.actors.terms import PROJECT, Terms, first_term, node, plan_of, task_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def terms(database_url: str) -> AsyncIterator[Terms]:
    """The first term."""
    async with first_term(database_url) as terms:
        yield terms


async def test_a_task_of_a_run_that_was_changed_keeps_its_new_plan(terms: Terms) -> None:
    run_id = await terms.start(node("a", line="sleep 1"), node("b", "a", line="old"), node("c", "a", line="kept"))
    changed = terms.tasks_of(run_id)["b"].id
    new = plan_of(task_spec("b", "new", priority=9))
    await terms.ask(commands.UpdateTask(PROJECT, changed, commands.TaskChange(new)))

    await terms.lead()

    run = terms.state.runs[run_id]
    assert terms.state.tasks[changed].plan == new
    assert terms.tasks_of(run_id)["c"].plan is run.plan.nodes[2].plan, "an unchanged one shares the plan of its node"


async def test_a_run_that_goes_on_by_itself_for_many_steps_goes_on_under_a_new_leader(terms: Terms) -> None:
    per_step = terms.state.settings.decisions_per_step
    markers = [job_pb2.JobTask(key=str(n), dependencies=[str(n - 1)] if n else []) for n in range(3 * per_step)]
    run_id = await terms.start(*markers)
    tasks = terms.tasks_of(run_id)
    (next_one,) = terms.state.undecided
    assert next_one is tasks[str(per_step + 1)]

    await terms.lead()

    run = terms.state.runs[run_id]
    assert terms.engine.next_due() == terms.state.now, "it wakes its leader"
    await terms.do(commands.Tick())
    assert run.state is RunState.SUCCEEDED
    assert {await terms.state_of(tasks[key].id) for key in ("0", str(per_step + 1), markers[-1].key)} == {"succeeded"}


@pytest.mark.parametrize(
    ("rule", "missing", "other", "end"),
    [
        (TriggerRule.ONE_SUCCESS, Outcome.FAILED, Outcome.SUCCEEDED, TaskState.READY),
        (TriggerRule.ONE_SUCCESS, Outcome.FAILED, Outcome.FAILED, TaskState.FAILED),
        (TriggerRule.ONE_FAILED, Outcome.SUCCEEDED, Outcome.FAILED, TaskState.READY),
        (TriggerRule.ONE_FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, TaskState.SKIPPED),
        (TriggerRule.ALL_SUCCESS, Outcome.SUCCEEDED, Outcome.SUCCEEDED, TaskState.READY),
        (TriggerRule.NONE_FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, TaskState.READY),
        (TriggerRule.ALL_DONE, Outcome.FAILED, Outcome.FAILED, TaskState.READY),
    ],
)
async def test_a_deleted_dependency_counts_as_it_must_have_ended(
    terms: Terms, rule: TriggerRule, missing: Outcome, other: Outcome, end: TaskState
) -> None:
    gone, left = await terms.submit(), await terms.submit()
    child = await terms.submit(None, gone, left, rule=rule)
    await terms.join(capacity=2)
    record = terms.state.tasks[gone]
    await terms.end(gone, missing)
    await terms.ask(commands.DeleteTask(PROJECT, gone, record=record))
    held = terms.lease_of(left).token

    await terms.lead()

    assert terms.state.tasks[child].state is TaskState.BLOCKED, "its other dependency has not ended"
    await terms.join(capacity=2, held=(held,))
    await terms.do(commands.WorkerDraining(2, terms.lease_of(left).worker.profile.id))
    await terms.end(left, other)
    assert await terms.state_of(child) == end


@pytest.mark.parametrize("start_in", [0, 60])
async def test_a_task_retried_after_its_dependency_failed_survives_a_new_leader_and_a_change(terms: Terms, start_in: int) -> None:
    parent = await terms.submit()
    spec = task_spec()
    spec.start_at.FromDatetime(terms.clock.now() + timedelta(seconds=start_in))
    child = await terms.submit(spec, parent)
    record = terms.state.tasks[child]
    await terms.ask(commands.CancelTask(PROJECT, parent))
    assert await terms.state_of(child) == TaskState.FAILED
    await terms.ask(commands.RetryTask(PROJECT, child, record=record))

    await terms.lead()
    await terms.pass_time(0)

    assert terms.state.tasks[child].state is (TaskState.SCHEDULED if start_in else TaskState.READY)
    await terms.ask(commands.UpdateTask(PROJECT, child, commands.TaskChange(plan_of(task_spec(line="new")))))
    assert await terms.state_of(child) == TaskState.READY
    await terms.join()
    await terms.end(child)
    assert await terms.state_of(child) == TaskState.SUCCEEDED


async def test_workers_keep_their_counts_and_go_offline_unless_they_come_back(terms: Terms) -> None:
    await terms.join("back", capacity=2)
    for outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED):
        await terms.end(await terms.submit(), outcome)
    await terms.join("gone")
    await terms.pass_time(4)
    await terms.join("back", capacity=2)  # its row is written, with its counts
    before = await workers_of(terms)

    await terms.lead()
    assert {worker.profile.id: worker.session for worker in terms.state.workers.values()} == {"back": 0, "gone": 0}
    await terms.join("back", capacity=3)
    back = terms.state.workers[WorkerId("back")]
    await terms.pass_time(4)
    assert not terms.state.workers[WorkerId("gone")].offline, "it has its time to come back"
    await terms.do(commands.Heartbeat(back.session, back.profile.id, 1))
    await terms.pass_time(4)

    after = await workers_of(terms)
    assert after["back"] == {**before["back"], "capacity": 3, "last_heartbeat_at": after["back"]["last_heartbeat_at"]}
    assert after["gone"] == {**before["gone"], "offline": True}

    await terms.lead()
    assert list(terms.state.workers) == ["back"], "those that are known to be gone are not looked for"


async def test_workers_that_were_silent_for_hours_go_offline(terms: Terms) -> None:
    await terms.join()
    terms.clock.advance(5 * 3600)
    await terms.lead()
    await terms.pass_time(60)
    assert (await workers_of(terms))["w1"]["offline"]
    await terms.pass_time(60)
    assert not terms.state.workers


async def test_a_worker_of_one_project_is_known_again_and_keeps_its_leases(terms: Terms) -> None:
    await terms.join("acme:w", project=Project("acme"))
    others = await terms.submit()
    assert terms.state.tasks[others].lease is None, "it is of another project"
    await terms.join("own:w", project=PROJECT, capacity=2)
    first, second = others, await terms.submit()
    await terms.lead()

    worker = terms.state.workers[WorkerId("own:w")]
    assert (worker.project, worker.is_executor) == (PROJECT, False)
    assert [terms.lease_of(task).worker for task in (first, second)] == [worker, worker]
    await terms.join("own:w", project=PROJECT, capacity=2, held=tuple(worker.leases))
    for task in (first, second):
        await terms.end(task)
        assert await terms.state_of(task) == TaskState.SUCCEEDED


async def test_executors_keep_their_claims_and_are_known_again(terms: Terms) -> None:
    task = await terms.submit()
    await terms.ask(claim("x1"))
    before = await workers_of(terms)
    await terms.lead()

    lease = terms.lease_of(task)
    assert lease.worker is terms.state.executors[PROJECT, WorkerId("x1")]
    await terms.pass_time(50)
    await terms.ask(commands.RenewClaim(PROJECT, WorkerId("x1"), task))
    await terms.pass_time(50)
    await terms.end(task)

    assert await terms.state_of(task) == TaskState.SUCCEEDED
    after = (await workers_of(terms))["x1"]
    assert (after["tasks_completed"], after["offline"], after["hostname"]) == (1, False, before["x1"]["hostname"])
    await terms.lead()
    await terms.pass_time(61)
    assert (await workers_of(terms))["x1"]["offline"]


async def test_a_worker_and_an_executor_of_one_id_keep_what_is_theirs(terms: Terms) -> None:
    claimed = await terms.submit()
    await terms.ask(claim("twin"))
    await terms.join("twin")
    leased = await terms.submit()
    await terms.lead()

    assert terms.lease_of(claimed).worker is terms.state.executors[PROJECT, WorkerId("twin")]
    assert terms.lease_of(leased).worker is terms.state.workers[WorkerId("twin")]
    # Its row never said where it ran: the lease was all that the database knew.
    assert (terms.state.tasks[claimed].worker_address, terms.state.tasks[leased].worker_address) == ("host", "host of twin")
    await terms.join("twin", held=(terms.lease_of(leased).token,))
    await terms.end(leased)
    await terms.end(claimed)
    assert {await terms.state_of(claimed), await terms.state_of(leased)} == {TaskState.SUCCEEDED}
    addresses = await terms.connection.fetch("SELECT id, worker_address FROM task_history")
    assert {row["id"]: row["worker_address"] for row in addresses} == {claimed: "host", leased: "host of twin"}


def claim(executor: str) -> commands.ClaimTask:
    return commands.ClaimTask(PROJECT, WorkerId(executor), "host", frozenset({"default"}), frozenset({Kind.COMMAND}))


async def workers_of(terms: Terms) -> dict[str, dict[str, Any]]:
    """The rows of all workers."""
    return {row["id"]: dict(row) for row in await terms.connection.fetch("SELECT * FROM worker")}
