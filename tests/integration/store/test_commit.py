"""Every way of writing rows, all or nothing."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.effects import (
    AttemptRecord,
    CheckpointRecord,
    FireRecord,
    FireSpanRecord,
    IdempotencyRecord,
    Refusal,
    WriteSet,
)
from foliot_scheduler.core.engine import Engine
from foliot_scheduler.core.model import JobState, Kind, LeaseBatch, Outcome, Resources, Stored, Task, TaskPlan
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import Micros, Project, Span, Token, WorkerId
from foliot_scheduler.store import reads
from foliot_scheduler.store.commit import GROUPS, Committer, statement
from foliot_scheduler.store.errors import ConflictError, StoreError
from foliot_scheduler.store.fires import FireRow, list_fires
from foliot_scheduler.store.pool import Pool
from foliot_scheduler.store.rows import HeldTask, TaskRow
from tests.integration.store.conftest import Commit
from tests.integration.store.core_objects import (
    CLOCK,
    PROJECT,
    end,
    job,
    job_plan,
    lease,
    new_id,
    plan,
    run,
    task,
    tasks_of,
    worker,
)

DAY = 86_400_000_000


async def _row(pool: Pool, of: Task) -> TaskRow:
    row = await reads.get_task(pool, PROJECT, of.id)
    assert row is not None
    return row


async def _places(pool: Pool, of: Task) -> tuple[bool, bool]:
    """Whether a task's row is in the live table, and in the history."""
    found = await pool.fetchrow(
        "SELECT EXISTS (SELECT FROM task WHERE id = $1), EXISTS (SELECT FROM task_history WHERE id = $1)", of.id
    )
    assert found is not None
    return tuple(found)


async def test_a_task_is_written_as_it_stands(commit: Commit, pool: Pool) -> None:
    first = task(
        plan(tags=('with "quotes"', "back\\slash", "{comma,}"), spec=b"\x00\xff"),
        depends_on=(new_id(), new_id()),
        due=Micros(123),
        traceparent="00-ab",
        error="of an earlier attempt",
        state=TaskState.SCHEDULED,
        attempt=2,
        failed_attempts=1,
        lost_attempts=1,
        exit_code=-1,
        outcome=Outcome.LOST,
    )
    bare = task(state=TaskState.BLOCKED)
    lease(bare, worker(), token=(7 << 32) + 1)
    await commit(tasks_of(first, bare))
    row = await _row(pool, first)
    assert row.depends_on == first.depends_on
    assert (row.created_at, row.updated_at, row.due_at, row.started_at) == (first.created, first.updated, 123, None)
    assert (row.attempt, row.failed_attempts, row.lost_attempts, row.exit_code, row.outcome) == (2, 1, 1, -1, Outcome.LOST)
    assert (row.spec, row.error, row.traceparent, row.run_id, row.key) == (b"\x00\xff", first.error, "00-ab", None, "")
    assert await pool.fetchval("SELECT tags FROM task WHERE id = $1", first.id) == list(first.plan.tags)
    assert await pool.fetchval("SELECT token FROM task WHERE id = $1", bare.id) == (7 << 32) + 1
    assert first.stored is bare.stored is Stored.LIVE


async def test_a_task_moves_through_its_life(commit: Commit, pool: Pool) -> None:
    mover = task(state=TaskState.BLOCKED)
    await commit(tasks_of(mover))
    mover.state, mover.attempt, mover.worker_id = TaskState.RUNNING, 1, WorkerId("w1")
    await commit(tasks_of(mover))
    row = await _row(pool, mover)
    assert (row.state, row.attempt, row.worker_id, row.ended_at) == (TaskState.RUNNING, 1, "w1", None)

    end(mover, TaskState.FAILED, output=b"out", error_output=b"err", error="bad\0luck", exit_code=3)
    await commit(tasks_of(mover))
    row = await _row(pool, mover)
    assert await _places(pool, mover) == (False, True)
    assert (row.state, row.output, row.error_output, row.exit_code) == (TaskState.FAILED, b"out", b"err", 3)
    # PostgreSQL's text cannot hold NUL, and one commit must not fail everybody's for it.
    assert (row.error, row.ended_at, row.outcome) == ("bad\ufffdluck", mover.ended, Outcome.FAILED)

    mover.plan = mover.plan._replace(name="renamed", tags=("late",), spec=b"new")
    await commit(WriteSet(tasks={mover.id: mover}, plans_changed={mover.id}, relabelled={mover.id}))
    row = await _row(pool, mover)
    assert (row.name, row.spec, row.state, row.output) == ("renamed", b"new", TaskState.FAILED, b"out")

    mover.state, mover.ended, mover.error = TaskState.READY, None, ""
    await commit(tasks_of(mover))
    assert await _places(pool, mover) == (True, False)
    assert (await _row(pool, mover)).name == "renamed"


