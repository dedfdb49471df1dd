"""Concurrency limits: never exceeded, in order, and no free place is forgotten."""

from __future__ import annotations

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Kind, Outcome, TaskPlan
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, SECOND, Project, TaskId, WorkerId
from tests.unit.core.invariants import check_engine
from tests.unit.core.support import Node, World, limited, placement, plan, profile, retried


def running(world: World) -> list[TaskId]:
    return [task.id for task in world.state.tasks.values() if task.state is TaskState.RUNNING]


def test_no_more_than_the_limit_run_and_the_rest_follow_in_order() -> None:
    world = World()
    world.join()
    tasks = [world.submit(limited("key", 2)) for _ in range(5)]
    for n in range(3):
        assert running(world) == tasks[n : n + 2]
        world.end(tasks[n])
    assert running(world) == tasks[3:]


def test_what_a_limit_holds_back_does_not_hold_back_others() -> None:
    world = World()
    world.join()
    held = [world.submit(limited("key", 1)) for _ in range(3)]
    free = world.submit()
    assert running(world) == [held[0], free]
    assert world.state.ready.count == 0


def test_projects_do_not_share_limits() -> None:
    world = World()
    world.join()
    tasks = [world.submit(limited("key", 1), project=Project(name)) for name in ("red", "blue")]
    assert running(world) == tasks


def test_a_task_passes_all_of_its_limits_or_none() -> None:
    world = World()
    world.join()
    a, b = world.submit(limited("a", 1)), world.submit(limited("b", 1))
    both = world.submit(limited("a", 1, ("b", 1)))
    world.end(a)
    assert world.state_of(both) is TaskState.READY
    assert world.state_of(world.submit(limited("a", 1))) is TaskState.RUNNING, "who waits for b does not occupy a"
    world.end(b)
    assert world.state_of(both) is TaskState.READY
    world.end(running(world)[0])
    assert world.state_of(both) is TaskState.RUNNING


def test_a_place_becomes_free_however_the_attempt_ends() -> None:
    world = World()
    world.join()
    tasks = [world.submit(limited("key", 1)) for _ in range(5)]
    world.end(tasks[0], Outcome.FAILED)
    world.cancel(tasks[1])
    assert running(world) == [tasks[2]]
    session = world.state.workers[world.lease_of(tasks[2]).worker.profile.id].session
    world.do(commands.LeasesReleased(session, profile().id, (world.lease_of(tasks[2]).token,)))
    assert running(world) == [tasks[2]], "what was given back comes first"
    world.end(tasks[2])
    assert running(world) == [tasks[3]]


def test_an_attempt_that_waits_for_its_backoff_holds_no_place() -> None:
    world = World()
    world.join()
    first = world.submit(limited("key", 1)._replace(retry=retried(2)))
    second = world.submit(limited("key", 1))
    world.end(first, Outcome.FAILED)
    assert running(world) == [second]
    world.pass_time(SECOND)
    assert world.state_of(first) is TaskState.READY
    world.end(second)
    assert running(world) == [first]


def chance_given(world: World) -> list[TaskId]:
    """Three tasks of one limit: the first has ended, the second may go on, and no worker is there to take it."""
    session = world.join()
    tasks = [world.submit(limited("key", 1)) for _ in range(3)]
    world.do(commands.WorkerDraining(session, profile().id))
    world.end(tasks[0])
    assert world.task(tasks[1]).lane is not None
    assert world.task(tasks[2]).lane is None
    return tasks


def test_a_cancelled_task_passes_its_chance_on() -> None:
    world = World()
    tasks = chance_given(world)
    world.cancel(tasks[1])
    world.join()
    assert running(world) == [tasks[2]]


def test_a_deleted_task_passes_its_chance_on() -> None:
    world = World()
    tasks = chance_given(world)
    world.delete(tasks[1])
    world.join()
    assert running(world) == [tasks[2]]


def test_a_task_changed_to_have_no_limit_passes_its_chance_on() -> None:
    world = World()
    tasks = chance_given(world)
    world.change(tasks[1], commands.TaskChange(plan()))
    world.join()
    assert sorted(running(world)) == tasks[1:]


def test_a_waiter_that_is_cancelled_is_not_let_in() -> None:
    world = World()
    world.join()
    tasks = [world.submit(limited("key", 1)) for _ in range(3)]
    world.cancel(tasks[1])
    world.end(tasks[0])
    assert running(world) == [tasks[2]]


def test_different_bounds_of_one_key_are_each_obeyed() -> None:
    world = World()
    world.join()
    wide = [world.submit(limited("key", 3)) for _ in range(2)]
    narrow = world.submit(limited("key", 1))
    assert world.state_of(narrow) is TaskState.READY
    for task in wide:
        world.end(task)
    assert running(world) == [narrow]


def test_nothing_is_left_of_a_limit_that_nobody_uses() -> None:
    world = World()
    world.join()
    tasks = [world.submit(limited("key", 1, ("other", 1))) for _ in range(4)]
    world.cancel(tasks[2])
    for task in (tasks[0], tasks[1], tasks[3]):
        world.end(task)
    assert not world.state.gates._gates
    assert world.state.gates.waiting() == 0


