"""Connections: how they are opened, what they speak, and what their failures mean.

On every connection an id is the 16 bytes of its UUID and an instant is Micros, in arguments and results alike: the same types
as in the core, so that nothing is converted on the way. Everything that asyncpg or the operating system raises is translated
here, in `translated`, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from foliot_scheduler.database_url import DatabaseUrl, read_database_url
from foliot_scheduler.store import hosts
from foliot_scheduler.store.errors import ConflictError, DatabaseUrlError, StoreBusy, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z, from which PostgreSQL counts."""

READ_TIMEOUT_S: Final = 10.0
"""How long one read may take: longer than any list takes on millions of rows, shorter than a caller waits."""

ACQUIRE_WITHIN_S: Final = 5.0
"""How long to wait for a connection of the pool: as long as a new one may take to open. Who waits longer waits behind a host that
is gone, or behind more reads than it has places for, and is better told so."""

RELEASE_WITHIN_S: Final = 1.0
"""How long a connection that is given back may take to call off what still runs on it, before it is closed instead."""

_COMMAND_GRACE_S: Final = 2.0
"""How much longer than the server's own limit we wait for an answer, before the connection counts as dead."""

_QUERIES_MAX: Final = 50_000
_IDLE_LIFETIME_S: Final = 300.0
"""A connection of the pool is opened anew after so many statements, and closed when idle for so long: asyncpg's own defaults."""

_STATEMENTS_MAX: Final = 256
"""Prepared statements kept on a connection: all combinations of filters and commit groups that are in use."""

KEEPALIVE: Final = {
    # The other direction of what `hosts.bound_silence` does: PostgreSQL notices that we are gone, and gives the lock away.
    "tcp_keepalives_idle": str(hosts.IDLE_S),
    "tcp_keepalives_interval": str(hosts.PROBE_EVERY_S),
    "tcp_keepalives_count": str(hosts.PROBES),
    "tcp_user_timeout": str(hosts.UNCONFIRMED_MS),
    # A backend that waits for somebody's lock does not look at its connection by itself, and keeps the leader's lock meanwhile.
    "client_connection_check_interval": "1s",
}
"""Server settings for the session that holds the leader's lock."""

