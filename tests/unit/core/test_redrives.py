"""Redrives: another run for one that failed for good, once."""

from __future__ import annotations

import uuid

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import Outcome, Run, Trigger
from foliot_scheduler.core.transitions import RunState
from foliot_scheduler.core.types import DEFAULT_PROJECT, MINUTE, JobId, Project, RunId
from tests.unit.core.support import Node, World, job_plan


@pytest.fixture
def world() -> World:
    world = World()
    world.join()
    return world


def fail(world: World, job_id: JobId) -> RunId:
    """A run that has failed for good."""
    run_id = world.trigger(job_id)
    world.end(world.tasks_of(run_id)["a"], Outcome.FAILED)
    assert world.journal.runs_ended[run_id].state is RunState.FAILED
    return run_id


def redrive(world: World, run_id: RunId, job_id: JobId, once: commands.Once | None = None) -> Run:
    reply = world.ask(commands.RedriveRun(DEFAULT_PROJECT, run_id, job_id, once))
    assert isinstance(reply, Run)
    return reply


def test_a_redrive_runs_the_job_as_it_stands_now(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    dead = fail(world, job_id)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, job_plan(Node("b")), 1))
    run = redrive(world, dead, job_id)
    assert (run.trigger, run.redrive_of, run.job_version) == (Trigger.REDRIVE, dead, 2)
    assert world.journal.redriven == {dead: run.id}
    assert list(world.tasks_of(run.id)) == ["b"]


def test_a_run_is_redriven_once(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    dead = fail(world, job_id)
    # Both were sent on the strength of the same row.
    command = commands.RedriveRun(DEFAULT_PROJECT, dead, job_id)
    first, second = world.do(command, command).replies
    assert isinstance(first, Run)
    assert isinstance(second, Refusal)
    assert (second.reason, second.metadata) == ("wrong_state", {"redriven_by": str(uuid.UUID(bytes=first.id))})
    assert len(world.state.runs) == 1


def test_a_redrive_that_failed_is_redriven_itself(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    first = fail(world, job_id)
    again = redrive(world, first, job_id)
    world.end(world.tasks_of(again.id)["a"], Outcome.FAILED)
    assert redrive(world, again.id, job_id).redrive_of == again.id


def test_a_key_makes_a_redrive_safe_to_repeat(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    dead = fail(world, job_id)
    once = commands.Once("key", b"digest")
    run = redrive(world, dead, job_id, once)
    repeated = world.ask(commands.RedriveRun(DEFAULT_PROJECT, dead, job_id, once))
    assert repeated == (run.id,)
    assert not world.effects.writes


def test_a_deleted_job_is_not_redriven(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    dead = fail(world, job_id)
    world.ask(commands.SetJobState(DEFAULT_PROJECT, job_id, "delete"))
    for project, asked in ((DEFAULT_PROJECT, job_id), (Project("other"), job_id), (DEFAULT_PROJECT, JobId(b"gone" * 4))):
        with pytest.raises(Refusal) as refusal:
            world.ask(commands.RedriveRun(project, dead, asked))
        assert refusal.value.reason == "wrong_state"
        assert not world.effects.writes


def test_a_redrive_keeps_to_the_jobs_limit_and_leaves_the_dead_letter(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a"), max_active_runs=1))
    dead = fail(world, job_id)
    world.trigger(job_id)
    with pytest.raises(Refusal, match="1 runs go on"):
        redrive(world, dead, job_id)
    assert not world.journal.redriven
    assert dead not in world.state.redriven


def test_redrives_of_long_ago_leave_the_memory(world: World) -> None:
    job_id = world.create_job(job_plan(Node("a")))
    first, second = fail(world, job_id), fail(world, job_id)
    redrive(world, first, job_id)
    world.pass_time(3 * MINUTE)
    redrive(world, second, job_id)
    assert list(world.state.redriven) == [second]