def test_a_thousand_waiters_that_are_all_cancelled_cost_no_search() -> None:
    world = World()
    world.join()
    run = world.start(*[Node(f"n{n}", plan=limited("key", 1)) for n in range(1_000)])
    world.ask(commands.CancelRun(DEFAULT_PROJECT, run))
    assert not world.state.tasks
    assert not world.state.gates._gates


def limited_on(queue: str, max_running: int = 1) -> TaskPlan:
    """A task of the limit `key` that only workers of a queue take."""
    return limited("key", max_running)._replace(placement=placement(queue=queue))


def join(world: World, queue: str, capacity: int = 100) -> int:
    """Have the worker of a queue come."""
    return world.join(queue, said=profile(queue, queues=frozenset({queue}), capacity=capacity))


def leave(world: World, queue: str, session: int) -> None:
    """Have the worker of a queue go; nothing of its is running."""
    world.do(commands.WorkerLeft(session, WorkerId(queue)))


def test_a_waiter_that_no_worker_serves_does_not_hold_back_those_behind_it() -> None:
    world = World()
    join(world, "a")
    session = join(world, "b")
    first, of_nobody, *others = [world.submit(limited_on(queue)) for queue in "abaa"]
    leave(world, "b", session)
    world.end(first)
    assert running(world) == [others[0]]
    world.end(others[0])
    assert running(world) == [others[1]]
    check_engine(world.engine)
    world.end(others[1])
    assert world.state_of(of_nobody) is TaskState.READY


def test_a_waiter_goes_on_as_soon_as_a_worker_for_it_comes_and_a_place_is_free() -> None:
    world = World()
    join(world, "a")
    session = join(world, "b")
    first, of_b, of_a, last = [world.submit(limited_on(queue)) for queue in "abaa"]
    leave(world, "b", session)
    world.end(first)
    join(world, "b")
    assert running(world) == [of_a], "the place is taken"
    world.end(of_a)
    assert running(world) == [of_b], "it came before the other, and kept its turn"
    world.end(of_b)
    assert running(world) == [last]


def test_a_free_place_goes_to_a_worker_with_room_rather_than_wait_for_a_busy_one() -> None:
    world = World()
    join(world, "a")
    join(world, "b", capacity=1)
    first, of_b, *others = [world.submit(limited_on(queue)) for queue in "abaa"]
    busy_with = world.submit(plan(at=placement(queue="b")))
    world.end(first)
    assert running(world) == [others[0], busy_with]
    world.end(busy_with)
    assert running(world) == [others[0]]
    world.end(others[0])
    assert running(world) == [of_b]


def test_all_of_several_free_places_are_used_whoever_waits_first() -> None:
    world = World()
    join(world, "a")
    session = join(world, "b")
    firsts = [world.submit(limited_on("a", 3)) for _ in range(3)]
    of_b = [world.submit(limited_on("b", 3)) for _ in range(5)]
    of_a = [world.submit(limited_on("a", 3)) for _ in range(5)]
    leave(world, "b", session)
    for task in firsts:
        world.end(task)
    assert running(world) == of_a[:3]
    check_engine(world.engine)
    join(world, "b")
    for task in of_a[:3]:
        world.end(task)
    assert running(world) == of_b[:3], "they came first"
    for task in of_b[:3]:
        world.end(task)
    assert sorted(running(world)) == sorted([*of_b[3:], of_a[3]])


def test_a_worker_that_goes_takes_no_place_with_it() -> None:
    """Its waiters were called, and wait for another one like it, while those of others go on."""
    world = World()
    a, b = join(world, "a"), join(world, "b")
    first, of_b, of_a = [world.submit(limited_on(queue)) for queue in "aba"]
    world.do(commands.WorkerDraining(a, WorkerId("a")), commands.WorkerDraining(b, WorkerId("b")))
    world.end(first)
    assert not running(world)
    assert {world.task(task).lane is not None for task in (of_b, of_a)} == {True}, "each waits for the next worker that comes"
    join(world, "a")
    assert running(world) == [of_a]


def test_an_executor_finds_a_waiter_that_only_executors_serve() -> None:
    world = World()
    join(world, "a")
    session = join(world, "b")
    first, *of_b = [world.submit(limited_on(queue)) for queue in "abb"]
    leave(world, "b", session)
    world.end(first)
    claim = commands.ClaimTask(DEFAULT_PROJECT, WorkerId("x"), "host", frozenset({"b"}), frozenset({Kind.COMMAND}))
    assert world.ask(claim) is not None
    assert running(world) == of_b[:1]
    assert world.ask(claim) is None, "the limit is full"


def test_a_thousand_placements_at_one_limit_take_their_turns() -> None:
    world = World()
    every = frozenset(f"q{n}" for n in range(1_000))
    session = world.join(said=profile(queues=every | {"a"}, capacity=5_000))
    first = world.submit(limited_on("a"))
    waiters = [world.submit(limited_on(queue)) for queue in sorted(every)]
    world.do(commands.WorkerDraining(session, profile().id))
    world.end(first)
    check_engine(world.engine)
    world.join(said=profile(queues=every, capacity=5_000))
    for task in waiters:
        assert running(world) == [task]
        world.end(task)
    assert not world.state.gates._gates
