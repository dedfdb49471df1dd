"""What a term finds of the one before it: each rule of recovery, on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foliot_scheduler.core import commands
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
