"""Connections: how they are opened, what they speak, and what their failures mean.

On every connection an id is the 16 bytes of its UUID and an instant is Micros, in arguments and results alike: the same types
as in the core, so that nothing is converted on the way. Everything that asyncpg or the operating system raises is translated
here, in `translated`, and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import asyncpg

from foliot_scheduler.store.errors import ConflictError, DatabaseUrlError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z, from which PostgreSQL counts."""

CONNECT_TIMEOUT_S: Final = 5.0
"""How long one connection may take to open, name resolution included."""

READ_TIMEOUT_S: Final = 10.0
"""How long one read may take: longer than any list takes on millions of rows, shorter than a caller waits."""

_COMMAND_GRACE_S: Final = 2.0
"""How much longer than the server's own limit we wait for an answer, before the connection counts as dead."""

_STATEMENTS_MAX: Final = 256
"""Prepared statements kept on a connection: all combinations of filters and commit groups that are in use."""

# A silent death of the other host is noticed after about 5 s: 2 s without traffic, then 3 probes a second apart.
KEEPALIVE: Final = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
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


async def open_pool(url: str, *, application_name: str = "foliot", size: int = 8, read_timeout_s: float = READ_TIMEOUT_S) -> Pool:
    """Open a pool for reads and small writes; it connects once at once, so that a wrong URL is found here.

    Raises DatabaseUrlError when the URL cannot work, StoreUnavailable when nobody answers.
    """
    with translated("connect", url):
        pool = asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
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
        return await pool


async def open_connection(
    url: str,
    *,
    application_name: str = "foliot",
    command_timeout_s: float | None = None,
    settings: dict[str, str] | None = None,
) -> asyncpg.Connection[asyncpg.Record]:
    """Open one connection with server settings of its own, such as KEEPALIVE or ONE_WRITER.

    A command that takes longer than `command_timeout_s` breaks the connection (None: it may wait for ever, as for the leader's
    lock). Raises as `open_pool` does.
    """
    with translated("connect", url):
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            statement_cache_size=_STATEMENTS_MAX,
            max_cacheable_statement_size=0,
            max_cached_statement_lifetime=0,
            server_settings=_server_settings(application_name, **(settings or {})),
        )
        await _set_codecs(connection)
        return connection


def describe_url(url: str) -> str:
    """Write a database URL without its password, for people."""
    try:
        parts = urlsplit(url)
        user, host, port = parts.username or "", parts.hostname or "", parts.port
    except ValueError:
        return "the database URL"
    if not parts.scheme or (not host and "host=" not in parts.query and not parts.path):
        return "the database URL"
    where = f"{host}:{port}" if port is not None else host
    return f"{parts.scheme}://{user + '@' if user else ''}{where}{parts.path}"


@contextlib.contextmanager
def translated(what: str, url: str | None = None) -> Iterator[None]:
    """Turn what asyncpg and the operating system raise into StoreError and its kin.

    `what` is the infinitive of what was tried, for the message; `url`, given where a connection is opened, is named in it
    without its password. Wrap calls of the driver only: an OSError of anything else would be taken for the database's.
    """
    try:
        if url is not None and not url.startswith(_SCHEMES):
            # asyncpg takes an empty URL for "localhost, as myself".
            raise DatabaseUrlError(
                f"{describe_url(url)}: a database URL looks like postgresql://user:password@host:5432/database"
            )
        yield
    except StoreError:
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        if url is not None:
            # Without its cause, which may quote the URL.
            raise _connect_error(error, describe_url(url)) from None
        raise _error(error, what) from error
    except ValueError:
        if url is None:
            raise
        # asyncpg's parser of URLs; its message may quote a piece of the password.
        raise DatabaseUrlError("the database URL is malformed: is the password percent-encoded?") from None


_SCHEMES: Final = ("postgresql://", "postgres://")

_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shut down, starting up, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # the host has become a standby
    OSError,  # TimeoutError included
)


def _error(error: Exception, what: str) -> StoreError:
    detail = str(error) or type(error).__name__
    if isinstance(error, asyncpg.UniqueViolationError):
        return ConflictError(f"could not {what}: {detail}")
    # An InterfaceError is a misuse of the driver, unless it says that the connection has been closed under us.
    closed = isinstance(error, asyncpg.InterfaceError) and ("clos" in detail or "released back" in detail)
    if closed or isinstance(error, _UNAVAILABLE):
        return StoreUnavailable(f"could not {what}: PostgreSQL does not answer ({detail})")
    return StoreError(f"could not {what}: {detail}")


def _connect_error(error: Exception, where: str) -> StoreError:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return DatabaseUrlError(f"{where}: PostgreSQL refuses the user or the password")
        case asyncpg.InvalidCatalogNameError():
            return DatabaseUrlError(f"{where}: there is no such database; create it first")
        case asyncpg.ClientConfigurationError():
            return DatabaseUrlError(f"{where}: one of its options is not understood")
        case asyncpg.InsufficientPrivilegeError():
            return DatabaseUrlError(f"{where}: the user may not connect to this database")
        case asyncpg.PostgresError() if not isinstance(error, _UNAVAILABLE):
            return StoreError(f"{where}: {error}")
        case _:
            detail = f"no answer within {CONNECT_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else str(error)
            return StoreUnavailable(f"{where}: PostgreSQL does not answer ({detail})")


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
