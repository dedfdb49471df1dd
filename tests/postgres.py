"""A real PostgreSQL for tests: one server for a test process, one migrated template database, a copy of it for each test.

Under pytest-xdist every worker process has a server of its own, which costs half a second and shares nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import asyncpg

from foliot_scheduler.store.embedded import EmbeddedPostgres
from foliot_scheduler.store.migrate import migrate
from foliot_scheduler.store.pool import open_connection

T = TypeVar("T")

SETTINGS = {
    # Nothing in it outlives the test run, so nothing is worth waiting for the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Nothing is replicated, so nothing is logged that replaying would not need.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    # Plans must not depend on when a vacuum came by: tests that look at plans analyze by themselves.
    "autovacuum": "off",
}

_TEMPLATE = "foliot_template"


class PostgresServer:
    """A running server; makes and drops databases. Usable from synchronous fixtures: it has an event loop of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._part = EmbeddedPostgres(data_dir, settings=SETTINGS)
        self._numbers = itertools.count(1)
        self._admin: asyncpg.Connection[asyncpg.Record] | None = None

    def start(self) -> None:
        """Start the server and make the template."""
        self._run(self._start())

    def stop(self) -> None:
        """Stop the server."""
        self._run(self._stop())
        self._loop.close()

    def create_database(self, *, empty: bool = False) -> str:
        """Make a database, migrated unless `empty` is asked for, and return its name."""
        name = f"test_{next(self._numbers)}"
        template = "template1" if empty else _TEMPLATE
        # File by file takes half the time of going through the log, as long as databases are small.
        self._run(self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._run(self._execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def url(self, name: str) -> str:
        """Name a database as its clients do."""
        return self._part.socket_url.replace("/foliot?", f"/{name}?")

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    async def _start(self) -> None:
        await self._part.start()
        self._admin = await asyncpg.connect(self.url("postgres"))
        await self._execute(f"CREATE DATABASE {_TEMPLATE}")
        connection = await open_connection(self.url(_TEMPLATE))
        try:
            await migrate(connection)
        finally:
            await connection.close()

    async def _stop(self) -> None:
        if self._admin is not None:
            await self._admin.close()
        await self._part.stop()

    async def _execute(self, statement: str) -> None:
        assert self._admin is not None
        await self._admin.execute(statement)
