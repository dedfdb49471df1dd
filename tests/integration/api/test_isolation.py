"""Projects and roles, for every RPC of the contract, on real processes that require credentials.

The ants try whatever the contract has on what belongs to the bees: they know every id, which they could never guess.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from foliot.kit.errors import ErrorReason, FoliotError, from_rpc_error
from foliot.kit.ids import parse_uuid
from foliot.v1 import access_pb2, job_pb2, spec_pb2, system_pb2, task_pb2, webhook_pb2, worker_pb2
from foliot.v1.task_pb2 import ListTaskLogsRequest
from foliot_scheduler.core.access import Access, Role
from tests.processes import Stack
from tests.unit.api.test_access import SERVICES

METHODS = {f"{service.DESCRIPTOR.name}/{method.name}": method for service in SERVICES for method in service.DESCRIPTOR.methods}
ACCESS: dict[str, Access] = {
    f"{service.DESCRIPTOR.name}/{name}": access for service in SERVICES for name, access in service.ACCESS.items()
}
SNAPSHOT = (
    "JobService/GetJob",
    "JobService/ListJobs",
    "RunService/GetRun",
    "TaskService/GetTask",
    "TaskService/ListTasks",
    "TaskService/ListTaskLogs",
    "WebhookService/GetWebhook",
    "AccessService/ListApiKeys",
)
QUEUE = "hive"
"""Only the bees have tasks in it, and no worker of the stack serves it."""

HONEY = "honey"
"""In every text of the bees."""

BINARY = spec_pb2.BinaryWork(url=f"https://{HONEY}.test/f", sha256="0" * 64)


@dataclass(frozen=True)
class Calls:
    """Calls with one credential."""

    channel: grpc.Channel
    key: str
    project: str = ""

    def __call__(self, method: str, request: Message | None = None) -> list[Message]:
        """Answer all that a method answers, of a stream the first. Raises FoliotError."""
        described = METHODS[method]
        kind = ("stream" if described.client_streaming else "unary") + "_" + ("stream" if described.server_streaming else "unary")
        open_call = getattr(self.channel, kind)(
            f"/foliot.v1.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        metadata = [("authorization", f"ApiKey {self.key}")] if self.key else []
        metadata += [("foliot-project", self.project)] if self.project else []
        sent = request if request is not None else GetMessageClass(described.input_type)()
        try:
            answer = open_call(iter([sent]) if described.client_streaming else sent, metadata=metadata, timeout=20)
            if not described.server_streaming:
                return [answer]
            first = next(answer, None)
            answer.cancel()
            return [] if first is None else [first]
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def refused(self, method: str, request: Message | None = None) -> FoliotError:
        with pytest.raises(FoliotError) as caught:
            self(method, request)
        return caught.value


@dataclass(frozen=True)
class Bees:
    """A project with one of everything."""

    calls: Calls
    ids: Mapping[str, str] = field(repr=False)
    """By the names that fields of requests have."""

    def marks(self) -> list[bytes]:
        """What must not be in any answer to others."""
        texts = [text for name, text in self.ids.items() if name.endswith("_id")]
        raw = [parse_uuid(text) for text in texts if text.count("-") == 4]
        return [HONEY.encode(), b"bees", *(text.encode() for text in texts), *raw]

    def snapshot(self) -> list[Message]:
        """Everything as it stands."""
        return [self.calls(method, request_of(method, self.ids))[0] for method in SNAPSHOT]


def task_spec() -> spec_pb2.TaskSpec:
    return spec_pb2.TaskSpec(name=HONEY, queue=QUEUE, binary=BINARY, tags=[HONEY])


def ant_task() -> spec_pb2.TaskSpec:
    return spec_pb2.TaskSpec(name="ant", queue="anthill", command=spec_pb2.CommandWork(line="true"))


def job_spec() -> job_pb2.JobSpec:
    schedule = job_pb2.Schedule(cron="0 0 1 1 *", timezone="UTC")
    return job_pb2.JobSpec(name=HONEY, tasks=[job_pb2.JobTask(key=HONEY, spec=task_spec())], schedule=schedule)


@pytest.fixture(scope="module")
def channel(secured_stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(secured_stack.addresses[0]) as opened:
        yield opened


@pytest.fixture(scope="module")
def ants(secured_stack: Stack, channel: grpc.Channel) -> Calls:
    return Calls(channel, secured_stack.create_key("admin", "ants"))


@pytest.fixture(scope="module")
def bees(secured_stack: Stack, channel: grpc.Channel) -> Bees:
    calls = Calls(channel, secured_stack.create_key("admin", "bees"))

    def call(method: str, request: Message) -> Any:
        return calls(method, request)[0]

    job = call("JobService/CreateJob", job_pb2.CreateJobRequest(spec=job_spec(), idempotency_key=HONEY)).job
    run = call("JobService/TriggerJob", job_pb2.TriggerJobRequest(job_id=job.id)).run
    new = task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(spec=task_spec()), idempotency_key=f"{HONEY}-task")
    call("TaskService/SubmitTask", new)
    claim = worker_pb2.ClaimTaskRequest(executor_id=f"{HONEY}-executor", queues=[QUEUE])
    task = call("WorkerService/ClaimTask", claim).task
    line = worker_pb2.TaskLogLine(task_id=parse_uuid(task.id), number=1, attempt=1, at_us=1, level="info", message=HONEY)
    assert call("WorkerService/PushLogs", worker_pb2.PushLogsRequest(lines=[line])).stored == 1
    webhook = call("WebhookService/CreateWebhook", webhook_pb2.CreateWebhookRequest(url=f"https://{HONEY}.test/hook")).webhook
    key = call("AccessService/CreateApiKey", access_pb2.CreateApiKeyRequest(name=HONEY, role=access_pb2.ROLE_VIEWER)).api_key
    ids = {
        "job_id": job.id,
        "run_id": run.id,
        "task_id": task.id,
        "webhook_id": webhook.id,
        "delivery_id": job.id,
        "api_key_id": key.id,
        "worker_id": f"{HONEY}-executor",
        "executor_id": f"{HONEY}-executor",
        "key": HONEY,
    }
    return Bees(calls, ids)


def request_of(method: str, ids: Mapping[str, str]) -> Message:
    """A request that names what it can by its id, and has what it must have besides."""
    request = GetMessageClass(METHODS[method].input_type)()
    for name in ids.keys() & set(request.DESCRIPTOR.fields_by_name):
        setattr(request, name, ids[name])
    further = CONTENT.get(method.partition("/")[2])
    if further is not None:
        request.MergeFrom(further(ids))
    return request


CONTENT: dict[str, Callable[[Mapping[str, str]], Message]] = {
    "CreateJob": lambda _: job_pb2.CreateJobRequest(spec=job_pb2.JobSpec(name="anthill"), idempotency_key=HONEY),
    "UpdateJob": lambda _: job_pb2.UpdateJobRequest(spec=job_pb2.JobSpec(name="anthill"), update_fields=["name"]),
    "AddJobTask": lambda _: job_pb2.AddJobTaskRequest(task=job_pb2.JobTask(key="ant")),
    "UpdateJobTask": lambda _: job_pb2.UpdateJobTaskRequest(task=job_pb2.JobTask(key=HONEY)),
    "SubmitTask": lambda _: task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(spec=ant_task()), idempotency_key=f"{HONEY}-task"),
    "SubmitTasks": lambda ids: task_pb2.SubmitTasksRequest(
        tasks=[
            task_pb2.NewTask(
                spec=spec_pb2.TaskSpec(name="ant", command=spec_pb2.CommandWork(line="true")), dependencies=[ids["task_id"]]
            )
        ]
    ),
    "UpdateTask": lambda _: task_pb2.UpdateTaskRequest(task=task_pb2.NewTask(spec=ant_task()), update_fields=["spec.name"]),
    "SaveCheckpoint": lambda _: task_pb2.SaveCheckpointRequest(checkpoint_json="{}"),
    "CancelTasks": lambda ids: task_pb2.CancelTasksRequest(task_ids=[ids["task_id"]]),
    "ListTasks": lambda ids: task_pb2.ListTasksRequest(filter=task_pb2.TaskFilter(run_id=ids["run_id"])),
    "ClaimTask": lambda _: worker_pb2.ClaimTaskRequest(executor_id="ant", queues=[QUEUE]),
    "PushLogs": lambda ids: worker_pb2.PushLogsRequest(
        lines=[
            worker_pb2.TaskLogLine(task_id=parse_uuid(ids["task_id"]), number=2, attempt=1, at_us=1, level="info", message="ant")
        ]
    ),
    "Work": lambda _: worker_pb2.WorkRequest(
        hello=worker_pb2.Hello(worker_id="ant", capacity=10, concurrency=10, queues=[QUEUE], kinds=["binary"])
    ),
    "CreateApiKey": lambda _: access_pb2.CreateApiKeyRequest(name="ant", project="bees", role=access_pb2.ROLE_VIEWER),
    "CreateWebhook": lambda _: webhook_pb2.CreateWebhookRequest(url="https://anthill.test/"),
    "UpdateWebhook": lambda _: webhook_pb2.UpdateWebhookRequest(
        webhook=webhook_pb2.Webhook(description="ant"), update_fields=["description"]
    ),
    "AnnounceGateway": lambda _: system_pb2.AnnounceGatewayRequest(gateway_id="ant"),
    "GetRollups": lambda _: _rollups(),
}


def _rollups() -> system_pb2.GetRollupsRequest:
    request = system_pb2.GetRollupsRequest()
    request.start_at.GetCurrentTime()
    request.start_at.seconds -= 600
    return request


def test_the_bees_see_their_own(bees: Bees) -> None:
    for message in bees.snapshot():
        assert HONEY.encode() in message.SerializeToString()


REFUSED = {
    "AccessService/CreateApiKey": ErrorReason.PERMISSION_DENIED,
    "SystemService/GetMetrics": ErrorReason.PERMISSION_DENIED,
    "TaskService/SubmitTasks": ErrorReason.UNKNOWN_DEPENDENCY,
}
"""How what names something of another project is refused, if not as if it did not exist."""

FILTERS = {"RunService/ListRuns", "RunService/ListDeadLetters"}
"""Lists that an id only filters: they may answer with nothing."""


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_another_project_is_seen_or_changed(method: str, ants: Calls, bees: Bees) -> None:
    request = request_of(method, bees.ids)
    before = bees.snapshot()
    named = {name for name in bees.ids if name.endswith("_id") and name != "executor_id"}
    if method in REFUSED or (named & set(request.DESCRIPTOR.fields_by_name) and method not in FILTERS):
        error = ants.refused(method, request)
        assert error.reason is REFUSED.get(method, ErrorReason.NOT_FOUND), error
        assert HONEY not in error.message
    else:
        for answer in ants(method, request):
            if isinstance(answer, task_pb2.CancelTasksResponse):
                assert [refusal.reason for refusal in answer.refusals] == ["NOT_FOUND"]
                answer.ClearField("refusals")  # they repeat the ids that were given
            assert not [mark for mark in bees.marks() if mark in answer.SerializeToString()]
    assert bees.snapshot() == before


@pytest.mark.parametrize("method", METHODS)
def test_another_project_cannot_be_named(method: str, ants: Calls) -> None:
    if not ACCESS[method].any_project:
        error = Calls(ants.channel, ants.key, "bees").refused(method)
        assert (error.reason, error.message) == (ErrorReason.PERMISSION_DENIED, "the credential is for the project ants alone")


@pytest.fixture(scope="module")
def keys(secured_stack: Stack) -> dict[Role, str]:
    """A key of each role, for every project; what they may do they do in the project `default`."""
    return {role: secured_stack.create_key(role) for role in Role}


@pytest.mark.parametrize("method", METHODS)
def test_each_role_may_call_what_it_is_declared_for(method: str, keys: Mapping[Role, str], channel: grpc.Channel) -> None:
    nobody, thief = (code_of(Calls(channel, key), method) for key in ("", "fol_" + "x" * 43))
    assert thief is grpc.StatusCode.UNAUTHENTICATED
    assert nobody is (grpc.StatusCode.OK if ACCESS[method].open else grpc.StatusCode.UNAUTHENTICATED)
    for role, key in keys.items():
        code = code_of(Calls(channel, key), method)
        assert code is not grpc.StatusCode.UNAUTHENTICATED
        assert (code is grpc.StatusCode.PERMISSION_DENIED) == (role not in ACCESS[method].roles), role


def code_of(calls: Calls, method: str) -> grpc.StatusCode:
    """The status of a call with nothing in its request."""
    try:
        calls(method)
    except FoliotError as error:
        return error.code
    return grpc.StatusCode.OK


def test_a_worker_is_given_the_tasks_of_its_project(secured_stack: Stack, channel: grpc.Channel, bees: Bees) -> None:
    # What a worker can be given goes out before any heartbeat of it is confirmed.
    assert stream_of(channel, secured_stack.create_key("worker", "ants")) == ["welcome", "heartbeat_ack"]
    assert stream_of(channel, secured_stack.create_key("worker", "bees")) == ["welcome", "leases"]
    listed = bees.calls("WorkerService/ListWorkers")[0]
    assert isinstance(listed, worker_pb2.ListWorkersResponse)
    names = {worker.id for worker in listed.workers}
    assert "bees:ant" in names
    assert "ants:ant" not in names


def stream_of(channel: grpc.Channel, key: str) -> list[str | None]:
    """What a worker of that key is told first and second."""
    stream: Any = channel.stream_stream(
        "/foliot.v1.WorkerService/Work",
        request_serializer=worker_pb2.WorkRequest.SerializeToString,
        response_deserializer=worker_pb2.WorkResponse.FromString,
    )
    ended = threading.Event()

    def said() -> Iterator[Message]:
        yield request_of("WorkerService/Work", {})
        yield worker_pb2.WorkRequest(heartbeat=worker_pb2.Heartbeat(sequence=1))
        ended.wait(20)

    answers = stream(said(), metadata=[("authorization", f"ApiKey {key}")], timeout=20)
    told = [next(answers).WhichOneof("message") for _ in range(2)]
    answers.cancel()
    ended.set()
    return told


def test_log_lines_of_another_project_are_not_stored(ants: Calls, bees: Bees) -> None:
    answer = ants("WorkerService/PushLogs", request_of("WorkerService/PushLogs", bees.ids))[0]
    assert isinstance(answer, worker_pb2.PushLogsResponse)
    assert answer.stored == 0
    listed = bees.calls("TaskService/ListTaskLogs", ListTaskLogsRequest(task_id=bees.ids["task_id"]))[0]
    assert isinstance(listed, task_pb2.ListTaskLogsResponse)
    assert [line.message for line in listed.lines] == [HONEY]


def test_the_key_of_a_repeated_call_is_the_projects_own(ants: Calls, bees: Bees) -> None:
    made = ants("TaskService/SubmitTask", request_of("TaskService/SubmitTask", {}))[0]
    assert isinstance(made, task_pb2.SubmitTaskResponse)
    assert (made.task.project, made.task.spec.name) == ("ants", "ant")
    assert made.task.id != bees.ids["task_id"]
