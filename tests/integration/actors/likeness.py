"""Two engines side by side: what a new term must have in common with the one before."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from foliot_scheduler.core.model import Task
from foliot_scheduler.core.transitions import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foliot_scheduler.core.model import Job, Lease, LeaseBatch, Run
    from foliot_scheduler.core.state import State

Shown = dict[str, object]

_OTHERWISE = frozenset({"run", "children", "lease", "lane", "updated", "output", "error_output", "retried"})
"""Fields of a task that are compared in their own way, or that only one of the two can have. That a task was retried is known
to a new leader only where others failed because of it; otherwise it does not matter."""

_COUNTERS = ("parents_open", "parents_succeeded", "parents_failed", "parents_skipped")

_PLAIN = tuple(field.name for field in fields(Task) if field.name not in _OTHERWISE)


def assert_alike(old: State, new: State) -> None:
    """Compare everything that lives, field by field. All effects of the old engine must have been committed."""
    _assert_same(
        "task", {id_: _task(task) for id_, task in old.tasks.items()}, {id_: _task(task) for id_, task in new.tasks.items()}
    )
    _assert_same("run", {id_: _run(run) for id_, run in old.runs.items()}, {id_: _run(run) for id_, run in new.runs.items()})
    _assert_same(
        "lease",
        {token: _lease(lease) for token, lease in old.leases.items()},
        {token: _lease(lease) for token, lease in new.leases.items()},
    )
    _assert_same(
        "batch",
        {first: _batch(batch) for first, batch in old.batches.items()},
        {first: _batch(batch) for first, batch in new.batches.items()},
    )
    needed = {id_: _job(job) for id_, job in old.jobs.items() if job.active_runs or job.waiting_runs}
    _assert_same("job", needed, {id_: _job(job) for id_, job in new.jobs.items()})
    _assert_same(
        "limit",
        {key: {"inside": gate.inside} for key, gate in old.gates._gates.items() if gate.inside},
        {key: {"inside": gate.inside} for key, gate in new.gates._gates.items() if gate.inside},
    )


def _assert_same(what: str, old: Mapping[Any, Shown], new: Mapping[Any, Shown]) -> None:
    """Compare things by their keys, and say what differs first."""
    assert old.keys() == new.keys(), (
        f"only the old leader has {old.keys() - new.keys()}, only the new one {new.keys() - old.keys()}"
    )
    for key, shown in old.items():
        differing = {name: (value, new[key][name]) for name, value in shown.items() if value != new[key][name]}
        assert not differing, f"{what} {key!r}, old and new: {differing}"


def _task(task: Task) -> Shown:
    shown: Shown = {name: getattr(task, name) for name in _PLAIN}
    shown["run"] = task.run.id if task.run is not None else None
    shown["children"] = sorted(child.id for child in task.children or () if child.state is TaskState.BLOCKED)
    if task.state is not TaskState.BLOCKED:
        shown.update(dict.fromkeys(_COUNTERS))  # they have had their say; of a retried task the old leader has none
    shown["token"] = task.lease.token if task.lease is not None else None
    # A row is not written when its task is leased: the lease's batch says it.
    shown["updated"] = task.updated if task.lease is None else None
    return shown


def _run(run: Run) -> Shown:
    return {
        "row": (run.id, run.project, run.job_id, run.job_version, run.created, run.stored),
        "cause": (run.trigger, run.due_at, run.redrive_of),
        "state": (run.state, run.started, run.ended, run.cancelled, run.open_tasks, run.failed_tasks),
        "plan": (run.plan.spec, run.plan.nodes),
        "tasks": [(task.id, task.position, task.key, task.state, task.attempt, task.stored) for task in run.tasks],
    }


def _lease(lease: Lease) -> Shown:
    return {
        "token": lease.token,
        "attempt": (lease.task.id, lease.attempt),
        "batch": lease.batch.first_token,
        "holder": (lease.worker.project, lease.worker.profile.id, lease.worker.is_executor),
        "has its own end": lease.until is not None,
    }


def _batch(batch: LeaseBatch) -> Shown:
    return {
        "row": (batch.first_token, batch.worker_id, batch.leased, batch.task_ids, batch.attempts),
        "open": batch.open,
    }


def _job(job: Job) -> Shown:
    return {
        "row": (job.id, job.project, job.state, job.version, job.created, job.updated, job.stored),
        "plan": (job.plan.spec, job.plan.nodes),
        "fires": (job.next_due, job.fires_at),
        "runs": (sorted(job.active_runs), job.waiting_runs),
    }
