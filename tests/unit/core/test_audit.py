"""What a wish leaves in the audit: one record for what it changed, none for what was refused or granted before."""

from __future__ import annotations

import pytest

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.audit import IDS_MAX, Origin, record_of
from foliot_scheduler.core.commands import CancelRun, Command, DeleteTask, SubmitTasks
from foliot_scheduler.core.effects import AuditRecord, Refusal, Repeated, Reply
from foliot_scheduler.core.types import DEFAULT_PROJECT, Micros, RunId, TaskId
from tests.unit.core.support import World

ORIGIN = Origin("k1", Role.OPERATOR, DEFAULT_PROJECT, "TaskService/SubmitTask", "r1")
NOTHING = SubmitTasks(DEFAULT_PROJECT, [])


def record(command: Command, reply: Reply) -> AuditRecord | None:
    return record_of(ORIGIN, command, reply, record_id=b"i" * 16, now=Micros(7))


@pytest.mark.parametrize("reply", [Refusal("not_found", "no such task"), Repeated(bytes(16))])
def test_what_changes_nothing_leaves_no_record(reply: Reply) -> None:
    assert record(NOTHING, reply) is None


def test_a_record_names_who_and_what() -> None:
    world = World()
    task_id = world.submit()
    found = record(NOTHING, world.state.tasks[task_id])
    assert found == AuditRecord(
        b"i" * 16, Micros(7), "k1", Role.OPERATOR, DEFAULT_PROJECT, "TaskService/SubmitTask", "r1", 1, task_id
    )


def test_what_is_gone_is_named_by_the_wish() -> None:
    task_id = TaskId(b"t" * 16)
    found = record(DeleteTask(DEFAULT_PROJECT, task_id), None)
    assert found is not None
    assert (found.touched, found.ids) == (1, task_id)
    of_run = record(CancelRun(DEFAULT_PROJECT, RunId(b"r" * 16)), None)
    assert of_run is not None
    assert of_run.ids == b"r" * 16


def test_a_bulk_call_leaves_one_record_with_the_first_ids() -> None:
    ids = [TaskId(number.to_bytes(16, "big")) for number in range(IDS_MAX + 1)]
    found = record(NOTHING, ids)
    assert found is not None
    assert (found.touched, found.ids) == (IDS_MAX + 1, b"".join(ids[:IDS_MAX]))
