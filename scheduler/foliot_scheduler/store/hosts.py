"""Connecting to the host that takes writes, of those that a URL names, and noticing when one is gone without a word.

Theory of operation. After a fail-over nobody tells who the primary is: each host is asked, and says with its first words whether
it takes writes. They are asked in the order of the URL, the next one when one has refused or has been silent for a moment, so
that a host that is gone costs each new connection that moment and not the whole time limit. A connection that is open says
nothing of its host while it is idle; TCP's keepalive and user timeout, set on our side of it, break it when the host is gone.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot_scheduler.database_url import DatabaseHost

    Connection = asyncpg.Connection[asyncpg.Record]

CONNECT_TIMEOUT_S: Final = 5.0
"""How long one connection to one host may take to open, name resolution included."""

NEXT_HOST_AFTER_S: Final = 0.5
"""How long a host may be silent before the next one is asked too; one that is there answers within a few milliseconds."""

# A silent death of the other host is noticed after about 5 s: 2 s without traffic, then 3 probes a second apart; or 5 s after
# something was sent that it does not confirm.
IDLE_S: Final = 2
PROBE_EVERY_S: Final = 1
PROBES: Final = 3
UNCONFIRMED_MS: Final = 5_000

_SILENCE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNCONFIRMED_MS),
)

REFUSALS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a host that is not to be had raises."""


class NoHostError(Exception):
    """No host takes writes; `failures` has the reason of each, in the order of the URL."""

    def __init__(self, failures: Sequence[tuple[str, Exception]]) -> None:
        super().__init__("no host takes writes")
        self.failures = tuple(failures)


async def connect(hosts: Sequence[DatabaseHost], **options: Any) -> Connection:
    """Open a connection to the first host that takes writes, with asyncpg's options. Raises NoHostError."""
    failures: dict[int, Exception] = {}
    attempts: dict[asyncio.Task[Connection], int] = {}
    asked = 0
    try:
        while asked < len(hosts) or attempts:
            if asked < len(hosts):
                attempts[asyncio.create_task(_connect_to(hosts[asked], options), name="database.connect")] = asked
                asked += 1
            patience = NEXT_HOST_AFTER_S if asked < len(hosts) else None
            done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in sorted(done, key=attempts.__getitem__):
                number = attempts.pop(attempt)
                try:
                    return attempt.result()
                except REFUSALS as error:
                    failures[number] = error
        raise NoHostError([(hosts[number].name, failures[number]) for number in sorted(failures)])
    finally:
        await _call_off(attempts)


async def _connect_to(host: DatabaseHost, options: dict[str, Any]) -> Connection:
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        connection: Connection = await asyncpg.connect(host.url, **{**options, "target_session_attrs": "read-write"})
    bound_silence(connection)
    return connection


async def _call_off(attempts: dict[asyncio.Task[Connection], int]) -> None:
    """End the attempts that are not needed any more, and close what they may have opened meanwhile."""
    for attempt in attempts:
        attempt.cancel()
    if attempts:
        await asyncio.wait(attempts)
    for attempt in attempts:
        if not attempt.cancelled() and attempt.exception() is None:
            attempt.result().terminate()


def bound_silence(connection: Connection) -> None:
    """Have the kernel break a TCP connection whose other end is gone without a word."""
    # The driver has no option for it, and none of its public methods gives the socket away.
    opened: socket.socket | None = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined] # noqa: SLF001
    if opened is None or opened.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with suppress(OSError):  # broken already: whoever uses it will find out
        for level, name, value in _SILENCE:
            opened.setsockopt(level, name, value)
