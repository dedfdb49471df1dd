"""A leading replica for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, replica


@pytest.fixture
async def stack(database_url: str, pool: Pool) -> AsyncIterator[Stack]:
    async with replica(database_url, pool) as found:
        yield found
