from __future__ import annotations

import re

import httpx
import pytest

from tests.conformance.dag_jobs.conftest import NewJob
from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.dag_jobs.test_jobs import check_time

STATUSES = {"PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"}
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
TASKS = [{"id": "a", "command": "true"}, {"id": "b", "dependencies": ["a"]}]


def wait_ended(http: httpx.Client, job_id: str) -> dict[str, object]:
    """Ask until the latest execution has ended; the test's own timeout bounds it."""
    while True:
        execution: dict[str, object] = http.get(f"/jobs/{job_id}/status").json()
        if execution["status"] in ENDED:
            return execution


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/trigger")
def test_a_trigger_answers_202_with_the_execution(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=TASKS)
    answer = http.post(f"/jobs/{job_id}/trigger")
    assert answer.status_code == 202
    assert set(answer.json()) == {"executionId", "message"}
    execution_id = answer.json()["executionId"]
    assert re.fullmatch(r"exec-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", execution_id)
    execution = http.get(f"/jobs/{job_id}/status").json()
    assert set(execution) == {"executionId", "status", "startedAt", "finishedAt", "tasks"}
    assert execution["executionId"] == execution_id
    assert execution["status"] in STATUSES
    assert [task["id"] for task in execution["tasks"]] == ["a", "b"]
    assert all(set(task) == {"id", "status", "attempts", "error"} for task in execution["tasks"])


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/status")
def test_an_execution_succeeds(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=TASKS)
    execution_id = http.post(f"/jobs/{job_id}/trigger").json()["executionId"]
    execution = wait_ended(http, job_id)
    assert execution["status"] == "SUCCEEDED"
    started, finished = execution["startedAt"], execution["finishedAt"]
    assert isinstance(started, str)
    assert isinstance(finished, str)
    assert check_time(started) <= check_time(finished)
    tasks = execution["tasks"]
    assert isinstance(tasks, list)
    assert [(task["status"], task["error"]) for task in tasks] == [("SUCCEEDED", None), ("SUCCEEDED", None)]
    record = http.get(f"/jobs/{job_id}/history").json()[0]
    assert record["executionId"] == execution_id
    assert record["durationMs"] >= 0
    assert (record["startedAt"], record["finishedAt"]) == (started, finished)


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/history")
def test_history_is_newest_first_in_pages(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=TASKS)
    ids = [http.post(f"/jobs/{job_id}/trigger").json()["executionId"] for _ in range(3)]
    answer = http.get(f"/jobs/{job_id}/history", params={"limit": 2})
    assert answer.status_code == 200
    assert answer.headers["x-total-count"] == "3"
    assert [record["executionId"] for record in answer.json()] == [ids[2], ids[1]]
    record = answer.json()[0]
    assert list(record) == ["executionId", "status", "trigger", "startedAt", "finishedAt", "durationMs"]
    assert record["trigger"] == "MANUAL"
    assert record["status"] in STATUSES
    rest = http.get(f"/jobs/{job_id}/history", params={"offset": 2})
    assert [record["executionId"] for record in rest.json()] == ids[:1]
    assert http.get(f"/jobs/{job_id}/status").json()["executionId"] == ids[2]


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/status")
@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/history")
def test_a_job_that_never_ran(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=TASKS)
    check_problem(http.get(f"/jobs/{job_id}/status"), 404)
    answer = http.get(f"/jobs/{job_id}/history")
    assert (answer.status_code, answer.json(), answer.headers["x-total-count"]) == (200, [], "0")


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/trigger")
def test_the_same_idempotency_key_triggers_once(http: httpx.Client, new_job: NewJob) -> None:
    job_id, other_id = new_job(tasks=TASKS), new_job(tasks=TASKS)
    headers = {"Idempotency-Key": f"trigger-{job_id}"}
    answers = [http.post(f"/jobs/{job_id}/trigger", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert http.get(f"/jobs/{job_id}/history").headers["x-total-count"] == "1"
    assert other_id != job_id


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/pause")
@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/resume")
def test_pause_and_resume(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(schedule="0 0 1 1 *", tasks=TASKS)
    for _ in range(2):
        answer = http.post(f"/jobs/{job_id}/pause")
        assert answer.status_code == 200
        assert set(answer.json()) == {"id", "status", "message"}
        assert (answer.json()["id"], answer.json()["status"]) == (job_id, "PAUSED")
    job = http.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["nextRunAt"]) == ("PAUSED", None)
    assert http.post(f"/jobs/{job_id}/trigger").status_code == 202
    for _ in range(2):
        answer = http.post(f"/jobs/{job_id}/resume")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ACTIVE"
    assert http.get(f"/jobs/{job_id}").json()["status"] == "ACTIVE"


def test_an_empty_object_is_as_good_as_no_body(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=TASKS)
    assert http.post(f"/jobs/{job_id}/trigger", json={}).status_code == 202
    check_problem(http.post(f"/jobs/{job_id}/trigger", json={"force": True}), 422, "force")
    check_problem(http.post(f"/jobs/{job_id}/trigger", content=b"x", headers={"content-type": "text/plain"}), 415)
    assert http.get(f"/jobs/{job_id}/history").headers["x-total-count"] == "1"
