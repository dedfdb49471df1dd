"""What migrations make of rows that earlier releases wrote."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import CommandWork, HttpWork, RetryPolicy, TaskSpec
from foliot_scheduler.store.migrate import migrate
from foliot_scheduler.store.migration_files import read_migrations
from foliot_scheduler.store.pool import Connection, open_connection
from foliot_scheduler.store.sql import Queries
from tests.integration.store.history_support import insert

_VERSIONS = Queries("migrate.sql")

COMMAND = TaskSpec(command=CommandWork(line="x" * 300, environment={"A": "b"}), priority=3)
HTTP = TaskSpec(name="n", http=HttpWork(url="https://example.test/"))


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await open_connection(empty_database_url)
    yield connection
    await connection.close()


async def bring_before(connection: Connection, name: str) -> None:
    """Make a database as it was before a migration."""
    await connection.execute(_VERSIONS["create_versions"])
    for step in itertools.takewhile(lambda step: step.name != name, read_migrations()):
        await connection.execute(step.text)
        await connection.execute(
            "INSERT INTO schema_version VALUES ($1, $2, $3, now())", step.version, step.compatible_from, step.name
        )


def spec_of(*tasks: TaskSpec, **fields: object) -> JobSpec:
    spec = JobSpec(name="j", retry=RetryPolicy(multiplier=1.5), tags=["t"], max_active_runs=3, **fields)  # type: ignore[arg-type] # by name
    spec.tasks.extend(JobTask(key=f"k{number}", spec=task) for number, task in enumerate(tasks))
    return spec


async def test_stored_jobs_get_their_shape_and_head(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await bring_before(connection, "job_shapes")
    daily = Schedule(cron="@daily")
    jobs = [
        (spec_of(COMMAND, schedule=daily), "scheduled_command"),
        (spec_of(HTTP, schedule=daily), "scheduled_http"),
        (spec_of(TaskSpec(), schedule=daily), "other"),
        (spec_of(COMMAND, HTTP, schedule=daily), "other"),
        (spec_of(HTTP), "other"),
        (spec_of(schedule=daily), "other"),
        (spec_of(*[COMMAND] * 2_000), "other"),
    ]
    for number, (spec, _) in enumerate(jobs):
        job_id = number.to_bytes(16, "big")
        cron = spec.schedule.cron if spec.HasField("schedule") else None
        await insert(connection, "job", id=job_id, version=2, cron=cron)
        await insert(connection, "job_version", job_id=job_id, version=1, spec=spec_of(HTTP).SerializeToString())
        await insert(connection, "job_version", job_id=job_id, version=2, spec=spec.SerializeToString())
    assert await migrate(connection) > 0
    rows = await connection.fetch(
        "SELECT shape, head, task_count FROM job JOIN job_version ON job_id = id AND job_version.version = 2 ORDER BY id"
    )
    for row, (spec, shape) in zip(rows, jobs, strict=True):
        assert (row["shape"], row["task_count"]) == (shape, len(spec.tasks))
        spec.ClearField("tasks")
        assert JobSpec.FromString(row["head"]) == spec
