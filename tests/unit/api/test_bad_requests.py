"""Bad requests of every service: refused before anything is read or asked of the leader, naming the field."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from google.protobuf.message import Message

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2 as j
from foliot.v1 import run_pb2 as r
from foliot.v1 import spec_pb2
from foliot.v1 import task_pb2 as t
from foliot.v1 import worker_pb2 as w
from foliot_scheduler.api.calls import Call
from foliot_scheduler.api.jobs import JobService
from foliot_scheduler.api.ports import NoHints, ServicerContext
from foliot_scheduler.api.runs import RunService
from foliot_scheduler.api.tasks import TaskService
from foliot_scheduler.api.workers import WorkerService
from foliot_scheduler.core.types import DEFAULT_PROJECT, Span
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.reads import Reader
from tests.unit.api.api_support import ScriptedLeader

ID = str(uuid.UUID(int=7))
ID_BYTES = b"\x07" * 16


async def no_work(context: ServicerContext, call: Call) -> None:
    raise AssertionError("no stream is opened here")


def service_of(request: Message) -> Any:
    """The service of a request, over nothing: whatever it reads or asks fails the test."""
    leader, clock, reader = ScriptedLeader(), ManualClock(), cast("Reader", None)
    hints = NoHints(clock)
    services = {
        "foliot/v1/job.proto": JobService(leader=leader, reader=reader, clock=clock),
        "foliot/v1/run.proto": RunService(leader=leader, reader=reader, hints=hints, clock=clock),
        "foliot/v1/task.proto": TaskService(leader=leader, reader=reader, plans=TaskPlans(), hints=hints, clock=clock),
        "foliot/v1/worker.proto": WorkerService(leader=leader, reader=reader, work=no_work, claim_ttl=Span(1), clock=clock),
    }
    return services[request.DESCRIPTOR.file.name]


async def fields_refused(request: Message) -> list[str]:
    call = Call(DEFAULT_PROJECT)
    method = getattr(service_of(request), type(request).__name__.removesuffix("Request"))
    if isinstance(request, t.WatchTaskRequest | r.WatchRunRequest):
        answer = anext(method(request, call))
    elif isinstance(request, w.PushLogsRequest):
        answer = method(_stream(request), call)
    else:
        answer = method(request, call)
    with pytest.raises(FoliotError) as caught:
        await answer
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    return [violation.field for violation in caught.value.fields]


async def _stream(request: w.PushLogsRequest) -> AsyncIterator[w.PushLogsRequest]:
    yield request


def line(**fields: object) -> w.PushLogsRequest:
    good: dict[str, object] = {"task_id": ID_BYTES, "attempt": 1, "number": 1, "at_us": 1, "level": "info", "message": "m"}
    return w.PushLogsRequest(lines=[w.TaskLogLine(**(good | fields))])  # type: ignore[arg-type] # by name


MARKER = t.NewTask(spec=spec_pb2.TaskSpec(name="n"))
JSON_OVER_1_MIB = '"' + "x" * 1024 * 1024 + '"'

BAD: list[tuple[Message, str]] = [
    # tasks
    (t.SubmitTaskRequest(), "task"),
    (t.SubmitTaskRequest(task=t.NewTask()), "task.spec"),
    (t.SubmitTaskRequest(task=t.NewTask(spec=spec_pb2.TaskSpec(name="n"), trigger_rule=99)), "task.trigger_rule"),  # type: ignore[arg-type]
    (t.SubmitTaskRequest(task=MARKER, idempotency_key="k" * 256), "idempotency_key"),
    (t.SubmitTaskRequest(task=MARKER, idempotency_key="\0"), "idempotency_key"),
    (t.SubmitTasksRequest(), "tasks"),
    (t.SubmitTasksRequest(tasks=[t.NewTask()] * 10_001), "tasks"),
    (t.SubmitTasksRequest(tasks=[MARKER, t.NewTask(spec=spec_pb2.TaskSpec(name="n", queue="\0"))]), "tasks[1].spec.queue"),
    (t.GetTaskRequest(), "task_id"),
    (t.GetTaskRequest(task_id="task-1"), "task_id"),
    (t.GetTaskRequest(task_id="{00000000-0000-0000-0000-000000000007}"), "task_id"),
    (t.GetTaskRequest(task_id=ID.replace("-", "")), "task_id"),
    (t.DeleteTaskRequest(task_id="\0"), "task_id"),
    (t.CancelTaskRequest(), "task_id"),
    (t.RetryTaskRequest(), "task_id"),
    (t.RetryTaskRequest(task_id=ID, idempotency_key="k" * 256), "idempotency_key"),
    (t.WatchTaskRequest(task_id="x"), "task_id"),
    (t.ListTasksRequest(page_size=1_001), "page_size"),
    (t.ListTasksRequest(page_size=-1), "page_size"),
    (t.ListTasksRequest(offset=-1), "offset"),
    (t.ListTasksRequest(offset=1_000_001), "offset"),
    (t.ListTasksRequest(offset=1, page_token="x"), "offset"),
    (t.ListTasksRequest(page_token="!"), "page_token"),
    (t.ListTasksRequest(page_token="AAAAAAAAAAA"), "page_token"),
    (t.ListTasksRequest(page_token="ä"), "page_token"),
    (t.ListTasksRequest(page_token="A" * 10_000), "page_token"),
    (t.ListTasksRequest(sort=99), "sort"),  # type: ignore[arg-type] # no such member
    (t.ListTasksRequest(filter=t.TaskFilter(states=[99])), "filter.states[0]"),  # type: ignore[list-item]
    (t.ListTasksRequest(filter=t.TaskFilter(states=[spec_pb2.TASK_STATE_READY, 0])), "filter.states[1]"),  # type: ignore[list-item]
    (t.ListTasksRequest(filter=t.TaskFilter(run_id="x")), "filter.run_id"),
    (t.ListTasksRequest(filter=t.TaskFilter(kind="marker")), "filter.kind"),
    (t.ListTasksRequest(filter=t.TaskFilter(priority=11)), "filter.priority"),
    (t.ListTasksRequest(filter=t.TaskFilter(tag="a\0")), "filter.tag"),
    (t.ListTasksRequest(filter=t.TaskFilter(queue="\0")), "filter.queue"),
    (t.ListTasksRequest(filter=t.TaskFilter(worker_id="\0")), "filter.worker_id"),
    (t.ListTasksRequest(filter=t.TaskFilter(name="n" * 256)), "filter.name"),
    (t.ListTaskLogsRequest(), "task_id"),
    (t.ListTaskLogsRequest(task_id=ID, level="fatal"), "level"),
    (t.ListTaskLogsRequest(task_id=ID, offset=-1), "offset"),
    (t.ListTaskLogsRequest(task_id=ID, offset=2**62), "offset"),
    (t.ListTaskLogsRequest(task_id=ID, page_size=1_001), "page_size"),
    (t.SaveCheckpointRequest(task_id=ID), "checkpoint_json"),
    (t.SaveCheckpointRequest(task_id=ID, checkpoint_json="{"), "checkpoint_json"),
    (t.SaveCheckpointRequest(task_id=ID, checkpoint_json=JSON_OVER_1_MIB), "checkpoint_json"),
    (t.SaveCheckpointRequest(task_id=ID, checkpoint_json="1", attempt=-1), "attempt"),
    # jobs
    (j.CreateJobRequest(), "spec"),
    (j.CreateJobRequest(spec=j.JobSpec()), "spec.name"),
    (j.CreateJobRequest(spec=j.JobSpec(name="j"), idempotency_key="k" * 256), "idempotency_key"),
    (j.GetJobRequest(job_id="x"), "job_id"),
    (j.ListJobsRequest(state=99), "state"),  # type: ignore[arg-type] # no such member
    (j.ListJobsRequest(name="\0"), "name"),
    (j.ListJobsRequest(tag="\0"), "tag"),
    (j.ListJobsRequest(surface="\0"), "surface"),
    (j.ListJobsRequest(page_size=1_001), "page_size"),
    (j.ListJobsRequest(offset=1, page_token="x"), "offset"),
    (j.ListJobsRequest(page_token="x"), "page_token"),
    (j.UpdateJobRequest(job_id="x", update_fields=["name"]), "job_id"),
    (j.UpdateJobRequest(job_id=ID, version=-1), "version"),
    (j.DeleteJobRequest(), "job_id"),
    (j.PauseJobRequest(), "job_id"),
    (j.ResumeJobRequest(), "job_id"),
    (j.TriggerJobRequest(), "job_id"),
    (j.AddJobTaskRequest(job_id=ID), "task"),
    (j.AddJobTaskRequest(job_id="x", task=j.JobTask(key="k")), "job_id"),
    (j.UpdateJobTaskRequest(job_id=ID), "task"),
    (j.DeleteJobTaskRequest(job_id=ID), "key"),
    (j.DeleteJobTaskRequest(job_id=ID, key="k" * 256), "key"),
    # runs
    (r.GetRunRequest(), "run_id"),
    (r.CancelRunRequest(run_id="x"), "run_id"),
    (r.WatchRunRequest(run_id="x"), "run_id"),
    (r.ListRunsRequest(job_id="x"), "job_id"),
    (r.ListRunsRequest(states=[99]), "states[0]"),  # type: ignore[list-item] # no such member
    (r.ListRunsRequest(page_size=-1), "page_size"),
    (r.ListRunsRequest(page_token="x"), "page_token"),
    # workers
    (w.ClaimTaskRequest(), "executor_id"),
    (w.ClaimTaskRequest(executor_id="x" * 256), "executor_id"),
    (w.ClaimTaskRequest(executor_id="x", executor_address="\0"), "executor_address"),
    (w.ClaimTaskRequest(executor_id="x", queues=["q", ""]), "queues[1]"),
    (w.ClaimTaskRequest(executor_id="x", queues=["q"] * 101), "queues"),
    (w.ClaimTaskRequest(executor_id="x", kinds=["marker"]), "kinds[0]"),
    (w.HeartbeatTaskRequest(executor_id="x"), "task_id"),
    (w.HeartbeatTaskRequest(task_id=ID), "executor_id"),
    (w.CompleteTaskRequest(task_id=ID), "executor_id"),
    (w.FailTaskRequest(task_id="x", executor_id="x"), "task_id"),
    (w.FailTaskRequest(task_id=ID, executor_id="x", error="e" * 8_193), "error"),
    (w.GetWorkerRequest(), "worker_id"),
    (w.ListWorkersRequest(state=99), "state"),  # type: ignore[arg-type] # no such member
    (w.ListWorkersRequest(page_size=1_001), "page_size"),
    (w.ListWorkersRequest(offset=-1), "offset"),
    (w.PushLogsRequest(lines=[w.TaskLogLine()] * 1_001), "lines"),
    (line(task_id=b"short"), "lines[0].task_id"),
    (line(attempt=0), "lines[0].attempt"),
    (line(number=0), "lines[0].number"),
    (line(at_us=-1), "lines[0].at_us"),
    (line(at_us=2**62), "lines[0].at_us"),
    (line(level="fatal"), "lines[0].level"),
]


@pytest.mark.parametrize(
    ("request_", "field"), BAD, ids=[f"{n}-{type(request).__name__}-{field}" for n, (request, field) in enumerate(BAD)]
)
async def test_a_bad_request_names_its_field(request_: Message, field: str) -> None:
    assert field in await fields_refused(request_)
