"""Runs: trigger rules, markers, skips that spread, cancelling, and what a run's state says of its tasks."""

from __future__ import annotations

from itertools import product

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.graph import Graph
from foliot_scheduler.core.model import JobPlan, NodePlan, Outcome, Run, Task, TriggerRule
from foliot_scheduler.core.readiness import Readiness, count_parent, readiness
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, Project, RunId, TaskId
from tests.unit.core.oracle import ENDS, verdict
from tests.unit.core.support import NOON, Node, World, job_plan, marker, plan, retried

OK, BAD, CUT, NOT = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED
START, WAIT, NEVER = Readiness.START, Readiness.WAIT, Readiness.NEVER


@pytest.fixture
def world() -> World:
    world = World()
    world.join()
    return world


def ended(world: World, run_id: RunId) -> dict[str, TaskState]:
    """How the tasks of a run ended, by their names."""
    return {row.plan.name: row.state for row in world.journal.history.values() if row.run_id == run_id}


def named(key: str, *after: str, rule: TriggerRule = TriggerRule.ALL_SUCCESS) -> Node:
    return Node(key, after, rule, plan(key))


# ----------------------------------------------------------------------------------------------------------- trigger rules

CASES = [
    # rule, ended dependencies, open ones -> what follows
    ("all_success", [], 0, START),
    ("all_success", [OK], 1, WAIT),
    ("all_success", [OK, OK], 0, START),
    ("all_success", [BAD], 1, NEVER),
    ("all_success", [CUT], 1, NEVER),
    ("all_success", [NOT], 1, NEVER),
    ("all_done", [], 0, START),
    ("all_done", [BAD], 1, WAIT),
    ("all_done", [BAD, NOT, OK, CUT], 0, START),
    ("one_success", [], 0, START),
    ("one_success", [BAD], 1, WAIT),
    ("one_success", [OK], 1, START),
    ("one_success", [BAD, NOT], 0, NEVER),
    ("one_failed", [], 0, START),
    ("one_failed", [OK], 1, WAIT),
    ("one_failed", [BAD], 1, START),
    ("one_failed", [CUT], 1, START),
    ("one_failed", [OK, NOT], 0, NEVER),
    ("none_failed", [], 0, START),
    ("none_failed", [OK], 1, WAIT),
    ("none_failed", [OK, NOT], 0, START),
    ("none_failed", [CUT], 1, NEVER),
    ("always", [], 1, START),
]


def counted(rule: TriggerRule, ends: list[TaskState], still_open: int) -> Task:
    task = Task(TaskId(b""), DEFAULT_PROJECT, plan(), NOON, NOON, trigger_rule=rule, parents_open=still_open)
    for end in ends:
        count_parent(task, end)
    return task


@pytest.mark.parametrize(("rule", "ends", "still_open", "expected"), CASES)
def test_a_trigger_rule_says_start_wait_or_never(rule: str, ends: list[TaskState], still_open: int, expected: Readiness) -> None:
    assert readiness(counted(TriggerRule(rule), ends, still_open)) is expected


@pytest.mark.parametrize("rule", TriggerRule)
def test_every_way_that_three_dependencies_can_stand_agrees_with_the_oracle(rule: TriggerRule) -> None:
    for count in range(4):
        for ends in product((None, *ENDS), repeat=count):
            task = counted(rule, [end for end in ends if end is not None], ends.count(None))
            assert readiness(task) is verdict(rule, ends), (rule, ends)


# --------------------------------------------------------------------------------------------------------- the run itself


def test_a_run_is_pending_then_running_then_succeeded() -> None:
    world = World()
    run_id = world.start(named("a"), named("b", "a"))
    assert world.journal.runs[run_id].state == RunState.PENDING
    world.join()
    assert world.journal.runs[run_id].state == RunState.RUNNING
    for key in ("a", "b"):
        world.end(world.tasks_of(run_id)[key])
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED
    assert not world.journal.runs


def test_tasks_of_a_diamond_run_in_order_and_side_by_side(world: World) -> None:
    run_id = world.start(named("join", "left", "right"), named("left", "top"), named("right", "top"), named("top"))
    tasks = world.tasks_of(run_id)
    assert world.leased() == [tasks["top"]]
    world.end(tasks["top"])
    assert sorted(world.leased()) == sorted([tasks["left"], tasks["right"]])
    world.end(tasks["left"])
    assert world.leased() == [tasks["right"]]
    world.end(tasks["right"])
    assert world.leased() == [tasks["join"]]


def test_a_failure_skips_what_depended_on_success_and_fails_the_run(world: World) -> None:
    run_id = world.start(
        named("a"), named("b", "a"), named("c", "b"), named("clean", "c", rule=TriggerRule.ALL_DONE), named("other")
    )
    tasks = world.tasks_of(run_id)
    world.end(tasks["a"], Outcome.FAILED)
    assert run_id in world.journal.runs
    world.end(tasks["clean"])
    world.end(tasks["other"])
    assert ended(world, run_id) == {"a": BAD, "b": NOT, "c": NOT, "clean": OK, "other": OK}
    assert world.journal.runs_ended[run_id].state == RunState.FAILED


