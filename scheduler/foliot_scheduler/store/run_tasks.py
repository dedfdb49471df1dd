"""The tasks of a page of runs, with the ends of what they wrote: bounded, whatever the runs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.types import RunId, TaskId
from foliot_scheduler.store import rows
from foliot_scheduler.store.pool import translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import RunRow, RunTaskRow

TASKS_MAX: Final = 100
"""Runs of more tasks come without them (the contract's with_tasks)."""

OUTPUT_BYTES_MAX: Final = 64 * 1024
"""Of one task's output: its last part."""

ERROR_OUTPUT_BYTES_MAX: Final = 8 * 1024
"""The same of what it wrote to standard error: what an error message takes, with the traceback around it."""

OUTPUTS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a page: half of the largest message, and enough for 100 runs of one task with as much as is shown of each."""

_TASKS: Final = Queries("queries/tasks.sql")


async def tasks_of_runs(
    reader: Reader, runs: Sequence[RunRow], *, outputs_bytes_max: int = OUTPUTS_BYTES_MAX
) -> dict[RunId, list[RunTaskRow]]:
    """Read the tasks of runs, each run's in the order of its job; runs of many tasks are left out.

    The outputs are at most so many bytes together: newest runs first, what goes beyond is left empty.
    """
    small = [run.id for run in runs if sum(run.counts.values()) <= TASKS_MAX]
    if not small:
        return {}
    oldest = min(small)
    with translated("read the tasks of runs"):
        found = await reader.fetch(_TASKS["of_runs_in_brief"], small, oldest)
        wanted: list[TaskId] = []
        for row in found:
            size = min(row["output_bytes"], OUTPUT_BYTES_MAX) + min(row["error_output_bytes"], ERROR_OUTPUT_BYTES_MAX)
            if 0 < size <= outputs_bytes_max:
                outputs_bytes_max -= size
                wanted.append(row["id"])
        outputs: dict[TaskId, tuple[bytes, bytes]] = {}
        if wanted:
            read = await reader.fetch(_TASKS["outputs"], wanted, oldest, OUTPUT_BYTES_MAX, ERROR_OUTPUT_BYTES_MAX)
            outputs = {row["id"]: (row["output"], row["error_output"]) for row in read}
    tasks: dict[RunId, list[RunTaskRow]] = {}
    for row in found:
        tasks.setdefault(RunId(row["run_id"]), []).append(rows.run_task_row(row, *outputs.get(row["id"], ())))
    return tasks
