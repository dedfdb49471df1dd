"""Executors that fall silent."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.queue.conftest import BODY, check_error
from tests.processes import Stack


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A stack that gives up on silent executors soon, and whose jobs its own workers do not take."""
    with Stack(tmp_path_factory.mktemp("short-lease")) as stack:
        stack.scheduler_options = ("--executor-lease", "2s")
        stack.gateway_options = ("--no-queue-push",)
        stack.start(workers=1)
        with httpx.Client(base_url=stack.http_url, timeout=30) as client:
            yield client


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_the_job_of_a_silent_executor_goes_back_and_is_done_by_another(short: httpx.Client) -> None:
    job_id = short.post("/api/v1/jobs", json={**BODY, "env_variables": {"KEY": "value"}}).json()["id"]
    assert short.post("/api/v1/jobs/claim", json={"executor_id": "silent", "executor_ip": "10.0.0.1"}).json()["id"] == job_id
    while (job := short.get(f"/api/v1/jobs/{job_id}").json())["status"] == "running":
        pass
    assert (job["status"], job["executor_id"], job["started_at"]) == ("pending", None, None)
    (lost,) = job["attempts"]
    assert (lost["executor_id"], lost["executor_ip"], lost["status"]) == ("silent", "10.0.0.1", "lost")
    assert lost["ended_at"] > lost["started_at"]

    claimed = short.post("/api/v1/jobs/claim", json={"executor_id": "second", "executor_ip": "10.0.0.2"}).json()
    assert [attempt["status"] for attempt in claimed["attempts"]] == ["lost", "running"]
    assert claimed["env_variables"] == {"KEY": "value"}
    report = {"executor_id": "silent", "exit_code": 0}
    check_error(short.put(f"/api/v1/jobs/{job_id}/heartbeat", json={"executor_id": "silent"}), 404)
    check_error(short.put(f"/api/v1/jobs/{job_id}/complete", json=report), 400)
    assert short.put(f"/api/v1/jobs/{job_id}/complete", json={**report, "executor_id": "second"}).status_code == 200
    ended = short.get(f"/api/v1/jobs/{job_id}").json()
    shown = [(attempt["executor_id"], attempt["executor_ip"], attempt["status"]) for attempt in ended["attempts"]]
    assert shown == [("silent", "10.0.0.1", "lost"), ("second", "10.0.0.2", "completed")]


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
def test_jobs_that_are_not_pushed_wait_for_executors(short: httpx.Client) -> None:
    job_id = short.post("/api/v1/jobs", json=BODY).json()["id"]
    command = short.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 5}).json()["data"]["id"]
    while short.get(f"/api/tasks/{command}").json()["data"]["status"] != "completed":
        pass
    assert short.get(f"/api/v1/jobs/{job_id}").json()["status"] == "pending"
    assert short.post("/api/v1/jobs/claim", json={"executor_id": "third"}).json()["id"] == job_id
    # No other test is to claim it when this lease has ended.
    report = {"executor_id": "third", "exit_code": 0}
    assert short.put(f"/api/v1/jobs/{job_id}/complete", json=report).status_code == 200


@pytest.mark.endpoint("queue", "GET /api/v1/admin/executors")
def test_executors_that_fall_silent_are_not_active(short: httpx.Client) -> None:
    short.post("/api/v1/jobs/claim", json={"executor_id": "fleeting"})
    assert "fleeting" in [executor["executor_id"] for executor in short.get("/api/v1/admin/executors").json()]
    while short.get("/api/v1/admin/stats").json()["active_executors"]:
        pass
    assert short.get("/api/v1/admin/executors").json() == []
