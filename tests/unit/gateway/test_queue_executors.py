"""What executors are told when an answer of the scheduler was lost and the gateway's client asked again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2, task_pb2
from foliot_gateway.apis.queue import executor_handlers, shapes
from foliot_gateway.http.backend import Backend
from foliot_gateway.http.operation import Call, NoQuery

JOB_ID = "550e8400-e29b-41d4-a716-446655440000"
ME = "worker-1-abc123"


class Scheduler:
    """Refuses to end the job, and shows it as it stands."""

    def __init__(self, state: spec_pb2.TaskState.ValueType, *, held_by: str, repeated: bool) -> None:
        self.tasks = SimpleNamespace(GetTask="GetTask")
        self.workers = SimpleNamespace(CompleteTask="CompleteTask", FailTask="FailTask")
        spec = spec_pb2.TaskSpec(name="t", binary=spec_pb2.BinaryWork(url="https://x.test"))
        self._task = task_pb2.Task(id=JOB_ID, state=state, worker_id=held_by, spec=spec)
        self._metadata = {"state": "whatever"} | ({"repeated": "true"} if repeated else {})

    async def ask(self, method: str, _request: object) -> task_pb2.GetTaskResponse:
        if method != "GetTask":
            raise FoliotError(ErrorReason.WRONG_STATE, "it has ended", metadata=self._metadata)
        return task_pb2.GetTaskResponse(task=self._task)


def call(scheduler: Scheduler, body: object) -> Call[Any, Any]:
    return Call(
        backend=cast("Backend", scheduler),
        path={"id": JOB_ID},
        query=NoQuery(),
        body=body,
        idempotency_key="",
        caller=cast("Any", None),
        redis=cast("Any", None),
        clock=SystemClock(),
    )


async def test_an_end_that_was_recorded_before_its_answer_was_lost_is_a_success() -> None:
    completed = Scheduler(spec_pb2.TASK_STATE_SUCCEEDED, held_by=ME, repeated=True)
    reply = await executor_handlers.complete_job(call(completed, shapes.Completion(executor_id=ME)))
    assert (reply.status, reply.body) == (200, shapes.JobStatus(id=JOB_ID, status="completed"))
    failed = Scheduler(spec_pb2.TASK_STATE_FAILED, held_by=ME, repeated=True)
    reply = await executor_handlers.fail_job(call(failed, shapes.Failure(executor_id=ME)))
    assert (reply.status, reply.body) == (200, shapes.JobStatus(id=JOB_ID, status="failed"))


@pytest.mark.parametrize(
    ("state", "held_by", "repeated"),
    [
        (spec_pb2.TASK_STATE_SUCCEEDED, ME, False),
        (spec_pb2.TASK_STATE_SUCCEEDED, "another", True),
        (spec_pb2.TASK_STATE_FAILED, ME, True),
        (spec_pb2.TASK_STATE_READY, ME, True),
    ],
)
async def test_any_other_end_is_refused(state: spec_pb2.TaskState.ValueType, held_by: str, *, repeated: bool) -> None:
    scheduler = Scheduler(state, held_by=held_by, repeated=repeated)
    with pytest.raises(FoliotError) as caught:
        await executor_handlers.complete_job(call(scheduler, shapes.Completion(executor_id=ME)))
    assert caught.value.reason is ErrorReason.WRONG_STATE
