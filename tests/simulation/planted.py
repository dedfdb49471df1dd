"""Bugs to plant into the real code, each of which must be noticed: so the checker is known to be able to fail."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from foliot_scheduler.actors.journal import Journal
from foliot_scheduler.actors.store_clock import StoreClock
from foliot_worker.session import Session
from tests.simulation.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commit_without_fence(self: Database, connection: Any, epoch: int, *rest: Any) -> None:
    """Take a commit of any term. The fence is a part of PostgreSQL's statement, so it is the model that leaves it out."""
    _execute(self, connection, self.leadership.epoch, *rest)


async def _release_before_commit(self: Journal[Any]) -> None:
    """Answer callers and workers, and commit afterwards."""
    effects = self._take()
    encoded = self._writer.encode(effects.writes) if effects.writes else None
    self._release(effects)
    if encoded is not None:
        await self._writer.commit(encoded)


def _drop_results(self: Session) -> None:
    """Forget what the scheduler has not confirmed when the stream breaks."""
    self._results.clear()
    _broken(self)


def _host_time(self: StoreClock) -> int:
    """Go by the clock of the leader's host instead of PostgreSQL's."""
    return self._clock.now_us()


_execute = Database._execute
_broken = Session.broken

BUGS: Final[dict[str, tuple[type, str, Any]]] = {
    "fence": (Database, "_execute", _commit_without_fence),
    "early_ack": (Journal, "_commit", _release_before_commit),
    "dropped_result": (Session, "broken", _drop_results),
    "host_clock": (StoreClock, "now_us", _host_time),
}
"""By name: where each is planted. `host_clock` was there once: a new leader whose host's clock was ahead took running attempts
for overdue, and two workers held one task."""


GENTLE: Final = frozenset({"dropped_result"})
"""Those that break a promise of gentle stories only: elsewhere an attempt may be lost, and is run again."""


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """Have a bug while this lasts; none for an empty name."""
    if not bug:
        yield
        return
    owner, name, replacement = BUGS[bug]
    with mock.patch.object(owner, name, replacement):
        yield