MANY_READERS: Final = {
    # Which partitions and which index are right depends on the values: a plan made once for all of them reads whole days where
    # one made for these finds nothing to read. Planning costs 0.3 to 3 ms.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}
"""Server settings for the pool."""

ONE_WRITER: Final = {
    # The commit's statements are planned once, before statistics exist, and must still be right when a table has grown by
    # a million rows: each finds few rows by primary key out of many.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Server settings for the journal's connection."""


class _BoundedPool(asyncpg.Pool):
    """A pool that keeps nobody waiting for ever: for a connection, or for one that cannot be given back in good order."""

    __slots__ = ()

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=ACQUIRE_WITHIN_S if timeout is None else timeout)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        # What fails here ends the connection and nothing else: what it was wanted for has been answered, or has failed itself.
        with contextlib.suppress(*hosts.REFUSALS):
            await super().release(connection, timeout=RELEASE_WITHIN_S if timeout is None else timeout)


async def open_pool(url: str, *, application_name: str = "foliot", size: int = 8, read_timeout_s: float = READ_TIMEOUT_S) -> Pool:
    """Open a pool for reads and small writes; it connects once at once, so that a wrong URL is found here.

    Each of its connections is to the host that takes writes when it is opened. Raises DatabaseUrlError when the URL cannot work,
    StoreUnavailable when no host takes writes.
    """
    found = _read_url(url)

    async def connect(*_url: object, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        return await hosts.connect(found.hosts, **options)

    with translated("connect", found):
        pool: Pool = _BoundedPool(
            url,
            connect=connect,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            # Without a floor: the pool would try by itself to keep it while PostgreSQL is away, and log each failure at length.
            min_size=0,
            max_size=size,
            max_queries=_QUERIES_MAX,
            max_inactive_connection_lifetime=_IDLE_LIFETIME_S,
            command_timeout=read_timeout_s + _COMMAND_GRACE_S,
            statement_cache_size=_STATEMENTS_MAX,
            # Composed statements are long; a limit on their length or age would only prepare them again and again.
            max_cacheable_statement_size=0,
            max_cached_statement_lifetime=0,
            init=_set_codecs,
            # asyncpg would send a statement that resets the session each time a connection is given back: half of what a read
            # costs, for sessions whose state nobody changes.
            reset=_keep_session,
            server_settings=_server_settings(
                application_name, statement_timeout=f"{int(read_timeout_s * 1000)}ms", **MANY_READERS
            ),
        )
        await pool
        async with pool.acquire():
            return pool


async def open_connection(
    url: str,
    *,
    application_name: str = "foliot",
    command_timeout_s: float | None = None,
    settings: dict[str, str] | None = None,
) -> asyncpg.Connection[asyncpg.Record]:
    """Open one connection, to the host that takes writes, with server settings of its own, such as KEEPALIVE or ONE_WRITER.

    A command that takes longer than `command_timeout_s` breaks the connection, unless it is given a limit of its own (None: it
    may wait for ever). Raises as `open_pool` does.
    """
    found = _read_url(url)
    with translated("connect", found):
        connection = await hosts.connect(
            found.hosts,
            command_timeout=command_timeout_s,
            statement_cache_size=_STATEMENTS_MAX,
            max_cacheable_statement_size=0,
            max_cached_statement_lifetime=0,
            server_settings=_server_settings(application_name, **(settings or {})),
        )
        try:
            async with asyncio.timeout(hosts.CONNECT_TIMEOUT_S):
                await _set_codecs(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


def describe_url(url: str) -> str:
    """Write a database URL without its password, for people."""
    try:
        return read_database_url(url).shown
    except ValueError:
        return "the database URL"


def _read_url(url: str) -> DatabaseUrl:
    try:
        return read_database_url(url)
    except ValueError as error:
        raise DatabaseUrlError(f"the database URL {error}") from None


@contextlib.contextmanager
def translated(what: str, url: DatabaseUrl | None = None) -> Iterator[None]:
    """Turn what asyncpg and the operating system raise into StoreError and its kin.

    `what` is the infinitive of what was tried, for the message; `url`, given where a connection is opened, is named in it
    without its password. Wrap calls of the driver only: an OSError of anything else would be taken for the database's.
    """
    try:
        yield
    except StoreError:
        raise
    except hosts.NoHostError as error:
        # Without its cause, which may quote the URL.
        raise _no_host(error, f"could not {what}" if url is None else url.shown) from None
    except hosts.REFUSALS as error:
        raise _error(error, what) from error
    except ValueError:
        if url is None:
            raise
        # asyncpg's own reading of the URL; its message may quote a piece of the password.
        raise DatabaseUrlError("the database URL is malformed: is the password percent-encoded?") from None


_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, starting up, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # the host has become a standby
    asyncpg.PostgresSystemError,  # its disk fails it
    asyncpg.TargetServerAttributeNotMatched,
    # The driver lost its place: as when a shutdown tells the connection its end just as a statement is about to be sent.
    asyncpg.InternalClientError,
    OSError,  # TimeoutError included
)


def _error(error: Exception, what: str) -> StoreError:
    detail = str(error) or type(error).__name__
    if isinstance(error, asyncpg.UniqueViolationError):
        return ConflictError(f"could not {what}: {detail}")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return StoreBusy(f"could not {what}: PostgreSQL has no connection left ({detail})")
    # An InterfaceError is a misuse of the driver, unless it says that the connection has been closed under us.
    closed = isinstance(error, asyncpg.InterfaceError) and ("clos" in detail or "released back" in detail)
    if closed or isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"could not {what}: PostgreSQL does not answer ({detail})")
    return StoreError(f"could not {what}: {detail}")


def _no_host(error: hosts.NoHostError, where: str) -> StoreError:
    """What to make of the reasons of all hosts: of one that may come back, if there is any."""
    reasons = [(name, *_refusal(failure)) for name, failure in error.failures]
    kinds = [kind for _, kind, _ in reasons]
    kind = next((kind for kind in (StoreUnavailable, StoreBusy) if kind in kinds), kinds[0])
    if len(reasons) == 1:
        return kind(f"{where}: {reasons[0][2]}")
    return kind(f"{where}: no host takes writes: {'; '.join(f'{name}: {reason}' for name, _, reason in reasons)}")


def _refusal(error: Exception) -> tuple[type[StoreError], str]:
    """What the reason of one host is called, and how it is told."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return DatabaseUrlError, "PostgreSQL refuses the user or the password"
        case asyncpg.InvalidCatalogNameError():
            return DatabaseUrlError, "there is no such database; create it first"
        case asyncpg.ClientConfigurationError():
            return DatabaseUrlError, "one of its options is not understood"
        case asyncpg.InsufficientPrivilegeError():
            return DatabaseUrlError, "the user may not connect to this database"
        case asyncpg.TooManyConnectionsError():
            return StoreBusy, f"PostgreSQL has no connection left ({error})"
        case asyncpg.TargetServerAttributeNotMatched():
            return StoreUnavailable, "it is a standby or read-only, and Foliot has to write"
        case asyncpg.PostgresError() if not isinstance(error, _UNAVAILABLE):
            return StoreError, str(error)
        case _:
            late = f"no answer within {hosts.CONNECT_TIMEOUT_S:g} s"
            detail = late if isinstance(error, TimeoutError) and not error.errno else str(error)
            return StoreUnavailable, f"PostgreSQL does not answer ({detail})"


def _server_settings(application_name: str, **settings: str) -> dict[str, str]:
    return {"application_name": application_name, "timezone": "UTC", **settings}


async def _keep_session(connection: Connection) -> None:
    """Give a connection back as it is."""


async def _set_codecs(connection: Connection) -> None:
    # `bytes` returns the very object it is given: no uuid.UUID is built and taken apart again for each id.
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_encode_instant, decoder=_decode_instant, format="tuple"
    )


def _encode_instant(instant: int) -> tuple[int]:
    return (instant - _POSTGRES_EPOCH_US,)


def _decode_instant(parts: tuple[int]) -> int:
    return parts[0] + _POSTGRES_EPOCH_US


Row = Any
"""A row as asyncpg returns it: fields by name; its types are those of the query."""
