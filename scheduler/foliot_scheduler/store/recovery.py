"""What a new leader reads: live work only, so that its time grows with what is unfinished and never with the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import JobId, Micros, RunId, TaskId, Token, WorkerId
from foliot_scheduler.store.columns import unpack_attempts
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

ID_BYTES = 16

_SQL = Queries("queries/recovery.sql")


class EndedTask(NamedTuple):
    """A task of a live run that has ended."""

    id: TaskId
    run_id: RunId
    position: int
    state: TaskState
    attempt: int


class OpenBatch(NamedTuple):
    """A lease batch with at least one lease that had not ended."""

    first_token: Token
    project: str
    """Its holder's, which all executors have; empty for a worker that serves all."""
    worker_id: WorkerId
    leased: Micros
    task_ids: tuple[TaskId, ...]
    attempts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LiveRows:
    """Everything that has not ended, as PostgreSQL has it; records have the columns of their query in recovery.sql."""

    tasks: Sequence[asyncpg.Record]
    runs: Sequence[asyncpg.Record]
    job_specs: dict[tuple[JobId, int], bytes]
    """By job and version: those that live runs are pinned to."""
    ended_tasks: Sequence[EndedTask]
    jobs: Sequence[asyncpg.Record]
    batches: Sequence[OpenBatch]
    dependencies: dict[TaskId, TaskState]
    """How those dependencies of live tasks on their own ended that are not live."""
    checkpoints: dict[TaskId, str]
    workers: Sequence[asyncpg.Record]
    """Those that have not gone offline, executors included."""
    webhooks: Sequence[asyncpg.Record]
    retried: frozenset[TaskId]
    """Live tasks because of which others have failed."""


async def load_live(conn: Connection, shard: int) -> LiveRows:
    """Read the live state of a shard. Nobody may write to it meanwhile: the epoch is taken first."""
    with translated("load the live state"):
        tasks = await conn.fetch(_SQL["live_tasks"], shard)
        versions = await conn.fetch(_SQL["job_versions"], shard)
        return LiveRows(
            tasks=tasks,
            runs=await conn.fetch(_SQL["live_runs"], shard),
            job_specs={(JobId(row["job_id"]), row["version"]): row["spec"] for row in versions},
            ended_tasks=[
                EndedTask(row["id"], row["run_id"], row["position"], TaskState(row["state"]), row["attempt"])
                for row in await conn.fetch(_SQL["ended_tasks_of_live_runs"], shard)
            ],
            jobs=await conn.fetch(_SQL["jobs_of_live_work"], shard),
            batches=[_batch(row) for row in await conn.fetch(_SQL["open_lease_batches"], shard)],
            dependencies=await _dependencies(conn, tasks),
            checkpoints={
                TaskId(row["task_id"]): row["checkpoint"] for row in await conn.fetch(_SQL["checkpoints_of_live_tasks"], shard)
            },
            workers=await conn.fetch(_SQL["workers"], shard),
            webhooks=await conn.fetch(_SQL["webhooks"], shard),
            retried=frozenset(TaskId(row["id"]) for row in await conn.fetch(_SQL["retried_tasks"], shard)),
        )


async def _dependencies(conn: Connection, tasks: Sequence[asyncpg.Record]) -> dict[TaskId, TaskState]:
    live = {row["id"] for row in tasks}
    wanted = {task_id for row in tasks for task_id in split_ids(row["depends_on"])} - live
    if not wanted:
        return {}
    return {TaskId(row["id"]): TaskState(row["state"]) for row in await conn.fetch(_SQL["dependency_states"], list(wanted))}


def split_ids(packed: bytes | None) -> tuple[TaskId, ...]:
    """Take apart ids that stand one after the other."""
    if not packed:
        return ()
    return tuple(TaskId(packed[i : i + ID_BYTES]) for i in range(0, len(packed), ID_BYTES))


def _batch(row: asyncpg.Record) -> OpenBatch:
    attempts = unpack_attempts(row["attempts"])
    return OpenBatch(
        Token(row["first_token"]),
        row["project"],
        WorkerId(row["worker_id"]),
        row["leased_at"],
        split_ids(row["task_ids"]),
        attempts,
    )
