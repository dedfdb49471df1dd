"""Where the leader is: what calls and streams wait for that reached a replica which does not lead.

Theory of operation. PostgreSQL says who leads, and this replica itself knows first when it does. Nobody looks while nobody waits;
as soon as somebody does, one look at a time serves all who wait, and is repeated until they have what they came for. A fail-over
takes tens of milliseconds, so those who wait through it are many and wait shortly; both are bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from foliot_scheduler.actors.leader import no_leader

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.api.ports import FindLeader, LeaderAddress, LeaderPort

LOOK_EVERY_S: Final = 0.01
"""How often to look while somebody waits. A look reads one row; only a fail-over or a stop has anybody wait at all."""

WAIT_S: Final = 5.0
"""How long a caller is kept waiting for a leader, at most: a fail-over takes a fraction of a second, and a leader that stalls is
replaced after as long. Callers with less time left wait less."""

WAITING_MAX: Final = 10_000
"""How many may wait at once, each with a request in memory; further ones are told at once that nobody leads."""


class Whereabouts:
    """Finds the leader for whoever waits for one."""

    def __init__(self, *, leader: LeaderPort, find: FindLeader, own_address: str, clock: Clock, wait_s: float = WAIT_S) -> None:
        """Take this replica's own standing and address, what reads who leads, and how long anybody waits at most."""
        self.wait_s = wait_s
        self._leader = leader
        self._find = find
        self._own_address = own_address
        self._clock = clock
        self._waiting: dict[asyncio.Future[LeaderAddress | None], None] = {}
        """In the order they came, which is the one they are told in."""
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, within_s: float) -> LeaderAddress | None:
        """Return where the leader is, or None when this replica leads.

        Raises FoliotError NO_LEADER when nobody does within the time or too many wait, StoreError when PostgreSQL cannot say.
        """
        if self._leader.leading:
            return None
        if len(self._waiting) >= WAITING_MAX:
            raise no_leader()
        found: asyncio.Future[LeaderAddress | None] = asyncio.get_running_loop().create_future()
        self._waiting[found] = None
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_for_all(), name="api.whereabouts")
        try:
            async with asyncio.timeout(max(0.0, min(within_s, self.wait_s))):
                return await found
        except TimeoutError:
            raise no_leader() from None
        finally:
            self._waiting.pop(found, None)

    async def _look_for_all(self) -> None:
        """Look until nobody waits."""
        try:
            while self._waiting:
                if not await self._look():
                    await self._clock.sleep(LOOK_EVERY_S)
        finally:
            self._looking = None

    async def _look(self) -> bool:
        """Look once and tell all who wait, if there is anything to tell; return whether there was."""
        if self._leader.leading:
            self._tell(None)
            return True
        try:
            found = await self._find()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._tell(error)
            return True
        # Our own address there means that we have just stopped leading, or are about to begin.
        if found is None or not found.address or found.address == self._own_address:
            return False
        self._tell(found)
        return True

    def _tell(self, found: LeaderAddress | Exception | None) -> None:
        for waiting in self._waiting:
            if waiting.done():
                continue
            if isinstance(found, Exception):
                waiting.set_exception(found)
            else:
                waiting.set_result(found)
        self._waiting.clear()
