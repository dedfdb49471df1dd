"""Rows of PostgreSQL as the core's objects: what commands about things that are not in the leader's memory carry along."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.model import Job, Stored, Task
from foliot_scheduler.core.transitions import ENDED_TASK_STATES
from foliot_scheduler.specs.jobs import restore_job

if TYPE_CHECKING:
    from foliot_scheduler.core.model import JobPlan
    from foliot_scheduler.core.types import JobId
    from foliot_scheduler.specs.tasks import TaskPlans
    from foliot_scheduler.store.rows import JobRow, TaskRow

_JOB_PLANS_MAX: Final = 256
"""Job versions kept: a plan of a large job takes megabytes, and most jobs are read one after the other."""


class JobPlans:
    """Plans of stored job versions, the latest used ones kept."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[JobId, int], JobPlan] = OrderedDict()

    def restore(self, job_id: JobId, version: int, spec: bytes) -> JobPlan:
        """The plan of a version, made of its serialized JobSpec unless it is known."""
        key = (job_id, version)
        plan = self._kept.get(key)
        if plan is None:
            plan = restore_job(spec)
            self._kept[key] = plan
            if len(self._kept) > _JOB_PLANS_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return plan


def task_from_row(row: TaskRow, plans: TaskPlans) -> Task:
    """Make the task of a row, without its output.

    The counters over its dependencies, its children, lease and lane are not in its row: an ended task needs none of them.
    """
    live = row.state not in ENDED_TASK_STATES
    return Task(
        row.id,
        row.project,
        plans.restore(row.spec),
        row.created_at,
        row.updated_at,
        row.state,
        row.trigger_rule,
        run_id=row.run_id,
        position=row.position,
        depends_on=row.depends_on,
        traceparent=row.traceparent,
        attempt=row.attempt,
        failed_attempts=row.failed_attempts,
        lost_attempts=row.lost_attempts,
        due=row.due_at,
        worker_id=row.worker_id,
        started=row.started_at,
        ended=row.ended_at,
        outcome=row.outcome,
        exit_code=row.exit_code,
        error=row.error,
        checkpoint=row.checkpoint,
        stored=Stored.LIVE if live else Stored.HISTORY,
    )


def job_from_row(row: JobRow, plans: JobPlans) -> Job:
    """Make the job of a row; its live runs are in the leader's memory, if it has any."""
    return Job(
        row.id,
        row.project,
        plans.restore(row.id, row.version, row.spec),
        row.created_at,
        row.updated_at,
        row.state,
        row.version,
        row.next_due_at,
        row.fires_at,
        waiting_runs=list(row.waiting_runs),
        stored=Stored.LIVE,
    )
