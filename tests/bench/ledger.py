"""What PostgreSQL says became of the tasks: a figure of a run that lost one is an error, not a figure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

POLL_S: Final = 0.002
"""Between two looks where only the record of the last end is open: a small part of the times that are measured."""

RECORDED_WITHIN_S: Final = 120.0


class LedgerError(Exception):
    """Tasks are missing, did not end, or did not end well."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended, all in all."""

    succeeded: int
    otherwise: int
    repeated: int
    """Succeeded, but not at the first attempt."""


class Ledger:
    """Reads the database that is measured, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before = Ended(0, 0, 0)

    @classmethod
    async def open(cls, database_url: str) -> Ledger:
        """Connect."""
        ledger = cls(await asyncpg.connect(database_url))
        ledger._before = await ledger.ended()
        return ledger

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def ended(self) -> Ended:
        """Count what ended."""
        row = await self._connection.fetchrow(
            "SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded,"
            " count(*) FILTER (WHERE state <> 'succeeded') AS otherwise,"
            " count(*) FILTER (WHERE state = 'succeeded' AND attempt > 1) AS repeated FROM task_history"
        )
        assert row is not None
        return Ended(row["succeeded"], row["otherwise"], row["repeated"])

    async def wait_all_recorded(self, every_s: float = POLL_S) -> None:
        """Return once no task is left that has not ended, looking `every_s`; raises LedgerError after two minutes."""
        await self._wait("SELECT NOT EXISTS (SELECT FROM task)", "tasks have not ended", every_s)

    async def wait_runs_recorded(self) -> None:
        """Return once no run is left that has not ended; raises LedgerError after two minutes."""
        await self._wait("SELECT NOT EXISTS (SELECT FROM run)", "runs have not ended", POLL_S)

    async def leave_out(self) -> None:
        """Leave what has ended by now out of the next check; it was cancelled."""
        await self.wait_all_recorded()
        self._before = await self.ended()

    async def check(self, tasks: int) -> int:
        """Answer how many of the `tasks` since the last check took several attempts; raises LedgerError if one is missing."""
        await self.wait_all_recorded()
        before, now = self._before, await self.ended()
        self._before = now
        if now.otherwise > before.otherwise:
            raise LedgerError(f"{now.otherwise - before.otherwise} tasks did not succeed: {await self._example()}")
        if now.succeeded - before.succeeded != tasks:
            raise LedgerError(f"{tasks} tasks were submitted, {now.succeeded - before.succeeded} are recorded as succeeded")
        return now.repeated - before.repeated

    async def _example(self) -> str:
        row = await self._connection.fetchrow("SELECT name, state, error FROM task_history WHERE state <> 'succeeded' LIMIT 1")
        return "" if row is None else f"{row['name']} {row['state']} {row['error']}"

    async def _wait(self, question: str, otherwise: str, every_s: float) -> None:
        statement = await self._connection.prepare(question)
        try:
            async with asyncio.timeout(RECORDED_WITHIN_S):
                while not await statement.fetchval():  # noqa: ASYNC110 -- PostgreSQL has no event to wait for
                    await asyncio.sleep(every_s)
        except TimeoutError:
            raise LedgerError(f"after {RECORDED_WITHIN_S:g} s, {otherwise}") from None
