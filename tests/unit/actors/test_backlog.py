"""What may join a backlog: new work is refused first, what ends work last."""

from __future__ import annotations

import pytest

from foliot.kit.errors import ErrorReason
from foliot_scheduler.actors.backlog import CREATING, REPORTS, Backlog, BacklogLimits, Load, Weight, weight_of
from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Outcome
from foliot_scheduler.core.types import DEFAULT_PROJECT, Micros, TaskId, Token, WorkerId
from tests.unit.core.support import plan

LIMITS = BacklogLimits(
    creating_max=10, wishes_max=12, reports_max=14, rows_max=100, bytes_max=1_000, reports_bytes_max=2_000, commit_s_max=1.0
)

NEW_WORK = commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan("name"))])
CHANGE = commands.DeleteTask(DEFAULT_PROJECT, TaskId(bytes(16)), None)
CANCEL = commands.CancelTask(DEFAULT_PROJECT, TaskId(bytes(16)))
HEARTBEAT = commands.Heartbeat(1, WorkerId("w"), 1, None)


def end(output: bytes) -> commands.AttemptEnd:
    return commands.AttemptEnd(Token(1), Outcome.SUCCEEDED, 0, "", output, b"err", Micros(0), Micros(1))


def holding(count: int, *, rows: int = 0, size: int = 0) -> Backlog:
    """A backlog of so many commands, that have so many rows and bytes together."""
    backlog = Backlog(LIMITS)
    for _ in range(count):
        backlog.taken(Weight(0, 0))
    backlog.rows += rows
    backlog.size += size
    return backlog


def is_taken(backlog: Backlog, command: commands.Command, *, commit_s: float = 0.0, commit_rows: int = 0) -> bool:
    refusal = backlog.refusal(command, commit_s, commit_rows)
    if refusal is None:
        return True
    assert refusal.reason is ErrorReason.OVERLOADED
    assert refusal.retry_after_s
    return False


@pytest.mark.parametrize(
    ("waiting", "new_work", "change", "report"),
    [
        (9, True, True, True),
        (10, False, True, True),
        (12, False, False, True),
        (13, False, False, True),
        (14, False, False, False),
    ],
)
def test_new_work_is_refused_first_and_what_ends_work_last(waiting: int, new_work: bool, change: bool, report: bool) -> None:
    backlog = holding(waiting)
    assert is_taken(backlog, NEW_WORK) is new_work
    assert is_taken(backlog, CHANGE) is change
    assert is_taken(backlog, CANCEL) is is_taken(backlog, HEARTBEAT) is report


def test_no_new_work_joins_too_many_rows() -> None:
    assert is_taken(holding(1, rows=99), NEW_WORK)
    full = holding(1, rows=100)
    assert not is_taken(full, NEW_WORK)
    assert is_taken(full, CHANGE)
    assert is_taken(full, CANCEL)


def test_too_many_bytes_hold_back_new_work_and_twice_as_many_everything() -> None:
    assert is_taken(holding(1, size=999), NEW_WORK)
    assert not is_taken(holding(1, size=1_000), NEW_WORK)
    assert is_taken(holding(1, size=1_999), CANCEL)
    assert not is_taken(holding(1, size=2_000), CANCEL)


def test_slow_commits_hold_back_new_work_alone_and_tell_how_long() -> None:
    backlog = holding(1)
    assert is_taken(backlog, NEW_WORK, commit_s=1.0)
    assert not is_taken(backlog, NEW_WORK, commit_s=1.1)
    assert is_taken(backlog, CHANGE, commit_s=60.0)
    assert is_taken(backlog, CANCEL, commit_s=60.0)
    for commit_s, told_s in ((1.1, 1.1), (60.0, 10.0)):
        refusal = backlog.refusal(NEW_WORK, commit_s, 0)
        assert refusal is not None
        assert refusal.retry_after_s == told_s


def test_a_commit_of_many_rows_may_take_longer() -> None:
    assert is_taken(holding(1), NEW_WORK, commit_s=6.0, commit_rows=100_000)


def test_what_was_committed_leaves_room() -> None:
    backlog, load = holding(0), Load()
    for _ in range(10):
        backlog.taken(Weight(3, 50))
        load.add(Weight(3, 50))
    assert not is_taken(backlog, NEW_WORK)
    backlog.done(load)
    assert (backlog.commands, backlog.rows, backlog.size) == (0, 0, 0)
    assert is_taken(backlog, NEW_WORK)


def test_commands_weigh_their_rows_and_the_bytes_that_came_along() -> None:
    new = commands.NewTask(plan("name"))
    assert weight_of(commands.SubmitTasks(DEFAULT_PROJECT, [new, new])) == (2, 8)
    assert weight_of(commands.AttemptsEnded(1, WorkerId("w"), [end(b"out"), end(b"")])) == (2, 9)
    assert weight_of(commands.CheckpointReported(1, WorkerId("w"), Token(1), 1, "{}")) == (1, 2)
    assert weight_of(HEARTBEAT) == (1, 0)


def test_no_command_is_of_both_kinds() -> None:
    assert not CREATING & REPORTS
