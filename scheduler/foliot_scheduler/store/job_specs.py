"""Whole specs of a page of jobs, which lists leave out: bounded, whatever the jobs are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from foliot_scheduler.store.pool import translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import JobRow

_JOBS: Final = Queries("queries/jobs.sql")


async def read_specs(reader: Reader, found: Sequence[JobRow], *, bytes_max: int) -> list[JobRow]:
    """Read the whole specs of a page of jobs; those that would make them larger than `bytes_max` together stay as they are."""
    ids, versions = [row.id for row in found], [row.version for row in found]
    with translated("read specs of jobs"):
        sizes = {row["job_id"]: row["bytes"] for row in await reader.fetch(_JOBS["spec_sizes"], ids, versions)}
        wanted: list[JobRow] = []
        for row in found:
            if row.id in sizes and sizes[row.id] <= bytes_max:
                bytes_max -= sizes[row.id]
                wanted.append(row)
        arguments = [row.id for row in wanted], [row.version for row in wanted]
        specs = {row["job_id"]: row["spec"] for row in await reader.fetch(_JOBS["specs"], *arguments)} if wanted else {}
    return [replace(row, spec=specs.get(row.id, row.spec)) for row in found]
