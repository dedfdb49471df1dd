"""Presence: a replica's word that it is up, leader or not, and the end of what it knows of those that are gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot_scheduler.store import components
from foliot_scheduler.store.components import ComponentKind
from foliot_scheduler.store.errors import StoreError

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.store.pool import Pool

EVERY_S: Final = 10.0
"""How often: three times in the 30 s after which a component counts as gone."""

_LEAVE_TIMEOUT_S: Final = 1.0
"""How long a replica that stops waits to be forgotten; it would be anyway."""

log = get_logger(__name__)


class Presence(Part):
    """Says every EVERY_S seconds that this replica is up."""

    def __init__(self, *, pool: Pool, name: str, clock: Clock) -> None:
        """Take where to say it, and a name that no other process has."""
        super().__init__("presence")
        self._pool = pool
        self._name = name
        self._clock = clock

    async def run(self) -> None:
        """Say it for ever; PostgreSQL's absence is told by others."""
        while True:
            try:
                await components.announce(self._pool, ComponentKind.SCHEDULER, self._name)
                await components.forget_silent(self._pool)
            except StoreError as error:
                log.debug("presence.failed", reason=str(error))
            await self._clock.sleep(EVERY_S)

    async def on_stop(self) -> None:
        """Be forgotten at once, if that is possible."""
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await components.leave(self._pool, ComponentKind.SCHEDULER, self._name)
        except (StoreError, TimeoutError) as error:
            log.debug("presence.leave_failed", reason=str(error))
