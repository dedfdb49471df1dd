"""Who is up: scheduler replicas and gateways, as they say themselves. All times are by PostgreSQL's clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from foliot_scheduler.store.pool import Connection, Pool, translated
from foliot_scheduler.store.sql import Queries

ALIVE_S: Final = 30.0
"""A component that was not heard of for so long counts as gone (the contract's AnnounceGateway)."""

KEPT_S: Final = 3600.0
"""How long the name of one that is gone is kept."""

NAMES_MAX: Final = 1_000
"""Names of one kind: far more than anybody runs, and a bound against a program that makes up a new one each time."""

_SQL = Queries("queries/components.sql")


class ComponentKind(StrEnum):
    """What announces itself."""

    SCHEDULER = "scheduler"
    GATEWAY = "gateway"


async def announce(reader: Connection | Pool, kind: ComponentKind, name: str) -> bool:
    """Note that a component is up; False: there are NAMES_MAX others. Raises StoreUnavailable."""
    with translated("note who is up"):
        return await reader.fetchval(_SQL["announce"], kind, name, NAMES_MAX) is not None


async def leave(reader: Connection | Pool, kind: ComponentKind, name: str) -> None:
    """Forget a component that stops. Raises StoreUnavailable."""
    with translated("note who stops"):
        await reader.execute(_SQL["leave"], kind, name)


async def forget_silent(reader: Connection | Pool) -> None:
    """Forget those that have been gone for KEPT_S. Raises StoreUnavailable."""
    with translated("forget who is gone"):
        await reader.execute(_SQL["forget_silent"], KEPT_S)


async def count_alive(reader: Connection | Pool) -> dict[ComponentKind, int]:
    """Count who was heard of in the last ALIVE_S. Raises StoreUnavailable."""
    with translated("count who is up"):
        found = {ComponentKind(row["kind"]): row["components"] for row in await reader.fetch(_SQL["count_alive"], ALIVE_S)}
    return {kind: found.get(kind, 0) for kind in ComponentKind}
