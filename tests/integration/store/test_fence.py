"""A leader whose term is over writes nothing, however the two commits meet."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.effects import (
    AttemptRecord,
    AuditRecord,
    CheckpointRecord,
    FireRecord,
    FireSpanRecord,
    IdempotencyRecord,
    WriteSet,
)
from foliot_scheduler.core.model import LeaseBatch, Outcome, Stored
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import Micros, Token, WorkerId
from foliot_scheduler.store import election
from foliot_scheduler.store.commit import Committer
from foliot_scheduler.store.errors import Fenced, StoreUnavailable
from foliot_scheduler.store.pool import Pool
from tests.integration.store.conftest import Commit
from tests.integration.store.core_objects import PROJECT, end, job, run, task, tasks_of, worker

_TABLES = (
    "task", "task_history", "run", "run_history", "job", "job_version", "attempt", "checkpoint", "fire", "fire_span",
    "audit_record", "idempotency", "lease_batch", "worker", "task_log",
)  # fmt: skip


async def _contents(pool: Pool) -> dict[str, list[object]]:
    return {name: [tuple(row) for row in await pool.fetch(f"SELECT {name}::text FROM {name} ORDER BY 1")] for name in _TABLES}


async def _wait_until_locked(pool: Pool) -> None:
    """Wait until some session waits for another's row."""
    while not await pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
        pass


def _everything() -> WriteSet:
    """One row for every way of writing."""
    made, on = job(), worker()
    live, moved, ended, relabelled, ended_again, revived, removed = (task() for _ in range(7))
    new_run, moved_run, ended_run = (run(made) for _ in range(3))
    moved.stored = ended.stored = Stored.LIVE
    relabelled.stored = ended_again.stored = revived.stored = Stored.HISTORY
    moved.row_state, ended.row_state, removed.row_state = TaskState.BLOCKED, TaskState.READY, TaskState.READY
    relabelled.row_state = ended_again.row_state = revived.row_state = TaskState.FAILED
    for each in (ended, relabelled, ended_again):
        end(each)
    short = end(task())
    moved_run.stored = ended_run.stored = Stored.LIVE
    ended_run.state, ended_run.ended = RunState.SUCCEEDED, Micros(1)
    batch = LeaseBatch(Token(1), WorkerId("w"), Micros(1), (live.id,), (1,), 1)
    return WriteSet(
        tasks={each.id: each for each in (live, moved, ended, relabelled, ended_again, revived, short)},
        relabelled={relabelled.id},
        tasks_deleted=[removed],
        runs={each.id: each for each in (new_run, moved_run, ended_run)},
        jobs={made.id: made},
        attempts=[AttemptRecord(live.id, 1, WorkerId("w"), "", None, Micros(1), Outcome.LOST, None, "")],
        batches_opened={batch.first_token: batch},
        batches_closed=[Token(2)],
        checkpoints={live.id: CheckpointRecord(live.id, 1, "1", Micros(1))},
        fires=[FireRecord(made.id, Micros(1), new_run.id, "", Micros(1))],
        fire_spans=[FireSpanRecord(made.id, Micros(1), Micros(9), parse_schedule("@daily", ""), Micros(0), "paused", Micros(9))],
        idempotency=[IdempotencyRecord(PROJECT, "k", b"", b"", Micros(1))],
        workers={("", WorkerId("w1")): on},
        audits=[AuditRecord(bytes(16), Micros(1), "", Role.ADMIN, PROJECT, "TaskService/SubmitTask", "", 1, bytes(16))],
    )


async def test_a_fenced_commit_writes_nothing_of_any_kind(committer: Committer, pool: Pool) -> None:
    kept, closing = task(), LeaseBatch(Token(2), WorkerId("w"), Micros(1), (), (), 1)
    await committer.commit(committer.encode(WriteSet(tasks={kept.id: kept}, batches_opened={closing.first_token: closing})))
    before = await _contents(pool)
    async with pool.acquire() as other:
        await election.take_epoch(other, 0)
    writes = _everything()
    writes.tasks_deleted.append(kept)
    with pytest.raises(Fenced):
        await committer.commit(committer.encode(writes))
    assert await _contents(pool) == before
    for fenced in (committer.pulse(), committer.commit(committer.encode(WriteSet()))):
        with pytest.raises(Fenced):
            await fenced


async def test_a_commit_that_meets_a_new_leader_waits_and_is_fenced(committer: Committer, pool: Pool) -> None:
    await committer.prepare()
    kept = task()
    await committer.commit(committer.encode(tasks_of(kept)))
    end(kept)
    async with pool.acquire() as other, other.transaction():
        await election.take_epoch(other, 0)
        late = asyncio.create_task(committer.commit(committer.encode(tasks_of(kept, task()))))
        # It has taken its snapshot, in which the old epoch holds, and waits for the row.
        await _wait_until_locked(pool)
        assert not late.done()
    with pytest.raises(Fenced):
        await late
    assert await pool.fetchval("SELECT count(*) FROM task") == 1
    assert await pool.fetchval("SELECT count(*) FROM task_history") == 0


async def test_a_commit_goes_on_if_the_new_leader_gives_up(committer: Committer, pool: Pool) -> None:
    await committer.prepare()
    async with pool.acquire() as other:
        taking = other.transaction()
        await taking.start()
        await election.take_epoch(other, 0)
        waiting = asyncio.create_task(committer.commit(committer.encode(tasks_of(task()))))
        await _wait_until_locked(pool)
        await taking.rollback()
    await waiting
    assert await pool.fetchval("SELECT count(*) FROM task") == 1


async def test_a_new_leader_waits_for_a_commit_under_way(
    committer: Committer, writer: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    await committer.prepare()
    transaction = writer.transaction()
    await transaction.start()
    await committer.commit(committer.encode(tasks_of(task())))
    async with pool.acquire() as other:
        taking = asyncio.create_task(election.take_epoch(other, 0))
        await _wait_until_locked(pool)
        assert not taking.done()
        await transaction.commit()
        await taking
        # What the old leader had committed is there to be read by the new one.
        assert await other.fetchval("SELECT count(*) FROM task") == 1


async def test_an_answer_that_is_lost_is_unavailable(
    committer: Committer, writer: asyncpg.Connection[asyncpg.Record], pool: Pool
) -> None:
    await committer.prepare()
    async with pool.acquire() as other, other.transaction():
        await election.take_epoch(other, 0)
        lost = asyncio.create_task(committer.commit(committer.encode(tasks_of(task()))))
        await _wait_until_locked(pool)
        await pool.fetchval("SELECT pg_terminate_backend($1)", writer.get_server_pid())
        with pytest.raises(StoreUnavailable):
            await lost


async def test_an_empty_commit_is_the_fence_alone(commit: Commit) -> None:
    await commit(WriteSet())


async def test_what_changes_after_encoding_belongs_to_the_next_commit(committer: Committer, pool: Pool) -> None:
    mover = task(state=TaskState.BLOCKED)
    encoded = committer.encode(tasks_of(mover))
    mover.state = TaskState.READY
    await committer.commit(encoded)
    assert await pool.fetchval("SELECT state FROM task") == "blocked"
    await committer.commit(committer.encode(tasks_of(mover)))
    assert await pool.fetchval("SELECT state FROM task") == "ready"
