"""What a term finds of the one before it: each rule of recovery, on a real database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Outcome, TriggerRule
from foliot_scheduler.core.transitions import TaskState
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
async def test_a_retried_task_whose_dependency_failed_survives_both_a_new_leader_and_a_change(terms: Terms, start_in: int) -> None:
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
