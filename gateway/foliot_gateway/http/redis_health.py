"""How Redis does, for the page that tells of all components."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

AskMemory = Callable[[], Awaitable[Mapping[str, Any] | None]]
"""Answers the section `memory` of Redis's INFO, or nothing if it does not answer."""


class RedisStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How Redis does."""

    status: Annotated[
        Literal["healthy", "unhealthy", "disabled"],
        Meta(description="`unhealthy`: it does not answer, and each gateway counts alone; `disabled`: none is configured."),
    ]
    memory_usage: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="The part of the memory it may have (`maxmemory`, or all of its machine's) that it uses."),
    ] = None


class RedisHealth:
    """Tells how Redis does."""

    def __init__(self, ask_memory: AskMemory | None = None) -> None:
        """Take whom to ask; nobody where no Redis is configured."""
        self._ask_memory = ask_memory

    async def status(self) -> RedisStatus:
        """Return how it does now; never raises because of Redis."""
        if self._ask_memory is None:
            return RedisStatus("disabled")
        memory = await self._ask_memory()
        if memory is None:
            return RedisStatus("unhealthy")
        whole = int(memory.get("maxmemory") or memory.get("total_system_memory") or 0)
        used = int(memory.get("used_memory") or 0)
        return RedisStatus("healthy", round(used / whole, 6) if whole else None)
