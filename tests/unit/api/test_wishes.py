"""Wishes about things that are, or are not, in the leader's memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import replace

import pytest

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import parse_uuid
from foliot_scheduler.api.wishes import SETTLE_PAUSES_S, KeyedLocks, Wishes
from foliot_scheduler.core.commands import CancelTask, Command, SubmitTasks
from foliot_scheduler.core.effects import Refusal, Reply
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import Project, TaskId
from foliot_scheduler.specs.records import task_from_row
from foliot_scheduler.specs.tasks import TaskPlans
from tests.unit.api.api_support import ScriptedLeader
from tests.unit.specs.test_records import task_row

ID = TaskId(b"\x01" * 16)
LIVE = task_from_row(task_row(), TaskPlans())
ENDED = task_from_row(replace(task_row(), state=TaskState.FAILED), TaskPlans())
GONE = Refusal("not_found", "no such task")


class Rows:
    """What PostgreSQL has, one answer after the other; the last stays."""

    def __init__(self, *rows: Task | None) -> None:
        self.rows = list(rows)
        self.read_count = 0

    async def read(self) -> Task | None:
        self.read_count += 1
        return self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]


def cancel(record: Task | None) -> Command:
    return CancelTask(Project("p"), ID, record)


async def put(leader: ScriptedLeader, rows: Rows) -> Reply:
    clock = ManualClock()
    asking = asyncio.create_task(Wishes(leader, clock).about_task(ID, rows.read, cancel))
    await clock.run_for(sum(SETTLE_PAUSES_S) + 1)
    return await asking


def records_sent(leader: ScriptedLeader) -> list[Task | None]:
    return [command.record for command in leader.commands if isinstance(command, CancelTask)]


async def test_a_live_task_needs_no_row() -> None:
    leader, rows = ScriptedLeader(LIVE), Rows(None)
    leader.known = {ID}
    assert await put(leader, rows) is LIVE
    assert (records_sent(leader), rows.read_count) == ([None], 0)


async def test_an_ended_task_goes_along_as_a_record() -> None:
    leader, rows = ScriptedLeader(ENDED), Rows(ENDED)
    assert await put(leader, rows) is ENDED
    assert records_sent(leader) == [ENDED]


async def test_a_row_that_is_still_live_is_not_sent() -> None:
    leader, rows = ScriptedLeader(ENDED), Rows(LIVE, LIVE, ENDED)
    await put(leader, rows)
    assert records_sent(leader) == [ENDED]


async def test_a_task_that_left_the_memory_meanwhile_is_looked_up() -> None:
    leader, rows = ScriptedLeader(GONE, ENDED), Rows(ENDED)
    leader.known = {ID}

    def forget(command: Command) -> Reply:
        leader.known = set()
        return GONE

    leader.script[0] = forget
    assert await put(leader, rows) is ENDED
    assert records_sent(leader) == [None, ENDED]


async def test_an_outdated_record_is_read_again() -> None:
    leader = ScriptedLeader(Refusal("version_conflict", "the task has just changed"), ENDED)
    assert await put(leader, Rows(ENDED)) is ENDED
    assert len(records_sent(leader)) == 2


async def test_what_nobody_has_is_not_found() -> None:
    with pytest.raises(FoliotError) as caught:
        await put(ScriptedLeader(), Rows(None))
    assert caught.value.reason is ErrorReason.NOT_FOUND


async def test_a_live_task_of_another_project_is_not_found() -> None:
    leader = ScriptedLeader(GONE)
    leader.known = {ID}
    with pytest.raises(FoliotError) as caught:
        await put(leader, Rows(None))
    assert caught.value.reason is ErrorReason.NOT_FOUND


async def test_a_refusal_is_told_at_once() -> None:
    leader = ScriptedLeader(Refusal("wrong_state", "the task has ended", {"state": "failed"}))
    with pytest.raises(FoliotError) as caught:
        await put(leader, Rows(ENDED))
    assert (caught.value.reason, len(leader.commands)) == (ErrorReason.WRONG_STATE, 1)


async def test_a_leader_that_does_not_settle_is_left() -> None:
    with pytest.raises(FoliotError) as caught:
        await put(ScriptedLeader(), Rows(LIVE))
    assert caught.value.reason is ErrorReason.NO_LEADER


# ------------------------------------------------------------------------------------------------------------- dependencies


class States:
    """What PostgreSQL has of the tasks to wait for, one answer after the other; the last stays."""

    def __init__(self, *answers: dict[TaskId, TaskState]) -> None:
        self.answers = list(answers)

    async def read(self, task_ids: Collection[TaskId]) -> dict[TaskId, TaskState]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {task_id: answer[task_id] for task_id in task_ids if task_id in answer}


async def submit_after(leader: ScriptedLeader, states: States, dependencies: tuple[TaskId, ...] = (ID,)) -> Reply:
    clock = ManualClock()
    wishes = Wishes(leader, clock)

    def grant(ended: dict[TaskId, TaskState]) -> Awaitable[Reply]:
        return wishes.grant(SubmitTasks(Project("p"), [], None, "", ended))

    asking = asyncio.create_task(wishes.after_tasks(dependencies, states.read, grant))
    await clock.run_for(sum(SETTLE_PAUSES_S) + 1)
    return await asking


def ends_sent(leader: ScriptedLeader) -> list[dict[TaskId, TaskState]]:
    return [command.ended for command in leader.commands if isinstance(command, SubmitTasks)]


def unknown(task_id: TaskId) -> Refusal:
    return Refusal("unknown_dependency", "a dependency does not exist", {"ids": task_id.hex()})


async def test_how_a_dependency_ended_goes_along() -> None:
    leader = ScriptedLeader(LIVE)
    assert await submit_after(leader, States({ID: TaskState.SUCCEEDED})) is LIVE
    assert ends_sent(leader) == [{ID: TaskState.SUCCEEDED}]


async def test_a_dependency_whose_end_is_being_committed_is_waited_for() -> None:
    leader = ScriptedLeader(LIVE)
    running = {ID: TaskState.RUNNING}
    assert await submit_after(leader, States(running, running, {ID: TaskState.FAILED})) is LIVE
    assert ends_sent(leader) == [{ID: TaskState.FAILED}]


async def test_a_dependency_that_left_the_memory_meanwhile_is_looked_up() -> None:
    def forget(command: Command) -> Reply:
        leader.known = set()
        return unknown(ID)

    leader = ScriptedLeader(forget, LIVE)
    leader.known = {ID}
    states = States({ID: TaskState.RUNNING}, {ID: TaskState.RUNNING}, {ID: TaskState.SUCCEEDED})
    assert await submit_after(leader, states) is LIVE
    assert ends_sent(leader) == [{}, {ID: TaskState.SUCCEEDED}]


async def test_the_dependency_that_nobody_has_is_named() -> None:
    nobody = TaskId(b"\x02" * 16)
    leader = ScriptedLeader(unknown(nobody))
    with pytest.raises(FoliotError) as caught:
        await submit_after(leader, States({ID: TaskState.RUNNING}, {ID: TaskState.SUCCEEDED}), (ID, nobody))
    assert caught.value.reason is ErrorReason.UNKNOWN_DEPENDENCY
    assert parse_uuid(caught.value.metadata["ids"]) == nobody
    assert ends_sent(leader) == [{ID: TaskState.SUCCEEDED}]


async def test_a_dependency_that_does_not_settle_is_not_taken_for_unknown() -> None:
    with pytest.raises(FoliotError) as caught:
        await submit_after(ScriptedLeader(), States({ID: TaskState.RUNNING}))
    assert caught.value.reason is ErrorReason.NO_LEADER


# ----------------------------------------------------------------------------------------------------------- locks by key


async def test_one_at_a_time_holds_a_key() -> None:
    locks, order = KeyedLocks(), []

    async def work(name: str, key: str) -> None:
        async with locks.hold(key):
            order.append(f"{name} in")
            await ManualClock().sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(work("a", "k"), work("b", "k"))
    assert order == ["a in", "a out", "b in", "b out"]
    order.clear()
    await asyncio.gather(work("a", "k"), work("b", "other"))
    assert order == ["a in", "b in", "a out", "b out"]
    assert not locks._locks
