"""From the contract's messages to the JSON of `queue`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from foliot.v1 import spec_pb2, task_pb2, worker_pb2
from foliot_gateway.apis.queue import shapes
from foliot_gateway.apis.queue.words import ATTEMPT_STATUS, PRIORITY, STATES, STATUS, Priority, Status
from foliot_gateway.http.times import moment, required_moment

_ATTEMPT_OF_ENDED = {spec_pb2.TASK_STATE_CANCELLED: "cancelled", spec_pb2.TASK_STATE_SKIPPED: "cancelled"}


def is_job(task: task_pb2.Task) -> bool:
    """Whether a task is a job of this API."""
    return task.spec.WhichOneof("work") == "binary" and not task.run_id


def submitted(task: task_pb2.Task) -> shapes.Submitted:
    """Return a job as it was submitted; one that is asked for again may have gone on, and its first answer is given again."""
    return shapes.Submitted(id=task.id, type=task.spec.name, status="pending", created_at=required_moment(task.created_at))


def job_status(task: task_pb2.Task) -> shapes.JobStatus:
    """Return where a job stands."""
    return shapes.JobStatus(id=task.id, status=STATUS[task.state])


def summary(task: task_pb2.Task) -> shapes.JobSummary:
    """Return a job for a list."""
    is_pending = task.state in STATES["pending"]
    return shapes.JobSummary(
        id=task.id,
        type=task.spec.name,
        status=STATUS[task.state],
        priority=PRIORITY[task.spec.priority],
        executor_id=None if is_pending else task.worker_id or None,
        created_at=required_moment(task.created_at),
        started_at=None if is_pending else moment(task, "started_at"),
    )


def job(task: task_pb2.Task, *, claim_token: int | None = None) -> shapes.Job:
    """Return a job with everything; its environment in the clear, and the claim's token, only to who has claimed it."""
    claimed = claim_token is not None
    work = task.spec.binary
    return shapes.Job(
        **msgspec.structs.asdict(summary(task)),
        binary_url=work.url,
        binary_sha256=work.sha256,
        arguments=list(work.arguments),
        env_variables=dict(work.environment) if claimed else dict.fromkeys(work.environment, shapes.MASK),
        stdout=task.output.decode("utf-8", errors="replace"),
        stderr=task.error_output.decode("utf-8", errors="replace"),
        exit_code=task.exit_code if task.HasField("exit_code") and task.HasField("ended_at") else None,
        completed_at=moment(task, "ended_at"),
        attempts=[_attempt(one) for one in task.attempts],
        error_message=task.error if task.error and task.state == spec_pb2.TASK_STATE_FAILED else UNSET,
        token=str(claim_token) if claimed else UNSET,
    )


def _attempt(found: task_pb2.Attempt) -> shapes.Attempt:
    return shapes.Attempt(
        executor_id=found.worker_id,
        executor_ip=found.worker_address,
        started_at=moment(found, "started_at"),
        ended_at=moment(found, "ended_at"),
        status=ATTEMPT_STATUS[found.outcome],
    )


def stats(counts: Iterable[task_pb2.StatePriorityCount], *, active_executors: int) -> shapes.Stats:
    """Return the counts of all jobs."""
    by_status: Counter[Status] = Counter()
    pending: Counter[Priority] = Counter()
    for found in counts:
        status = STATUS[found.state]
        by_status[status] += found.count
        if status == "pending":
            pending[PRIORITY[found.priority]] += found.count
    return shapes.Stats(
        jobs_by_status=shapes.JobsByStatus(
            pending=by_status["pending"],
            running=by_status["running"],
            completed=by_status["completed"],
            failed=by_status["failed"],
            cancelled=by_status["cancelled"],
        ),
        pending_by_priority=shapes.PendingByPriority(
            foreground=pending["foreground"], background=pending["background"], best_effort=pending["best_effort"]
        ),
        active_executors=active_executors,
    )


def executor(worker: worker_pb2.Worker) -> shapes.Executor:
    """Return an executor."""
    return shapes.Executor(
        executor_id=worker.id,
        current_job_id=worker.current_task_ids[0] if worker.current_task_ids else None,
        job_type=worker.current_task_names[0] if worker.current_task_names else None,
        last_heartbeat=required_moment(worker.last_heartbeat_at),
        jobs_completed=worker.tasks_completed,
    )
