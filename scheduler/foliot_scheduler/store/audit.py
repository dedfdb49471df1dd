"""Audit records as PostgreSQL has them: written with what they tell of, read page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.effects import AuditRecord
from foliot_scheduler.store.columns import Columns, clean
from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.core.types import Project

_SQL: Final = Queries("queries/audit.sql")


def record_columns(records: Sequence[AuditRecord]) -> Columns:
    """Records as the commit's parameters."""
    ids, at, actors, roles, projects, methods, requests, touched, objects = zip(*records, strict=True)
    return {
        "id": ids,
        "at": at,
        "actor": [clean(actor) for actor in actors],
        "role": roles,
        "project": projects,
        "method": methods,
        "request_id": [clean(request) for request in requests],
        "touched": touched,
        "ids": objects,
    }


async def insert_record(connection: Connection, record: AuditRecord) -> None:
    """Note what was changed without the leader, in the transaction that changes it."""
    with translated("write an audit record"):
        await connection.execute(
            _SQL["insert"],
            record.id,
            record.at,
            record.touched,
            record.project,
            clean(record.actor),
            record.role,
            record.method,
            clean(record.request_id),
            record.ids,
        )


async def list_records(reader: Connection | Pool, project: Project | None, *, limit: int, end: bytes = b"") -> list[AuditRecord]:
    """Read records of a project (None: of every one), newest first, from after the id that a page ended with."""
    with translated("list audit records"):
        if project is None:
            rows = await reader.fetch(_SQL["list_all"], end or None, limit)
        else:
            rows = await reader.fetch(_SQL["list"], project, end or None, limit)
    return [AuditRecord(**{**dict(row), "role": Role(row["role"])}) for row in rows]
