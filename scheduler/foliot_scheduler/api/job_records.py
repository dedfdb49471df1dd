"""Rows of jobs as the core's objects, without holding up the event loop for large ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from foliot_scheduler.specs.jobs import plan_job, restore_job
from foliot_scheduler.specs.records import JobPlans, job_from_row

if TYPE_CHECKING:
    from foliot.v1 import job_pb2
    from foliot_scheduler.core.model import Job, JobPlan
    from foliot_scheduler.store.rows import JobRow

BIG_JOB_TASKS: Final = 500
"""From how many tasks on a job is planned in a thread: planning takes some 10 µs a task, and must not hold up the event loop."""

BIG_JOB_BYTES: Final = 30 * BIG_JOB_TASKS
"""The same for a spec that is not parsed yet: a task takes some 30 bytes, or more."""


async def planned(spec: job_pb2.JobSpec) -> JobPlan:
    """Check and plan a job. Raises as `plan_job` does."""
    if len(spec.tasks) < BIG_JOB_TASKS:
        return plan_job(spec)
    return await asyncio.to_thread(plan_job, spec)


async def restored(row: JobRow, plans: JobPlans) -> JobPlan:
    """The plan of a job's row, which needs its whole spec."""
    if len(row.spec) > BIG_JOB_BYTES and plans.find(row.id, row.version) is None:
        plan = await asyncio.to_thread(restore_job, row.spec)
        if plans.find(row.id, row.version) is None:
            plans.keep(row.id, row.version, plan)
    return plans.restore(row.id, row.version, row.spec)


async def job_record(row: JobRow, plans: JobPlans) -> Job:
    """The job of a row."""
    await restored(row, plans)
    return job_from_row(row, plans)
