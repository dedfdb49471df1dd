"""API keys as PostgreSQL has them: written and read by any replica. Secrets never come here, only their hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.effects import AuditRecord
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store import audit
from foliot_scheduler.store.pool import Connection, Pool, Row, translated
from foliot_scheduler.store.sql import Queries

KEYS_MAX: Final = 10_000
"""Keys of one project that may work at once: a bound against a program that makes them and forgets them."""

_SQL: Final = Queries("queries/api_keys.sql")


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """An API key without its secret."""

    id: bytes
    name: str
    project: Project
    """The one it reaches; `*` stands for every project."""
    role: Role
    hint: str
    """The beginning of its secret."""
    created_at: Micros
    expires_at: Micros | None
    revoked_at: Micros | None
    requests_per_minute: int


async def insert_key(pool: Pool, key: ApiKeyRow, digest: bytes, record: AuditRecord | None = None) -> bool:
    """Store a new key under the SHA-256 of its secret, and who made it.

    Returns False if its project has KEYS_MAX already. Raises StoreUnavailable.
    """
    with translated("store an API key"):
        async with pool.acquire() as connection, connection.transaction():
            status = await connection.execute(
                _SQL["insert"],
                key.id,
                key.created_at,
                key.expires_at,
                key.requests_per_minute,
                digest,
                key.project,
                key.role,
                key.name,
                key.hint,
                KEYS_MAX,
            )
            made = bool(status == "INSERT 0 1")
            if made and record is not None:
                await audit.insert_record(connection, record)
    return made


async def find_key(reader: Connection | Pool, digest: bytes) -> ApiKeyRow | None:
    """Read the key whose secret has a SHA-256, a revoked or expired one too. Raises StoreUnavailable."""
    with translated("look up an API key"):
        row = await reader.fetchrow(_SQL["find"], digest)
    return None if row is None else _key(row)


async def list_keys(reader: Connection | Pool, project: Project | None, *, limit: int, end: bytes = b"") -> list[ApiKeyRow]:
    """Read keys of a project (None: of every one), newest first, from after the id that a page ended with."""
    with translated("list API keys"):
        rows = await reader.fetch(_SQL["list"], project, end or None, limit)
    return [_key(row) for row in rows]


async def revoke_key(
    pool: Pool, key_id: bytes, project: Project | None, *, now: Micros, record: AuditRecord | None = None
) -> ApiKeyRow | None:
    """End a key and return it, and note who ended it, in the key's project.

    Returns None if the project (None: none of them) has no such key. Raises StoreUnavailable.
    """
    with translated("revoke an API key"):
        async with pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_SQL["revoke"], key_id, project, now)
            if row is not None and record is not None:
                await audit.insert_record(connection, record._replace(project=row["project"]))
    return None if row is None else _key(row)


def _key(row: Row) -> ApiKeyRow:
    return ApiKeyRow(**{**dict(row), "role": Role(row["role"])})
