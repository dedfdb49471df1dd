"""The books: whether what a new leader would make of the rows is what the leader has, and whether kept figures are true."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from foliot_scheduler.actors.recovery import restore
from foliot_scheduler.core.types import Project
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store import counts
from tests.integration.actors.likeness import assert_alike
from tests.simulation.cluster import new_engine
from tests.simulation.virtual import VirtualClock

if TYPE_CHECKING:
    from foliot_scheduler.core.transitions import TaskState
    from tests.simulation.story import Story


def compare_with_recovery(story: Story) -> bool:
    """Hold the leader's state against one that is made of the rows, field by field; not while anything waits for a commit.

    Returns whether there was a leader whose state could be compared.
    """
    leader, database = story.leader(), story.database
    if leader is None or leader.engine is None or database.busy or not database.holds_lock(leader.process):
        return False
    old = leader.engine
    if old.state.epoch != database.leadership.epoch or old.state.effects.writes or old.state.undecided:
        return False
    new = new_engine(old.state.epoch + 1, VirtualClock(story.loop, story.seed))
    rows = database.shelf.live_rows(database.journal)
    done = restore(new, rows, TaskPlans(), old.state.now, _go_on)
    with contextlib.suppress(StopIteration):
        done.send(None)
        raise AssertionError("the recovery waits for something")
    assert_alike(old.state, new.state)
    return True


async def _go_on() -> None:
    """Give way to nobody."""


def check_counts(story: Story) -> None:
    """The figures that commits keep are those that a count of the rows gives."""
    journal, database = story.database.journal, story.database
    counted: Counter[tuple[Project, TaskState, int, int]] = Counter()
    for row in journal.live.values():
        counted[row.project, row.state, row.plan.priority, 0] += 1
    for task_id, row in journal.history.items():
        day = int.from_bytes(task_id[:6], "big") // counts._DAY_MS
        counted[row.project, row.state, 0, day] += 1
    assert {key: count for key, count in database.task_counts.items() if count} == counted, "task_count is not a count"
    assert all(count >= 0 for count in database.task_counts.values())
