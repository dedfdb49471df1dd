"""A PostgreSQL of a test's own, to be stopped, killed, copied to a standby and promoted."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import asyncpg

from foliot.kit.lifecycle import PartFailedError
from foliot_scheduler.store.embedded import EmbeddedPostgres
from foliot_scheduler.store.migrate import migrate
from foliot_scheduler.store.pool import open_connection
from foliot_scheduler.store.programs import identity_for, programs, run
from tests.postgres import SETTINGS
from tests.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS_MAX = 20

# Killed is PostgreSQL alone, never the machine: what it has written is there, whether the disk has it or not.
_SETTINGS = SETTINGS | {
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "2",
    "max_connections": str(CONNECTIONS_MAX),
    "superuser_reserved_connections": "0",
}


class MortalPostgres:
    """A server with a migrated database, on a port that it keeps when it is started again."""

    def __init__(self, folder: Path) -> None:
        """Take its data directory; one that was used before is used again."""
        self.folder = folder
        self.port = free_port()
        self._part = EmbeddedPostgres(folder)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgresql://foliot:{self.password}@127.0.0.1:{self.port}/foliot"

    @property
    def password(self) -> str:
        """Of its superuser, foliot."""
        return (self.folder / "postgres.password").read_text(encoding="ascii").strip()

    async def start(self) -> None:
        """Start it."""
        self._part = EmbeddedPostgres(self.folder, self.port, settings=_SETTINGS)
        await self._part.start()

    async def stop(self) -> None:
        """Stop it in good order, as for a restart: everybody is disconnected."""
        await self._part.stop()

    async def kill(self) -> None:
        """Kill its first process; the others end when they notice."""
        assert self._part.pid is not None
        os.kill(self._part.pid, signal.SIGKILL)
        with suppress(PartFailedError):
            await self._part.wait_ended()
        await self._part.stop()

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """Open a connection past everything that is between it and its clients."""
        return await asyncpg.connect(self._part.socket_url)

    async def execute(self, statement: str) -> None:
        """Have a statement executed by its superuser."""
        connection = await self.connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def follow_with(self, standby: MortalPostgres) -> None:
        """Copy it to the empty folder of another and start that as its standby; from then on commits wait for it."""
        cluster = standby.folder / "postgres"
        cluster.mkdir(mode=0o700, parents=True)
        identity = identity_for(self.folder / "postgres", cluster, programs())
        identity.give(cluster)
        source = f"host={self.folder / 'run'} port={self.port} user=foliot"
        command = [str(programs() / "pg_basebackup"), f"--dbname={source}", f"--pgdata={cluster}"]
        await run(identity, *command, "--write-recovery-conf", "--checkpoint=fast", "--no-sync", cwd=standby.folder)
        shutil.copy2(self.folder / "postgres.password", standby.folder / "postgres.password")
        identity.give(standby.folder / "postgres.password")
        await standby.start()
        await self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.execute("SELECT pg_reload_conf()")

    async def __aenter__(self) -> Self:
        await self.start()
        connection = await open_connection(self.url)
        try:
            await migrate(connection)
        finally:
            await connection.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._part.stop()
