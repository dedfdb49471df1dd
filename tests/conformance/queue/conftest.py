"""A stack whose queue jobs wait for executors alone, and what the tests do over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest

from foliot.v1 import spec_pb2, task_pb2, task_pb2_grpc
from tests.processes import Stack

Json = dict[str, Any]
NewJob = Callable[..., str]
NewTask = Callable[..., str]
Claim = Callable[..., Json]

SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
BODY: Json = {
    "type": "data-processing",
    "binary_url": "https://example.com/binary",
    "binary_sha256": SHA256,
    "priority": "background",
}


@pytest.fixture(scope="session")
def queue_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without workers: whatever runs is claimed."""
    with Stack(tmp_path_factory.mktemp("queue")) as stack:
        stack.start(workers=0)
        yield stack


@pytest.fixture
def http(queue_stack: Stack) -> Iterator[httpx.Client]:
    """A client of the running service, whose queue is emptied afterwards."""
    with httpx.Client(base_url=queue_stack.http_url, timeout=30) as client:
        yield client
        # What runs would come back when its lease ends, in the middle of some other test.
        for job in client.get("/api/v1/jobs", params={"status": "running", "limit": 1000}).json():
            client.put(f"/api/v1/jobs/{job['id']}/fail", json={"executor_id": job["executor_id"], "stdout": "", "stderr": ""})
        while pending := client.get("/api/v1/jobs", params={"status": "pending", "limit": 1000}).json():
            client.post("/api/v1/jobs/bulk/cancel", json={"job_ids": [job["id"] for job in pending]})


@pytest.fixture
def new_job(http: httpx.Client) -> NewJob:
    """Submits a job and answers its id; keyword arguments are the body's fields."""

    def submit(**fields: object) -> str:
        answer = http.post("/api/v1/jobs", json={**BODY, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return submit


@pytest.fixture
def new_task(queue_stack: Stack) -> NewTask:
    """Submits a binary task past this API and answers its id."""

    def submit(name: str, *, priority: int) -> str:
        work = spec_pb2.BinaryWork(url="https://example.com/binary", sha256=SHA256)
        task = task_pb2.NewTask(spec=spec_pb2.TaskSpec(name=name, priority=priority, binary=work))
        with grpc.insecure_channel(queue_stack.addresses[0]) as channel:
            answer = task_pb2_grpc.TaskServiceStub(channel).SubmitTask(task_pb2.SubmitTaskRequest(task=task), timeout=30)
        return str(answer.task.id)

    return submit


@pytest.fixture
def claim(http: httpx.Client) -> Claim:
    """Claims the next job and answers it."""

    def ask(executor_id: str = "worker-1-abc123", executor_ip: str = "192.168.1.100") -> Json:
        answer = http.post("/api/v1/jobs/claim", json={"executor_id": executor_id, "executor_ip": executor_ip})
        assert answer.status_code == 200, answer.text
        job: Json = answer.json()
        return job

    return ask


def check_error(answer: httpx.Response, status: int, field: str = "") -> Json:
    """Assert that the answer is an error of this API with this status that names the field, and return its context."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: Json = answer.json()
    assert set(body) == {"error", "context"}
    assert body["error"]
    context: Json = body["context"]
    assert context["code"]
    assert context.get("field", "") == field, body
    return context
