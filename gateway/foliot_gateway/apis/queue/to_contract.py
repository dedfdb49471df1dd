"""From the JSON of `queue` to the contract's messages."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from msgspec import UNSET, UnsetType

from foliot.v1 import spec_pb2, task_pb2
from foliot_gateway.apis.queue import shapes
from foliot_gateway.apis.queue.words import PRIORITIES, STATES

ATTEMPT_TIMEOUT: Final = Duration(seconds=30 * 24 * 3600)
"""The longest that the contract has: the document bounds a job by its executor's heartbeats, not by time."""


_TOKEN_MAX: Final = 2**64 - 1
"""Of the contract's fixed64."""


def new_task(job: shapes.NewJob, queue: str) -> task_pb2.NewTask:
    """Return the task of a new job."""
    return task_pb2.NewTask(
        spec=spec_pb2.TaskSpec(
            name=job.type,
            priority=PRIORITIES[job.priority][0],
            queue=queue,
            timeout=ATTEMPT_TIMEOUT,
            binary=spec_pb2.BinaryWork(
                url=job.binary_url, sha256=job.binary_sha256, arguments=job.arguments, environment=job.env_variables
            ),
        )
    )


def claim_token(given: str | UnsetType) -> int:
    """Return the fencing token that an executor quotes; 0, which stands for whichever claim it holds, where it quotes none."""
    # A number that the contract cannot carry is no claim's token: nor is the largest that it can.
    return 0 if given is UNSET else min(int(given), _TOKEN_MAX)


def any_job() -> task_pb2.TaskFilter:
    """Return the filter of all jobs: binary tasks on their own, whichever API made them.

    Its states are named, all of them, because the scheduler then reads each in the order of an index.
    """
    return task_pb2.TaskFilter(kind="binary", standalone=True, states=[state for states in STATES.values() for state in states])


def wanted_jobs(query: shapes.JobListQuery) -> task_pb2.TaskFilter:
    """Return the filter of a list."""
    wanted = any_job()
    if query.status is not UNSET:
        del wanted.states[:]
        wanted.states.extend(STATES[query.status])
    if query.type is not UNSET:
        wanted.name = query.type
    if query.priority is not UNSET:
        wanted.priorities.extend(PRIORITIES[query.priority])
    return wanted