async def test_a_plan_changes_with_and_without_the_end(commit: Commit, pool: Pool) -> None:
    changed, ended = task(), task()
    await commit(tasks_of(changed, ended))
    for each in (changed, ended):
        each.plan = plan(name="other", priority=9, tags=("x",), spec=b"2", placement=each.plan.placement._replace(queue="gpu"))
    end(ended, TaskState.CANCELLED)
    await commit(WriteSet(tasks={each.id: each for each in (changed, ended)}, plans_changed={changed.id, ended.id}))
    for each, places in ((changed, (True, False)), (ended, (False, True))):
        row = await _row(pool, each)
        assert (row.name, row.priority, row.spec, row.state) == ("other", 9, b"2", each.state)
        assert await _places(pool, each) == places
    assert await pool.fetchval("SELECT queue FROM task_history WHERE id = $1", ended.id) == "gpu"


async def test_a_task_that_was_born_and_ended_goes_to_the_history(commit: Commit, pool: Pool) -> None:
    short = end(task(), output=b"x")
    await commit(tasks_of(short))
    assert await _places(pool, short) == (False, True)
    assert short.stored is Stored.HISTORY


async def _ended(commit: Commit, task_plan: TaskPlan | None = None, **values: Any) -> Task:
    """A failed task in the history, as a caller's command brings it."""
    failed = end(task(task_plan), TaskState.FAILED, output=b"old", error="old", **values)
    await commit(tasks_of(failed))
    return failed.snapshot()


def _engine() -> Engine:
    return Engine(epoch=1, new_id=new_id, draw=lambda: 0.5)


async def _step(commit: Commit, engine: Engine, *batch: commands.Command) -> None:
    effects = engine.step(batch, Micros(CLOCK.now_us() + 99))
    assert not [reply for reply in effects.replies if isinstance(reply, Refusal)]
    await commit(effects.writes)


async def test_a_failed_marker_that_is_retried_has_succeeded(commit: Commit, pool: Pool) -> None:
    marker = plan(placement=plan().placement._replace(kind=Kind.MARKER))
    failed = await _ended(commit, marker, attempt=0, outcome=None)
    engine = _engine()
    await _step(commit, engine, commands.RetryTask(PROJECT, failed.id, record=failed))
    row = await _row(pool, failed)
    assert await _places(pool, failed) == (False, True)
    assert (row.state, row.outcome, row.error, row.output) == (TaskState.SUCCEEDED, None, "", b"")
    assert row.ended_at == row.updated_at == CLOCK.now_us() + 99


async def test_a_task_that_is_retried_and_cancelled_between_two_commits_is_cancelled(commit: Commit, pool: Pool) -> None:
    failed = await _ended(commit, failed_attempts=1)
    change = commands.TaskChange(failed.plan._replace(tags=("late",), spec=b"new"), labels_only=True)
    await _step(
        commit,
        _engine(),
        commands.UpdateTask(PROJECT, failed.id, change, record=failed),
        commands.RetryTask(PROJECT, failed.id, record=failed),
        commands.CancelTask(PROJECT, failed.id),
    )
    row = await _row(pool, failed)
    assert await _places(pool, failed) == (False, True)
    assert (row.state, row.outcome, row.error, row.output) == (TaskState.CANCELLED, None, "", b"")
    assert (row.attempt, row.failed_attempts, row.started_at, row.worker_id, row.spec) == (1, 0, None, None, b"new")
    assert await pool.fetchval("SELECT tags FROM task_history WHERE id = $1", failed.id) == ["late"]
    assert [(each.number, each.error) for each in await reads.list_attempts(pool, failed.id)] == [(1, "old")]


