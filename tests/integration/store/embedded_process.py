"""A process that runs an embedded PostgreSQL, adds rows one by one, and prints each that was acknowledged. It never ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg

from foliot_scheduler.store.embedded import EmbeddedPostgres


async def main() -> None:
    server = EmbeddedPostgres(Path(sys.argv[1]))
    await server.start()
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer PRIMARY KEY)")
    print(f"pid {server.pid}", flush=True)  # noqa: T201 - how the test hears of it
    number = await connection.fetchval("SELECT coalesce(max(number), 0) FROM kept")
    while True:
        number += 1
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
        print(number, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    asyncio.run(main())
