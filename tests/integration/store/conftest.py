"""Fixtures of the store's tests: a term on the test's database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from foliot_scheduler.core.effects import WriteSet
from foliot_scheduler.store import election
from foliot_scheduler.store.commit import Committer
from foliot_scheduler.store.pool import ONE_WRITER, Pool, open_connection
from tests.integration.store.counted import check_counts

Commit = Callable[[WriteSet], Awaitable[None]]


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The connection of a leader."""
    connection = await open_connection(database_url, settings=ONE_WRITER)
    yield connection
    connection.terminate()


@pytest.fixture
async def committer(writer: asyncpg.Connection[asyncpg.Record]) -> Committer:
    """The committer of a term that has just begun."""
    await election.ensure_row(writer, 0)
    epoch, _ = await election.take_epoch(writer, 0)
    return Committer(writer, 0, epoch)


@pytest.fixture
async def commit(committer: Committer, pool: Pool) -> AsyncIterator[Commit]:
    """Encodes and commits a set; whatever a test commits, the counts must be those of the rows afterwards."""

    async def commit(writes: WriteSet) -> None:
        await committer.commit(committer.encode(writes))

    yield commit
    await check_counts(pool)