async def test_a_task_that_is_retried_and_finishes_between_two_commits_has_its_result(commit: Commit, pool: Pool) -> None:
    failed = await _ended(commit)
    engine = _engine()
    now = Micros(CLOCK.now_us() + 50)
    profile = worker().profile
    engine.apply([commands.WorkerJoined(1, profile), commands.RetryTask(PROJECT, failed.id, record=failed)], now)
    lease = engine.state.tasks[failed.id].lease
    assert lease is not None
    result = commands.AttemptEnd(lease.token, Outcome.SUCCEEDED, 0, "", b"new", b"err", now, now)
    await _step(commit, engine, commands.AttemptsEnded(1, profile.id, [result]))
    row = await _row(pool, failed)
    assert await _places(pool, failed) == (False, True)
    assert (row.state, row.attempt, row.outcome, row.exit_code) == (TaskState.SUCCEEDED, 2, Outcome.SUCCEEDED, 0)
    assert (row.output, row.error_output, row.error, row.worker_id) == (b"new", b"err", "", profile.id)
    assert await pool.fetchval("SELECT count(*) FROM lease_batch") == 0


async def test_tasks_are_deleted_wherever_they_are(commit: Commit, pool: Pool) -> None:
    live, ended = task(), end(task())
    await commit(tasks_of(live, ended))
    await commit(WriteSet(tasks_deleted=[live, ended]))
    assert await reads.task_states(pool, PROJECT, [live.id, ended.id]) == {}


async def test_a_run_moves_through_its_life(commit: Commit, pool: Pool) -> None:
    made = job()
    started = run(made, due_at=Micros(77))
    await commit(WriteSet(jobs={made.id: made}, runs={started.id: started}, tasks={each.id: each for each in started.tasks}))
    row = await reads.get_run(pool, PROJECT, started.id)
    assert row is not None
    assert (row.state, row.counts, row.due_at, row.job_version) == (RunState.PENDING, {TaskState.READY: 2}, 77, 1)
    assert [(each.key, each.state) for each in await reads.list_run_tasks(pool, started.id)] == [
        ("a", TaskState.READY),
        ("b", TaskState.READY),
    ]

    started.state, started.started = RunState.RUNNING, Micros(88)
    end(started.tasks[0])
    await commit(WriteSet(runs={started.id: started}, tasks={started.tasks[0].id: started.tasks[0]}))
    row = await reads.get_run(pool, PROJECT, started.id)
    assert row is not None
    assert (row.state, row.started_at) == (RunState.RUNNING, 88)
    assert row.counts == {TaskState.READY: 1, TaskState.SUCCEEDED: 1}

    end(started.tasks[1], TaskState.FAILED)
    started.state, started.ended = RunState.FAILED, Micros(99)
    await commit(WriteSet(runs={started.id: started}, tasks={started.tasks[1].id: started.tasks[1]}))
    row = await reads.get_run(pool, PROJECT, started.id)
    assert row is not None
    assert (row.state, row.ended_at, row.counts) == (RunState.FAILED, 99, {TaskState.SUCCEEDED: 1, TaskState.FAILED: 1})
    assert (await _row(pool, started.tasks[1])).key == "b"
    assert (await _row(pool, started.tasks[1])).job_id == made.id
    assert await pool.fetchval("SELECT count(*) FROM run") == 0


async def test_a_run_that_was_born_and_ended_goes_to_the_history(commit: Commit, pool: Pool) -> None:
    made = job()
    short = run(made, state=RunState.SUCCEEDED, ended=Micros(5))
    for each in short.tasks:
        end(each)
    await commit(WriteSet(jobs={made.id: made}, runs={short.id: short}, tasks={each.id: each for each in short.tasks}))
    row = await reads.get_run(pool, PROJECT, short.id)
    assert row is not None
    assert (row.state, row.cancelled, row.counts) == (RunState.SUCCEEDED, False, {TaskState.SUCCEEDED: 2})
    assert await pool.fetchval("SELECT count(*) FROM run") == 0


