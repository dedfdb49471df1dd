"""Rows of PostgreSQL as the core's objects, as a new leader loads them and as commands carry them along.

A row is read by its columns' names, which are those of the schema; the columns that only one of the two tables of a
kind has are left out where they are absent. Ids are bytes and instants Micros already (see store.pool).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.model import Job, JobState, Outcome, Run, Stored, Task, Trigger, TriggerRule
from foliot_scheduler.core.transitions import ENDED_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, WorkerId
from foliot_scheduler.specs.jobs import restore_job

if TYPE_CHECKING:
    from foliot_scheduler.core.model import JobPlan
    from foliot_scheduler.specs.tasks import TaskPlans
    from foliot_scheduler.store.pool import Row

_ID_BYTES: Final = 16

_JOB_PLANS_MAX: Final = 256
"""Job versions kept: a plan of a large job takes megabytes, and most jobs are read one after the other."""

# Looking a member up takes a third of calling its class, for each row of a recovery.
_TASK_STATES: Final = {str(state): state for state in TaskState}
_TRIGGER_RULES: Final = {str(rule): rule for rule in TriggerRule}
_OUTCOMES: Final[dict[str | None, Outcome | None]] = {None: None, **{str(outcome): outcome for outcome in Outcome}}


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


def task_from_row(row: Row, plans: TaskPlans, run: Run | None = None) -> Task:
    """Make the task of a row of `task` or `task_history`; `run` is the live run it belongs to, if any.

    The counters over its dependencies, its children, lease and lane are not in its row: whoever loads live state
    fills them in.
    """
    state = _TASK_STATES[row["state"]]
    task = Task(
        TaskId(row["id"]),
        Project(row["project"]),
        plans.restore(row["spec"]),
        Micros(row["created_at"]),
        Micros(row["updated_at"]),
        state,
        _TRIGGER_RULES[row["trigger_rule"]],
        run,
        None if row["run_id"] is None else RunId(row["run_id"]),
        row["position"],
        split_ids(row["depends_on"]),
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        failed_attempts=row["failed_attempts"],
        lost_attempts=row["lost_attempts"],
        worker_id=None if row["worker_id"] is None else WorkerId(row["worker_id"]),
        started=row["started_at"],
        outcome=_OUTCOMES[row["outcome"]],
        exit_code=row["exit_code"],
        error=row["error"],
    )
    if state in ENDED_TASK_STATES:
        task.stored = Stored.HISTORY
        task.ended = row["ended_at"]
    else:
        task.stored = Stored.LIVE
        task.due = row["due_at"]
    return task


def job_from_row(row: Row, plans: JobPlans) -> Job:
    """Make the job of a row of `job`, joined with the `spec` of its version. Its live runs are added by whoever loads them."""
    job_id = JobId(row["id"])
    return Job(
        job_id,
        Project(row["project"]),
        plans.restore(job_id, row["version"], row["spec"]),
        Micros(row["created_at"]),
        Micros(row["updated_at"]),
        JobState(row["state"]),
        row["version"],
        row["next_due_at"],
        row["fires_at"],
        waiting_runs=[Micros(due) for due in row["waiting_runs"] or ()],
        stored=Stored.LIVE,
    )


def run_from_row(row: Row, plan: JobPlan) -> Run:
    """Make the run of a row of `run` or `run_history`, of the plan of its job's version; without its tasks."""
    state = RunState(row["state"])
    live = state in {RunState.PENDING, RunState.RUNNING}
    return Run(
        RunId(row["id"]),
        Project(row["project"]),
        JobId(row["job_id"]),
        row["job_version"],
        plan,
        Trigger(row["trigger"]),
        Micros(row["created_at"]),
        row["due_at"],
        state,
        row["started_at"],
        None if live else row["ended_at"],
        row["cancelled"],
        stored=Stored.LIVE if live else Stored.HISTORY,
    )


def split_ids(packed: bytes | None) -> tuple[TaskId, ...]:
    """Take apart ids that stand one after the other; null stands for none."""
    if not packed:
        return ()
    return tuple([TaskId(packed[at : at + _ID_BYTES]) for at in range(0, len(packed), _ID_BYTES)])
