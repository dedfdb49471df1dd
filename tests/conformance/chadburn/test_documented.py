"""The document's own examples, sent as documented and answered as documented."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from foliot.kit.clock import SystemClock
from tests.conformance.chadburn.conftest import Json, NewJob
from tests.conformance.chadburn.errors import check_error

BACKUP: Json = {
    "name": "backup-database",
    "schedule": "0 0 * * *",
    "command": "pg_dump -U postgres mydb > /backups/mydb.sql",
    "tags": ["backup", "database"],
    "timeout": 3600,
    "retries": 3,
    "retry_delay": 300,
    "environment": {"PGPASSWORD": "secret"},
    "working_directory": "/opt/backups",
}
SUMMARY = ["id", "name", "schedule", "command", "status", "tags", "created_at", "updated_at"]
SETTINGS = [
    "id", "name", "schedule", "command", "status", "tags", "timeout", "retries", "retry_delay", "environment",
    "working_directory", "created_at", "updated_at", "next_run",
]  # fmt: skip
EXECUTION = [
    "id", "job_id", "status", "started_at", "finished_at", "duration", "exit_code", "output", "error", "retry_count",
]  # fmt: skip


def check_time(value: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value)
    return datetime.fromisoformat(value)


def next_midnight() -> datetime:
    return SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def wait_ended(chadburn: httpx.Client, job_id: str) -> Json:
    """Ask until the latest execution has ended; the test's own timeout bounds it."""
    while True:
        executions = chadburn.get(f"/api/v1/jobs/{job_id}/executions", params={"limit": 1}).json()["data"]
        if executions and executions[0]["status"] != "in_progress":
            execution: Json = executions[0]
            return execution


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs")
def test_create(chadburn: httpx.Client) -> None:
    before = next_midnight()
    answer = chadburn.post("/api/v1/jobs", json=BACKUP)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["data"]
    job = answer.json()["data"]
    assert sorted(job) == sorted(SETTINGS)
    assert re.fullmatch(r"job-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job["id"])
    assert {name: job[name] for name in BACKUP} == {**BACKUP, "environment": {"PGPASSWORD": "******"}}
    assert job["status"] == "active"
    assert check_time(job["created_at"]) == check_time(job["updated_at"])
    assert check_time(job["next_run"]) in {before, next_midnight()}
    found = chadburn.get(str(answer.request.url.join(answer.headers["location"])))
    assert found.json()["data"]["id"] == job["id"]


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs")
def test_create_fills_in_the_documented_defaults(new_job: NewJob) -> None:
    job = new_job()
    expected = {"tags": [], "timeout": 3600, "retries": 0, "retry_delay": 60, "environment": {}, "working_directory": None}
    assert {name: job[name] for name in expected} == expected


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}")
def test_get(chadburn: httpx.Client, new_job: NewJob) -> None:
    created = new_job(**BACKUP)
    answer = chadburn.get(f"/api/v1/jobs/{created['id']}")
    assert answer.status_code == 200
    job = answer.json()["data"]
    assert list(job) == [*SUMMARY, "last_run", "next_run"]
    assert {name: job[name] for name in SUMMARY} == {name: created[name] for name in SUMMARY}
    assert job["last_run"] is None
    assert job["next_run"] == created["next_run"]


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
def test_update(chadburn: httpx.Client, new_job: NewJob) -> None:
    created = new_job(**BACKUP)
    change = {
        "name": "backup-database-daily",
        "schedule": "0 0 * * *",
        "command": "pg_dump -U postgres mydb > /backups/mydb-$(date +%Y%m%d).sql",
        "status": "paused",
        "tags": ["backup", "database", "daily"],
        "timeout": 7200,
    }
    answer = chadburn.put(f"/api/v1/jobs/{created['id']}", json=change)
    assert answer.status_code == 200
    job = answer.json()["data"]
    assert sorted(job) == sorted(SETTINGS)
    assert check_time(job.pop("updated_at")) > check_time(created.pop("updated_at"))
    assert job == {**created, **change, "next_run": None}