async def test_jobs_keep_every_version(commit: Commit, pool: Pool, committer: Committer) -> None:
    made = job(waiting_runs=[Micros(1), Micros(2)])
    await commit(WriteSet(jobs={made.id: made}))
    made.version, made.plan, made.state, made.waiting_runs = (
        2,
        job_plan(name="new", spec=b"v2", schedule=None),
        JobState.PAUSED,
        [],
    )
    made.next_due = made.fires_at = None
    await commit(WriteSet(jobs={made.id: made}))
    row = await reads.get_job(pool, PROJECT, made.id)
    assert row is not None
    assert (row.version, row.spec, row.state, row.next_due_at, row.waiting_runs) == (2, b"v2", JobState.PAUSED, None, ())
    assert await reads.get_job_version(pool, made.id, 1) == b"job spec"
    # A fire changes the due time alone: the spec of a large DAG is not sent again.
    made.next_due = Micros(9)
    encoded = committer.encode(WriteSet(jobs={made.id: made}))
    assert b"v2" not in [spec for argument in encoded.arguments if isinstance(argument, list) for spec in argument]
    await committer.commit(encoded)
    assert await pool.fetchval("SELECT count(*) FROM job_version") == 2


async def test_counts_of_workers_are_added_to_what_is_stored(commit: Commit, pool: Pool) -> None:
    on, unknown = worker(succeeded=1), worker("w2", succeeded=5)
    await commit(WriteSet(workers={("", WorkerId("w1")): on}, workers_counted={on: None}))
    on.succeeded, on.failed = 2, 3
    lease_of = task()
    on.leases[Token(1)] = lease(lease_of, on, 1)
    await commit(WriteSet(workers_counted={on: None, unknown: None}))
    assert (on.succeeded, on.failed) == (0, 0)
    stored = await reads.get_worker(pool, PROJECT, WorkerId("w1"))
    assert stored is not None
    assert (stored.tasks_completed, stored.tasks_failed, stored.current_tasks) == (3, 3, 1)
    assert await reads.get_worker(pool, PROJECT, WorkerId("w2")) is None


async def test_the_smaller_records_are_written(commit: Commit, pool: Pool) -> None:
    of, made = task(), job()
    batch = LeaseBatch(Token(1 << 32), WorkerId("w1"), Micros(3), (of.id, new_id()), (1, 70_000), 2)
    on = worker(resources=Resources(0.5, 0.25, 1.0), succeeded=3)
    await commit(
        WriteSet(
            attempts=[AttemptRecord(of.id, 1, WorkerId("w1"), "host", None, Micros(4), Outcome.LOST, None, "gone")],
            batches_opened={batch.first_token: batch},
            checkpoints={of.id: CheckpointRecord(of.id, 1, '{"at": 1}', Micros(5))},
            fires=[FireRecord(made.id, Micros(6), None, "paused", Micros(7))],
            idempotency=[IdempotencyRecord(PROJECT, "k", b"d", of.id + made.id, Micros(8))],
            workers={("", WorkerId("w1")): on},
            tasks={of.id: of},
        )
    )
    assert [(each.number, each.outcome, each.error) for each in await reads.list_attempts(pool, of.id)] == [
        (1, Outcome.LOST, "gone")
    ]
    assert (await _row(pool, of)).checkpoint == '{"at": 1}'
    answer = await reads.find_answer(pool, PROJECT, "k", within=Span(1 << 53))
    assert answer is not None
    assert answer.ids == (of.id, made.id)
    stored = await reads.get_worker(pool, PROJECT, WorkerId("w1"))
    assert stored is not None
    assert (stored.queues, stored.labels, stored.tags, stored.cpu) == (["default"], {"zone": "a"}, ["fast"], 0.5)
    assert await reads.held_tasks(pool, PROJECT, [("", WorkerId("w1"))]) == {("", "w1"): [HeldTask(of.id, of.plan.name)]}

    on.offline, on.registered = True, Micros(on.registered + 1)
    await commit(
        WriteSet(
            batches_closed=[batch.first_token],
            checkpoints={of.id: CheckpointRecord(of.id, 2, "2", Micros(9))},
            workers={("", WorkerId("w1")): on},
        )
    )
    again = await reads.get_worker(pool, PROJECT, WorkerId("w1"))
    assert again is not None
    assert (again.offline, again.registered_at) == (True, stored.registered_at)
    assert (await _row(pool, of)).checkpoint == "2"
    assert await pool.fetchval("SELECT count(*) FROM lease_batch") == 0


