"""A leader whose commits do not come to an end: what it takes meanwhile, and what it makes of it when they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.actors import leader
from foliot_scheduler.actors.backlog import BacklogLimits
from foliot_scheduler.actors.leader import LeaderTerm, Term
from foliot_scheduler.actors.sessions import Sessions
from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Reply, WriteSet
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, Micros, TaskId
from tests.unit.core.support import plan

LIMITS = BacklogLimits(creating_max=4, wishes_max=5, reports_max=8, commit_s_max=2.0)


class SlowStore:
    """Takes commits once it may go on, and notes how many tasks each had."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.asked = asyncio.Event()
        """Set while a commit waits."""
        self.commits: list[int] = []

    def encode(self, writes: WriteSet) -> int:
        return len(writes.tasks)

    async def commit(self, encoded: int) -> None:
        self.asked.set()
        await self.goes_on.wait()
        self.asked.clear()
        self.commits.append(encoded)

    async def pulse(self) -> Micros:
        return Micros(0)


class Overloaded:
    """A term whose store stands still until it is let go on."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SlowStore()
        engine = Engine(epoch=1, new_id=self.clock.uuid7, draw=self.clock.random)
        self.term = LeaderTerm(
            term=Term(1, Micros(0), "replica", "address"),
            engine=engine,
            writer=self.store,
            sessions=Sessions(),
            clock=self.clock,
            limits=LIMITS,
        )

    def ask(self, command: commands.Command) -> asyncio.Future[Reply]:
        """Have a command taken; raises what it is refused with."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.term.post(command, reply)
        return reply

    async def stall(self) -> asyncio.Future[Reply]:
        """Submit a task, and wait until its commit does not come to an end."""
        first = self.ask(submission())
        await self.store.asked.wait()
        return first


@pytest.fixture
async def overloaded() -> AsyncIterator[Overloaded]:
    leading = Overloaded()
    run = asyncio.ensure_future(leading.term.run())
    try:
        yield leading
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run


def submission(count: int = 1) -> commands.SubmitTasks:
    return commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan()) for _ in range(count)])


def refused(leading: Overloaded, command: commands.Command) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        leading.ask(command)
    assert caught.value.reason is ErrorReason.OVERLOADED
    return caught.value


async def test_what_was_taken_is_done_and_what_was_refused_was_told_so(overloaded: Overloaded) -> None:
    taken = [await overloaded.stall()]
    refusals: list[FoliotError] = []
    for _ in range(20):
        try:
            taken.append(overloaded.ask(submission()))
        except FoliotError as error:
            refusals.append(error)
    assert (len(taken), len(refusals)) == (4, 17)
    assert {(error.reason, error.retry_after_s) for error in refusals} == {(ErrorReason.OVERLOADED, 1.0)}
    overloaded.store.goes_on.set()
    assert all(isinstance(reply, Task) for reply in await asyncio.gather(*taken))
    assert sum(overloaded.store.commits) == 4, "nothing of what was refused"
    await overloaded.ask(submission())


async def test_cancels_go_on_where_new_work_is_refused(overloaded: Overloaded) -> None:
    overloaded.store.goes_on.set()
    task = await overloaded.ask(submission())
    assert isinstance(task, Task)
    overloaded.store.goes_on.clear()
    await overloaded.stall()
    for _ in range(3):
        overloaded.ask(submission())
    refused(overloaded, submission())
    cancelled = overloaded.ask(commands.CancelTask(DEFAULT_PROJECT, task.id))
    overloaded.store.goes_on.set()
    ended = await cancelled
    assert isinstance(ended, Task)
    assert ended.state is TaskState.CANCELLED


async def test_new_work_is_refused_while_a_commit_takes_too_long_and_until_one_is_fast(overloaded: Overloaded) -> None:
    first = await overloaded.stall()
    overloaded.clock.advance(2.5)
    assert refused(overloaded, submission()).retry_after_s == pytest.approx(2.5)
    overloaded.store.goes_on.set()
    await first
    # That commit was slow; the leader's next proof of its term, which follows it at once, is as fast as ever.
    await overloaded.ask(commands.CancelTask(DEFAULT_PROJECT, TaskId(bytes(16))))
    await overloaded.ask(submission())


async def test_commits_are_bounded_by_what_commands_bring(overloaded: Overloaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "UNCOMMITTED_MAX", 10)
    first = await overloaded.stall()
    bulks = [overloaded.ask(submission(8)) for _ in range(3)]
    overloaded.store.goes_on.set()
    await asyncio.gather(first, *bulks)
    assert overloaded.store.commits == [1, 16, 8], "the second bulk filled a commit"