@pytest.mark.endpoint("chadburn", "DELETE /api/v1/jobs/{id}")
def test_delete(chadburn: httpx.Client, new_job: NewJob) -> None:
    path = f"/api/v1/jobs/{new_job()['id']}"
    answer = chadburn.delete(path)
    assert (answer.status_code, answer.json()) == (200, {"data": {"message": "Job deleted successfully"}})
    for gone in (
        chadburn.get(path),
        chadburn.put(path, json={"name": "x"}),
        chadburn.delete(path),
        chadburn.post(f"{path}/run"),
        chadburn.post(f"{path}/pause"),
        chadburn.post(f"{path}/resume"),
        chadburn.get(f"{path}/executions"),
    ):
        check_error(gone, 404)


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs/{id}/run")
def test_run(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()["id"]
    answer = chadburn.post(f"/api/v1/jobs/{job_id}/run")
    assert answer.status_code == 202
    started = answer.json()["data"]
    assert list(started) == ["message", "execution_id"]
    assert started["message"] == "Job triggered successfully"
    assert re.fullmatch(r"exec-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", started["execution_id"])
    assert wait_ended(chadburn, job_id)["id"] == started["execution_id"]


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs/{id}/pause")
@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs/{id}/resume")
def test_pause_and_resume(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(schedule="@daily")["id"]
    for _ in range(2):
        answer = chadburn.post(f"/api/v1/jobs/{job_id}/pause")
        expected: Any = {"message": "Job paused successfully", "id": job_id, "status": "paused"}
        assert (answer.status_code, answer.json()) == (200, {"data": expected})
    paused = chadburn.get(f"/api/v1/jobs/{job_id}").json()["data"]
    assert (paused["status"], paused["next_run"]) == ("paused", None)
    for _ in range(2):
        before = next_midnight()
        answer = chadburn.post(f"/api/v1/jobs/{job_id}/resume")
        assert answer.status_code == 200
        resumed = answer.json()["data"]
        assert check_time(resumed.pop("next_run")) in {before, next_midnight()}
        assert resumed == {"message": "Job resumed successfully", "id": job_id, "status": "active"}


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs")
def test_list(chadburn: httpx.Client, new_job: NewJob) -> None:
    created = [new_job(name=f"job {number}", tags=["of test_list"]) for number in range(3)]
    answer = chadburn.get("/api/v1/jobs", params={"tag": "of test_list"})
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "pagination"]
    assert answer.json()["pagination"] == {"total": 3, "limit": 100, "offset": 0}
    newest_first = [{name: job[name] for name in SUMMARY} for job in reversed(created)]
    assert answer.json()["data"] == newest_first
    answer = chadburn.get("/api/v1/jobs", params={"tag": "of test_list", "limit": 1, "offset": 1})
    assert answer.json() == {"data": newest_first[1:2], "pagination": {"total": 3, "limit": 1, "offset": 1}}


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_a_successful_execution(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(command="echo Database backup completed successfully")["id"]
    execution_id = chadburn.post(f"/api/v1/jobs/{job_id}/run").json()["data"]["execution_id"]
    wait_ended(chadburn, job_id)
    answer = chadburn.get(f"/api/v1/jobs/{job_id}/executions")
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "pagination"]
    assert answer.json()["pagination"] == {"total": 1, "limit": 10, "offset": 0}
    [execution] = answer.json()["data"]
    assert list(execution) == EXECUTION
    assert check_time(execution["started_at"]) <= check_time(execution["finished_at"])
    assert isinstance(execution.pop("duration"), int)
    assert execution == {
        "id": execution_id,
        "job_id": job_id,
        "status": "success",
        "started_at": execution["started_at"],
        "finished_at": execution["finished_at"],
        "exit_code": 0,
        "output": "Database backup completed successfully",
        "error": None,
        "retry_count": 0,
    }
    job = chadburn.get(f"/api/v1/jobs/{job_id}").json()["data"]
    assert job["last_run"] == {
        "status": "success",
        "started_at": execution["started_at"],
        "finished_at": execution["finished_at"],
        "exit_code": 0,
        "output": "Database backup completed successfully",
    }


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_a_failed_execution(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(command="echo 'pg_dump: could not connect to database' >&2; exit 1", retries=3, retry_delay=0)["id"]
    chadburn.post(f"/api/v1/jobs/{job_id}/run")
    execution = wait_ended(chadburn, job_id)
    assert execution["status"] == "failure"
    assert execution["exit_code"] == 1
    assert execution["output"] == ""
    assert execution["error"] == "pg_dump: could not connect to database"
    assert execution["retry_count"] == 3
