"""Every end that a commit records counts once, in its minute; and what was counted outlives the tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foliot_scheduler.core.effects import WriteSet
from foliot_scheduler.core.model import Outcome, Task
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import HOUR, MINUTE, SECOND, Micros, Project, Span
from foliot_scheduler.store.commit import Committer
from foliot_scheduler.store.errors import Fenced
from foliot_scheduler.store.pool import Pool
from foliot_scheduler.store.rollups import Rollup, read_rollups
from tests.integration.store.conftest import Commit
from tests.integration.store.core_objects import PROJECT, end, plan, task, tasks_of

START = Micros(1_795_176_000_000_000)
"""2026-11-20 12:00:00 UTC."""


def ended(state: TaskState, *, at: int, ran: int | None = None, project: Project = PROJECT) -> Task:
    """A task that ended so many µs after the start, its last attempt having run for `ran` µs."""
    instant = Micros(START + at)
    return end(
        task(project=project),
        state,
        ended=instant,
        started=None if ran is None else Micros(instant - ran),
        outcome=None if ran is None else Outcome.FAILED,
    )


async def by_minute(pool: Pool, project: Project = PROJECT) -> list[Rollup]:
    return await read_rollups(pool, project, start=START, end=Micros(START + HOUR), step=MINUTE)


def at(minute: int) -> Micros:
    return Micros(START + minute * MINUTE)


async def test_ends_count_in_their_minute_by_state_with_their_run_time(commit: Commit, pool: Pool) -> None:
    await commit(
        tasks_of(
            ended(TaskState.SUCCEEDED, at=0, ran=2 * SECOND),
            ended(TaskState.SUCCEEDED, at=MINUTE - 1, ran=SECOND),
            ended(TaskState.FAILED, at=MINUTE, ran=5),
            ended(TaskState.FAILED, at=MINUTE),  # because of a dependency
            ended(TaskState.SUCCEEDED, at=MINUTE, ran=1, project=Project("other")),
        )
    )
    await commit(tasks_of(ended(TaskState.CANCELLED, at=1), ended(TaskState.SKIPPED, at=3 * MINUTE)))
    assert await by_minute(pool) == [
        Rollup(at(0), succeeded=2, cancelled=1, timed=2, run_time=Span(3 * SECOND)),
        Rollup(at(1), failed=2, timed=1, run_time=Span(5)),
        Rollup(at(3), skipped=1),
    ]
    assert await by_minute(pool, Project("other")) == [Rollup(at(1), succeeded=1, timed=1, run_time=Span(1))]


async def test_only_ends_count(commit: Commit, pool: Pool) -> None:
    changed = task()
    await commit(tasks_of(changed, task(state=TaskState.BLOCKED)))
    changed.state = TaskState.RUNNING
    await commit(tasks_of(changed))
    assert await by_minute(pool) == []
    end(changed, ended=START, started=Micros(START - 7))
    await commit(tasks_of(changed))
    once = [Rollup(at(0), succeeded=1, timed=1, run_time=Span(7))]
    assert await by_minute(pool) == once
    changed.plan = plan(name="renamed")
    await commit(replace(tasks_of(changed), plans_changed={changed.id}, relabelled={changed.id}))
    await commit(WriteSet(tasks_deleted=[changed]))
    assert await by_minute(pool) == once, "what ended has ended, whatever becomes of its row"


async def test_a_task_that_is_retried_counts_each_time_it_ends(commit: Commit, pool: Pool) -> None:
    again = ended(TaskState.FAILED, at=0, ran=1)
    await commit(tasks_of(again))
    again.state, again.ended, again.outcome = TaskState.READY, None, None
    await commit(tasks_of(again))
    await commit(tasks_of(end(again, ended=at(2), started=None)))
    at_once = ended(TaskState.CANCELLED, at=0)
    await commit(tasks_of(at_once))
    await commit(replace(tasks_of(end(at_once, ended=at(2), started=None)), plans_changed={at_once.id}))
    assert await by_minute(pool) == [Rollup(at(0), failed=1, cancelled=1, timed=1, run_time=Span(1)), Rollup(at(2), succeeded=2)]


async def test_what_a_deposed_leader_says_does_not_count(committer: Committer, pool: Pool) -> None:
    await pool.execute("UPDATE leadership SET epoch = epoch + 1")
    with pytest.raises(Fenced):
        await committer.commit(committer.encode(tasks_of(ended(TaskState.SUCCEEDED, at=0))))
    assert await by_minute(pool) == []


async def test_minutes_are_added_up_to_steps(commit: Commit, pool: Pool) -> None:
    await commit(tasks_of(*[ended(TaskState.SUCCEEDED, at=minute * MINUTE, ran=10) for minute in range(60)]))
    found = await read_rollups(pool, PROJECT, start=at(5), end=at(50), step=Span(20 * MINUTE))
    assert [(row.start_at, row.succeeded, row.run_time) for row in found] == [
        (at(5), 20, 200),
        (at(25), 20, 200),
        (at(45), 5, 50),
    ]
