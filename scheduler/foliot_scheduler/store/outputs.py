"""The ends of what tasks wrote, for pages of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.types import TaskId
from foliot_scheduler.store.pool import translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Collection

    from foliot_scheduler.store.reads import Reader

_TASKS: Final = Queries("queries/tasks.sql")


async def read_outputs(reader: Reader, task_ids: Collection[TaskId], *, bytes_max: int) -> dict[TaskId, bytes]:
    """Read the last bytes of what ended tasks wrote to standard output; those that have not ended are left out."""
    if not task_ids:
        return {}
    before_all = (int.from_bytes(min(task_ids)) - 1).to_bytes(16)  # older partitions need not be looked into
    with translated("read outputs of tasks"):
        found = await reader.fetch(_TASKS["outputs"], list(task_ids), before_all, bytes_max, 0)
    return {TaskId(row["id"]): row["output"] for row in found}
