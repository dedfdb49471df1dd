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

_NODES_MAX: Final = 200_000
"""Tasks in all the plans kept, at about a kilobyte each; the plan used last is kept whatever its size."""


class JobPlans:
    """Plans of stored job versions, the latest used ones kept. For use by one thread."""

    __slots__ = ("_kept", "_nodes")

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[JobId, int], JobPlan] = OrderedDict()
        self._nodes = 0

    def restore(self, job_id: JobId, version: int, spec: bytes) -> JobPlan:
        """The plan of a version, made of its serialized JobSpec unless it is known."""
        plan = self.find(job_id, version)
        if plan is None:
            plan = restore_job(spec)
            self.keep(job_id, version, plan)
        return plan

    def find(self, job_id: JobId, version: int) -> JobPlan | None:
        """The plan of a version, if it is known."""
        plan = self._kept.get((job_id, version))
        if plan is not None:
            self._kept.move_to_end((job_id, version))
        return plan

    def keep(self, job_id: JobId, version: int, plan: JobPlan) -> None:
        """Remember the plan of a version that is not known yet, made elsewhere (in a thread, for a large job)."""
        assert (job_id, version) not in self._kept
        self._kept[job_id, version] = plan
        self._nodes += _weight(plan)
        while self._nodes > _NODES_MAX and len(self._kept) > 1:
            self._nodes -= _weight(self._kept.popitem(last=False)[1])


def _weight(plan: JobPlan) -> int:
    return len(plan.nodes) + 100  # a plan without tasks takes room too


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
        worker_address=row.worker_address,
        started=row.started_at,
        ended=row.ended_at,
        outcome=row.outcome,
        exit_code=row.exit_code,
        error=row.error,
        checkpoint=row.checkpoint,
        stored=Stored.LIVE if live else Stored.HISTORY,
        row_state=row.state,
        row_priority=row.priority,
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