async def test_a_due_time_is_decided_once(commit: Commit, pool: Pool) -> None:
    decided = FireRecord(job().id, Micros(6), None, "paused", Micros(7))
    await commit(WriteSet(fires=[decided]))
    other = task()
    with pytest.raises(ConflictError):
        await commit(WriteSet(fires=[decided], tasks={other.id: other}))
    assert await _places(pool, other) == (False, False)


async def test_due_times_that_are_decided_together_are_read_one_by_one(commit: Commit, pool: Pool) -> None:
    made, minute = job(), 60_000_000
    single = FireRecord(made.id, Micros(7 * minute), None, "misfire", Micros(8 * minute))
    together = FireSpanRecord(
        made.id, Micros(2 * minute), Micros(6 * minute + 1), parse_schedule("*/2 * * * *", "UTC"), Micros(0), "paused", Micros(9)
    )
    await commit(WriteSet(fires=[single], fire_spans=[together]))
    page = await list_fires(pool, made.id)
    assert page.rows == [
        FireRow(Micros(7 * minute), None, "misfire", Micros(8 * minute)),
        *(FireRow(Micros(due * minute), None, "paused", Micros(9)) for due in (6, 4, 2)),
    ]
    with pytest.raises(ConflictError):
        await commit(WriteSet(fire_spans=[together]))


async def test_an_idempotency_key_holds_for_a_day(commit: Commit, pool: Pool) -> None:
    first = IdempotencyRecord(PROJECT, "k", b"1", b"", Micros(DAY))
    await commit(WriteSet(idempotency=[first]))
    other = task()
    with pytest.raises(ConflictError, match="idempotency key"):
        await commit(WriteSet(idempotency=[first._replace(created=Micros(2 * DAY - 1))], tasks={other.id: other}))
    assert await _places(pool, other) == (False, False)
    await commit(WriteSet(idempotency=[first._replace(created=Micros(2 * DAY), digest=b"2")]))
    assert await pool.fetchval("SELECT digest FROM idempotency") == b"2"
    await commit(WriteSet(idempotency=[first._replace(project=Project("another"))]))


async def test_a_key_that_is_said_to_be_new_and_is_not_costs_no_commit(commit: Commit, pool: Pool) -> None:
    first = IdempotencyRecord(PROJECT, "k", b"1", b"", Micros(DAY))
    await commit(WriteSet(idempotency=[first]))
    other = task()
    again = first._replace(created=Micros(DAY + 1), digest=b"2", replaces=True)
    await commit(WriteSet(idempotency=[again, first._replace(key="another")], tasks={other.id: other}))
    assert await _places(pool, other) == (True, False)
    assert await pool.fetchval("SELECT digest FROM idempotency WHERE key = 'k'") == b"2"


@pytest.mark.parametrize("change", ["move", "end", "end again", "replan"])
async def test_a_row_that_is_missing_fails_the_commit(commit: Commit, pool: Pool, change: str) -> None:
    stored = Stored.HISTORY if change == "end again" else Stored.LIVE
    ghost, other = task(stored=stored, row_state=TaskState.RUNNING), task()
    if change in {"end", "end again"}:
        end(ghost)
    with pytest.raises(StoreError, match="not where they must be"):
        await commit(
            WriteSet(tasks={ghost.id: ghost, other.id: other}, plans_changed={ghost.id} if change == "replan" else set())
        )
    assert await _places(pool, other) == (False, False)


async def test_each_part_finds_its_rows_by_an_index(writer: asyncpg.Connection[asyncpg.Record]) -> None:
    for index, group in enumerate(GROUPS):
        prepared = statement(1 << index)
        arguments: list[object] = [0, 1, 0, *([] for _, names in prepared.parameters for _ in names)]
        found = await writer.fetch("EXPLAIN " + prepared.text, *arguments)
        lines = "\n".join(row[0] for row in found)
        assert not re.search(r"Seq Scan on (?!leadership)|Hash Join|Merge Join", lines), group.name


async def test_all_parts_make_one_statement(committer: Committer, pool: Pool) -> None:
    everything = statement((1 << len(GROUPS)) - 1)
    assert everything.text.count("FOR SHARE\n)") == 1
    assert all(name != "epoch" for _, names in everything.parameters for name in names)
    row = await committer._connection.fetchrow(
        everything.text, 0, committer._epoch, 0, *([] for _, names in everything.parameters for _ in names)
    )
    assert row is not None
