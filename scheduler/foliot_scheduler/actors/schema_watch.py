"""The schema watch: ends a replica that runs on while the schema goes where it cannot follow.

While a release is rolled out, the first replica of the new one changes the schema under those of the old one. Mostly that leaves
them able to go on. A change that does not ends the leader's term by itself (store/migrate.py); this part tells every old replica,
leading or not, so that it ends with words, instead of failing call by call on columns that are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot_scheduler.store.errors import SchemaError, StoreError
from foliot_scheduler.store.migrate import check_schema

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.store.pool import Pool

EVERY_S: Final = 1.0
"""How often: how long a replica may answer with errors before it is gone. Two reads of a table of some twenty rows."""

log = get_logger(__name__)


class SchemaWatch(Part):
    """Looks whether this code may still use the database, and fails when it may not."""

    def __init__(self, *, pool: Pool, clock: Clock) -> None:
        """Take the database and the clock."""
        super().__init__("schema-watch")
        self._pool = pool
        self._clock = clock

    async def run(self) -> None:
        """Look for ever; raises SchemaError once the code and the schema do not fit any more."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                await check_schema(self._pool)
            except SchemaError as error:
                log.error("schema_watch.stepping_down", reason=str(error))  # noqa: TRY400 - the reason says it all
                raise
            except StoreError as error:
                log.debug("schema_watch.failed", reason=str(error))  # that PostgreSQL is away is told by others
