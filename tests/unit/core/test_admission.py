"""Limits on live tasks, of all projects together and of each, and on the pace of a project."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import Outcome, Run
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, MINUTE, SECOND, Project
from tests.unit.core.support import Node, World, job_plan, plan
from tests.unit.core.test_jobs import fired, lasting, minutely
from tests.unit.core.test_submissions import refused

GREEDY = Project("greedy")
OTHER = Project("other")


def submission(project: Project, count: int = 1) -> commands.SubmitTasks:
    return commands.SubmitTasks(project, [commands.NewTask(plan()) for _ in range(count)])


# ---------------------------------------------------------------------------------------------- how many tasks may live


@pytest.fixture
def world() -> World:
    """A world with room for ten tasks, of which one project may have three."""
    return World(CoreSettings(live_tasks_max=10, project_live_tasks_max=3))


def test_a_project_that_is_full_is_refused_by_name_and_the_others_are_not(world: World) -> None:
    world.ask(submission(GREEDY, 3))
    refusal = refused(world, submission(GREEDY))
    assert refusal.reason == "overloaded"
    assert refusal.metadata == {"project": "greedy"}
    assert "the project greedy" in refusal.message
    assert refusal.retry_after == 5 * SECOND
    world.ask(submission(OTHER, 3))


def test_a_wish_that_is_too_large_for_what_is_left_is_refused_whole(world: World) -> None:
    world.ask(submission(GREEDY, 2))
    refused(world, submission(GREEDY, 2))
    world.ask(submission(GREEDY))


def test_the_scheduler_is_full_when_all_projects_together_are(world: World) -> None:
    for name in ("a", "b", "c"):
        world.ask(submission(Project(name), 3))
    assert refused(world, submission(OTHER, 2)).metadata == {}
    world.ask(submission(OTHER))


def test_whatever_ends_makes_room(world: World) -> None:
    world.join()
    first, second, third = [world.submit() for _ in range(3)]
    world.end(first)
    world.submit()
    world.ask(commands.CancelTask(DEFAULT_PROJECT, second))
    world.submit()
    world.end(third, Outcome.FAILED)
    world.submit()
    refused(world, submission(DEFAULT_PROJECT))


def test_a_deleted_task_makes_room(world: World) -> None:
    first, *_ = [world.submit() for _ in range(3)]
    world.ask(commands.DeleteTask(DEFAULT_PROJECT, first))
    world.submit()


def test_a_run_needs_room_for_all_of_its_tasks(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a"), Node("b")))
    world.submit()
    assert isinstance(world.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id)), Run)
    assert refused(world, commands.TriggerJob(DEFAULT_PROJECT, job_id)).metadata == {"project": "default"}


def test_a_retry_needs_room_for_its_task(world: World) -> None:
    world.join()
    task = world.submit()
    world.end(task, Outcome.FAILED)
    world.ask(submission(DEFAULT_PROJECT, 3))
    retry = commands.RetryTask(DEFAULT_PROJECT, task, record=world.record(task))
    assert refused(world, retry).reason == "overloaded"


def test_a_due_time_without_room_in_its_project_is_skipped_and_says_so() -> None:
    world = World(CoreSettings(project_live_tasks_max=1))
    job_id = world.create_job(lasting(minutely()))
    for _ in range(2):
        world.pass_time(MINUTE)
    assert fired(world, job_id) == {1: "run", 2: "overloaded"}


# ----------------------------------------------------------------------------------------------------- how fast they come


@pytest.fixture
def paced() -> World:
    """A world in which a project may ask for ten tasks a second."""
    return World(CoreSettings(project_tasks_per_second=10))


def test_a_project_ahead_of_its_pace_is_told_when_to_come_back(paced: World) -> None:
    paced.ask(submission(GREEDY, 5))
    refusal = refused(paced, submission(GREEDY))
    assert (refusal.reason, refusal.retry_after, refusal.metadata) == ("overloaded", SECOND // 2, {"project": "greedy"})
    paced.pass_time(SECOND // 2)
    paced.ask(submission(GREEDY))


def test_the_pace_of_one_project_is_nothing_to_another(paced: World) -> None:
    paced.ask(submission(GREEDY, 100))
    paced.ask(submission(OTHER))


def test_a_large_wish_is_granted_whole_and_paid_for_afterwards(paced: World) -> None:
    paced.ask(submission(GREEDY, 100))
    paced.pass_time(9 * SECOND)
    assert refused(paced, submission(GREEDY)).retry_after == SECOND
    paced.pass_time(SECOND)
    paced.ask(submission(GREEDY))


def test_runs_that_callers_ask_for_count_with_all_of_their_tasks(paced: World) -> None:
    job_id = paced.create_job(job_plan(*[Node(str(number)) for number in range(10)]))
    paced.ask(commands.TriggerJob(DEFAULT_PROJECT, job_id))
    assert refused(paced, submission(DEFAULT_PROJECT)).retry_after == SECOND


def test_what_is_refused_costs_no_pace(paced: World) -> None:
    task = paced.submit()
    paced.pass_time(SECOND)
    with pytest.raises(Refusal) as refusal:
        paced.ask(commands.RetryTask(DEFAULT_PROJECT, task))
    assert refusal.value.reason == "wrong_state"
    paced.submit()
    assert paced.state_of(task) is TaskState.READY