def test_skipped_tasks_alone_do_not_fail_a_run(world: World) -> None:
    run_id = world.start(named("a"), named("alarm", "a", rule=TriggerRule.ONE_FAILED))
    world.end(world.tasks_of(run_id)["a"])
    assert ended(world, run_id) == {"a": OK, "alarm": NOT}
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED


def test_a_retried_task_holds_its_dependents_until_it_succeeds(world: World) -> None:
    run_id = world.start(Node("a", plan=plan("a", retry=retried(2))), named("b", "a"))
    tasks = world.tasks_of(run_id)
    world.end(tasks["a"], Outcome.FAILED)
    assert world.state_of(tasks["b"]) is TaskState.BLOCKED
    world.pass_time(1_000_000)
    world.end(tasks["a"])
    assert world.state_of(tasks["b"]) is TaskState.RUNNING


def test_always_starts_at_once_and_its_end_is_waited_for(world: World) -> None:
    run_id = world.start(named("a"), named("beside", "a", rule=TriggerRule.ALWAYS))
    tasks = world.tasks_of(run_id)
    assert set(world.leased()) == set(tasks.values())
    world.end(tasks["a"], Outcome.FAILED)
    world.end(tasks["beside"])
    assert world.journal.runs_ended[run_id].state == RunState.FAILED


def test_one_success_does_not_wait_for_the_rest(world: World) -> None:
    run_id = world.start(named("a"), named("b"), named("first", "a", "b", rule=TriggerRule.ONE_SUCCESS))
    tasks = world.tasks_of(run_id)
    world.end(tasks["b"])
    assert world.state_of(tasks["first"]) is TaskState.RUNNING


def test_a_run_keeps_the_version_it_started_with(world: World) -> None:
    job_id = world.create_job(job_plan(named("old")))
    run_id = world.trigger(job_id)
    world.ask(commands.UpdateJob(DEFAULT_PROJECT, job_id, job_plan(named("new")), 1))
    assert list(world.tasks_of(run_id)) == ["old"]
    assert (world.journal.runs[run_id].job_version, world.journal.jobs[job_id].version) == (1, 2)
    assert list(world.tasks_of(world.trigger(job_id))) == ["new"]


def test_a_run_of_nothing_succeeds_at_once(world: World) -> None:
    run_id = world.start()
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED
    assert not world.state.runs


def test_a_run_that_does_not_fit_is_refused() -> None:
    world = World(CoreSettings(live_tasks_max=1))
    job_id = world.create_job(job_plan(named("a"), named("b")))
    with pytest.raises(Refusal, match="limit"):
        world.trigger(job_id)
    assert not world.state.tasks


# ---------------------------------------------------------------------------------------------------- markers and depth


def test_markers_pass_without_a_worker() -> None:
    world = World()
    run_id = world.start(Node("a", plan=marker("a")), Node("b", ("a",), plan=marker("b")))
    assert ended(world, run_id) == {"a": OK, "b": OK}
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED


def chain(length: int) -> JobPlan:
    keys = [str(n) for n in range(length)]
    graph = Graph.build([(key, keys[n - 1 : n] if n else []) for n, key in enumerate(keys)])
    nodes = tuple(NodePlan(key, TriggerRule.ALL_SUCCESS, marker()) for key in keys)
    return JobPlan("chain", "", (), None, nodes, graph, 0, b"", b"")


def test_a_hundred_thousand_markers_in_a_row_need_no_recursion() -> None:
    world = World()
    run_id = world.trigger(world.create_job(chain(100_000)))
    world.go_on()
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED
    assert len(world.journal.history) == 100_000
    assert not world.state.tasks


def test_a_hundred_thousand_skips_in_a_row_need_no_recursion(world: World) -> None:
    deep = chain(100_000)
    first = deep.nodes[0]._replace(plan=plan())
    run_id = world.trigger(world.create_job(JobPlan("chain", "", (), None, (first, *deep.nodes[1:]), deep.graph, 0, b"", b"")))
    world.end(world.tasks_of(run_id)["0"], Outcome.FAILED)
    world.go_on()
    assert sum(row.state is TaskState.SKIPPED for row in world.journal.history.values()) == 99_999
    assert world.journal.runs_ended[run_id].state == RunState.FAILED


# ------------------------------------------------------------------------------------------------ so much in one step

PER_STEP = 10


@pytest.fixture
def small_steps() -> World:
    """A world whose engine decides few tasks at once, and whose workers confirm nothing, which would be steps of their own."""
    return World(settings=CoreSettings(decisions_per_step=PER_STEP), acknowledging=False)


def test_what_follows_from_one_end_is_spread_over_steps_that_follow_at_once(small_steps: World) -> None:
    world = small_steps
    run_id = world.trigger(world.create_job(chain(100)))
    assert len(world.journal.history) == 1 + PER_STEP, "the first starts with its run"
    assert world.engine.next_due() == world.now
    world.pass_time()
    assert len(world.journal.history) == 1 + 2 * PER_STEP
    assert world.go_on() == 8
    assert world.engine.next_due() is None
    assert world.journal.runs_ended[run_id].state == RunState.SUCCEEDED


def test_a_task_that_many_wait_for_starts_some_of_them_in_each_step(small_steps: World) -> None:
    world = small_steps
    world.join()
    world.start(named("first"), *[named(f"t{n}", "first") for n in range(25)])
    world.end(world.leased()[0])
    assert len(world.leased()) == PER_STEP
    world.pass_time()
    assert len(world.leased()) == 2 * PER_STEP
    world.pass_time()
    assert len(world.leased()) == 25


def test_a_long_run_lets_others_go_on_beside_it(small_steps: World) -> None:
    world = small_steps
    long, short = world.trigger(world.create_job(chain(100))), world.trigger(world.create_job(chain(4)))
    world.pass_time()
    assert short in world.journal.runs_ended
    assert long in world.state.runs


def test_tasks_whose_turn_is_to_come_are_cancelled_with_their_run(small_steps: World) -> None:
    world = small_steps
    run_id = world.trigger(world.create_job(chain(100)))
    reply = world.ask(commands.CancelRun(DEFAULT_PROJECT, run_id))
    assert isinstance(reply, Run)
    assert reply.state is RunState.CANCELLED
    assert sum(row.state is TaskState.CANCELLED for row in world.journal.history.values()) == 100 - (1 + 2 * PER_STEP)
    assert world.go_on() == 1
    assert not world.state.tasks
    assert world.engine.next_due() is None


def test_a_task_whose_turn_is_to_come_may_be_changed_to_wait_on(small_steps: World) -> None:
    """What decides is what its dependencies say when its turn comes."""
    world = small_steps
    world.join()
    world.start(
        named("first"),
        named("other"),
        *[named(f"t{n}", "first") for n in range(PER_STEP)],
        named("late", "first", "other", rule=TriggerRule.ONE_SUCCESS),
    )
    (late,) = [task for task in world.state.tasks.values() if task.key == "late"]
    world.end(next(task.id for task in world.state.tasks.values() if task.key == "first"))
    assert late in world.state.undecided
    change = commands.UpdateTask(DEFAULT_PROJECT, late.id, commands.TaskChange(trigger_rule=TriggerRule.ALL_SUCCESS))
    world.do(change)
    world.go_on()
    assert world.state_of(late.id) is TaskState.BLOCKED
    world.end(next(task.id for task in world.state.tasks.values() if task.key == "other"))
    assert world.state_of(late.id) is TaskState.RUNNING


# -------------------------------------------------------------------------------------------------------------- cancelling


def test_cancelling_a_run_cancels_what_is_live_and_nothing_else(world: World) -> None:
    run_id = world.start(named("done"), named("runs"), named("waits", "runs"), named("clean", "runs", rule=TriggerRule.ALL_DONE))
    tasks = world.tasks_of(run_id)
    world.end(tasks["done"])
    token = world.lease_of(tasks["runs"]).token
    reply = world.ask(commands.CancelRun(DEFAULT_PROJECT, run_id))
    assert isinstance(reply, Run)
    assert reply.state is RunState.CANCELLED
    assert ended(world, run_id) == {"done": OK, "runs": CUT, "waits": CUT, "clean": CUT}
    assert world.effects.cancellations[0].tokens == [token]
    assert world.journal.runs_ended[run_id].state == RunState.CANCELLED


def test_cancelling_one_task_of_a_run_fails_the_run(world: World) -> None:
    run_id = world.start(named("a"), named("b", "a"), named("clean", "a", rule=TriggerRule.ALL_DONE))
    tasks = world.tasks_of(run_id)
    world.cancel(tasks["a"])
    world.end(tasks["clean"])
    assert ended(world, run_id) == {"a": CUT, "b": NOT, "clean": OK}
    assert world.journal.runs_ended[run_id].state == RunState.FAILED


def test_an_ended_run_and_another_projects_run_are_not_cancelled(world: World) -> None:
    run_id = world.start(named("a"))
    for command in (commands.CancelRun(Project("other"), run_id), commands.CancelRun(DEFAULT_PROJECT, RunId(b"\xff" * 16))):
        with pytest.raises(Refusal, match="no such run"):
            world.ask(command)
    world.end(world.tasks_of(run_id)["a"])
    with pytest.raises(Refusal, match="no such run"):
        world.ask(commands.CancelRun(DEFAULT_PROJECT, run_id))


def test_tasks_of_a_run_are_not_deleted_or_retried_one_by_one(world: World) -> None:
    run_id = world.start(named("a"), named("b"))
    task = world.tasks_of(run_id)["a"]
    world.end(task, Outcome.FAILED)
    with pytest.raises(Refusal, match="belongs to a run"):
        world.delete(task)
    with pytest.raises(Refusal, match="belongs to a run"):
        world.retry(task)
