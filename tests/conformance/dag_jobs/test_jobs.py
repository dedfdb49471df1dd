from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.conformance.dag_jobs.conftest import NewJob
from tests.conformance.dag_jobs.problems import check_problem

PIPELINE: dict[str, Any] = {
    "name": "pipeline",
    "description": "Two branches and a join.",
    "schedule": "0 6 * * *",
    "timezone": "Europe/Vienna",
    "retryPolicy": {"type": "ON_FAILURE", "maxRetries": 2, "backoffSeconds": 0.5},
    "tasks": [
        {"id": "join", "dependencies": ["left", "right"], "triggerRule": "ALL_DONE"},
        {"id": "left", "name": "The left one", "dependencies": ["start"], "command": "true", "priority": 9},
        {"id": "right", "dependencies": ["start"], "function": {"name": "count", "input": {"n": 1}}},
        {"id": "start", "command": "true", "timeoutSeconds": 60, "retryPolicy": {"type": "NONE"}},
    ],
    "metadata": {"team": "orders", "ratio": 1.50, "nested": {"deep": [1, None, True]}},
}


def check_time(value: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value)
    return datetime.fromisoformat(value)


@pytest.mark.endpoint("dag_jobs", "POST /jobs")
def test_create_answers_201_with_id_and_message(http: httpx.Client) -> None:
    answer = http.post("/jobs", json=PIPELINE)
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "message"}
    assert re.fullmatch(r"job-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.json()["id"])
    found = http.get(str(answer.request.url.join(answer.headers["location"])))
    assert found.json()["id"] == answer.json()["id"]


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}")
def test_get_answers_the_documented_fields(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(**PIPELINE)
    answer = http.get(f"/jobs/{job_id}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    job = answer.json()
    assert list(job) == [
        "id", "name", "description", "status", "schedule", "timezone", "nextRunAt", "retryPolicy",
        "tasks", "dag", "metadata", "version", "createdAt", "updatedAt",
    ]  # fmt: skip
    assert job["id"] == job_id
    assert job["name"] == "pipeline"
    assert job["description"] == "Two branches and a join."
    assert job["status"] == "ACTIVE"
    assert job["schedule"] == "0 6 * * *"
    assert job["timezone"] == "Europe/Vienna"
    assert check_time(job["nextRunAt"]).minute == 0
    assert job["retryPolicy"] == {
        "type": "ON_FAILURE",
        "maxRetries": 2,
        "backoffSeconds": 0.5,
        "backoffMultiplier": 2.0,
        "maxBackoffSeconds": 60.0,
    }
    assert job["metadata"] == PIPELINE["metadata"]
    assert job["version"] == 1
    assert check_time(job["createdAt"]) <= check_time(job["updatedAt"])


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}")
def test_dag_shows_nodes_edges_and_levels(http: httpx.Client, new_job: NewJob) -> None:
    dag = http.get(f"/jobs/{new_job(**PIPELINE)}").json()["dag"]
    assert dag["nodes"] == ["join", "left", "right", "start"]
    assert sorted(dag["edges"]) == [["left", "join"], ["right", "join"], ["start", "left"], ["start", "right"]]
    assert dag["levels"] == [["start"], ["left", "right"], ["join"]]


@pytest.mark.endpoint("dag_jobs", "POST /jobs")
def test_a_job_of_a_name_alone_gets_the_defaults(http: httpx.Client, new_job: NewJob) -> None:
    job = http.get(f"/jobs/{new_job(name='bare')}").json()
    assert job["description"] == ""
    assert job["schedule"] is None
    assert job["timezone"] is None
    assert job["nextRunAt"] is None
    assert job["retryPolicy"] is None
    assert job["tasks"] == []
    assert job["dag"] == {"nodes": [], "edges": [], "levels": []}
    assert job["metadata"] == {}


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "30 */5 * * * *", "@hourly", "@daily", "@every 90s"])
@pytest.mark.endpoint("dag_jobs", "POST /jobs")
def test_every_form_of_schedule_is_taken(http: httpx.Client, new_job: NewJob, schedule: str) -> None:
    job = http.get(f"/jobs/{new_job(schedule=schedule)}").json()
    assert job["schedule"] == schedule
    assert job["timezone"] == "UTC"
    assert job["nextRunAt"] is not None


@pytest.mark.parametrize(
    ("given", "retries"),
    [
        ({"type": "NONE"}, 0),
        ({"type": "NONE", "maxRetries": 0}, 0),
        ({"type": "ON_FAILURE"}, 3),
        ({"type": "ALWAYS"}, 3),
        ({"type": "ALWAYS", "maxRetries": 7}, 7),
        ({"type": "ON_FAILURE", "maxRetries": 0}, 0),
    ],
)
@pytest.mark.endpoint("dag_jobs", "POST /jobs")
def test_retry_policies_keep_their_type(http: httpx.Client, new_job: NewJob, given: dict[str, object], retries: int) -> None:
    policy = http.get(f"/jobs/{new_job(retryPolicy=given)}").json()["retryPolicy"]
    assert policy["type"] == given["type"]
    assert policy["maxRetries"] == retries
    assert policy["backoffSeconds"] == 1
    assert policy["backoffMultiplier"] == 2
    assert policy["maxBackoffSeconds"] == 60


@pytest.mark.endpoint("dag_jobs", "GET /jobs")
def test_list_answers_summaries_newest_first_with_the_total(http: httpx.Client, new_job: NewJob) -> None:
    ids = [new_job(name="one of three listed", tasks=[{"id": "a"}]) for _ in range(3)]
    answer = http.get("/jobs", params={"name": "one of three listed", "limit": 2})
    assert answer.status_code == 200
    total = int(answer.headers["x-total-count"])
    assert total >= 3
    assert [job["id"] for job in answer.json()] == ids[:0:-1]
    assert set(answer.json()[0]) == {
        "id", "name", "description", "status", "schedule", "timezone", "nextRunAt", "taskCount",
        "version", "createdAt", "updatedAt",
    }  # fmt: skip
    assert answer.json()[0]["taskCount"] == 1
    rest = http.get("/jobs", params={"name": "one of three listed", "offset": 2})
    assert rest.json()[0]["id"] == ids[0]
    assert len(rest.json()) == total - 2


@pytest.mark.endpoint("dag_jobs", "GET /jobs")
def test_list_filters_by_status(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(name="paused and listed")
    http.post(f"/jobs/{job_id}/pause")
    for status, expected in (("PAUSED", True), ("ACTIVE", False)):
        jobs = http.get("/jobs", params={"name": "paused and listed", "status": status}).json()
        assert (job_id in [job["id"] for job in jobs]) is expected
        assert {job["status"] for job in jobs} <= {status}


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_a_partial_update_changes_only_what_it_gives(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(**PIPELINE)
    before = http.get(f"/jobs/{job_id}").json()
    answer = http.put(f"/jobs/{job_id}", json={"description": "Changed."})
    assert answer.status_code == 200
    assert set(answer.json()) == {"message"}
    after = http.get(f"/jobs/{job_id}").json()
    assert after["version"] == before["version"] + 1
    changed = {"description", "version", "updatedAt"}
    assert {name: value for name, value in after.items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_schedule_and_timezone_change_one_by_one(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(**PIPELINE)
    assert http.put(f"/jobs/{job_id}", json={"timezone": "Asia/Tokyo"}).status_code == 200
    assert http.put(f"/jobs/{job_id}", json={"schedule": "15 7 * * *"}).status_code == 200
    job = http.get(f"/jobs/{job_id}").json()
    assert (job["schedule"], job["timezone"]) == ("15 7 * * *", "Asia/Tokyo")
    assert http.put(f"/jobs/{job_id}", json={"schedule": None}).status_code == 200
    job = http.get(f"/jobs/{job_id}").json()
    assert (job["schedule"], job["timezone"], job["nextRunAt"]) == (None, None, None)
    check_problem(http.put(f"/jobs/{job_id}", json={"timezone": "Asia/Tokyo"}), 422, "timezone")


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_tasks_in_an_update_replace_the_dag(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(**PIPELINE)
    tasks = [{"id": "only", "command": "true"}]
    assert http.put(f"/jobs/{job_id}", json={"tasks": tasks}).status_code == 200
    job = http.get(f"/jobs/{job_id}").json()
    assert job["dag"] == {"nodes": ["only"], "edges": [], "levels": [["only"]]}
    assert job["name"] == "pipeline"


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_a_whole_job_can_be_sent_back(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(**PIPELINE)
    before = http.get(f"/jobs/{job_id}").json()
    assert http.put(f"/jobs/{job_id}", json=before).status_code == 200
    after = http.get(f"/jobs/{job_id}").json()
    for job in (before, after):
        del job["version"], job["updatedAt"], job["nextRunAt"]
    assert after == before
    other = {**before, "status": "PAUSED"}
    check_problem(http.put(f"/jobs/{job_id}", json=other), 422, "status")
    check_problem(http.put(f"/jobs/{job_id}", json={"id": "job-other", "name": "x"}), 422, "id")


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_a_version_is_honoured(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    assert http.put(f"/jobs/{job_id}", json={"name": "second", "version": 1}).status_code == 200
    problem = check_problem(http.put(f"/jobs/{job_id}", json={"name": "third", "version": 1}), 409)
    assert problem["version"] == 2
    assert http.get(f"/jobs/{job_id}").json()["name"] == "second"


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}")
def test_an_update_of_nothing_is_refused(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    check_problem(http.put(f"/jobs/{job_id}", json={}), 422)
    check_problem(http.put(f"/jobs/{job_id}", json={"version": 1}), 422)


@pytest.mark.endpoint("dag_jobs", "DELETE /jobs/{id}")
def test_a_deleted_job_is_gone_everywhere(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(name="deleted", tasks=[{"id": "a"}])
    http.post(f"/jobs/{job_id}/trigger")
    answer = http.delete(f"/jobs/{job_id}")
    assert answer.status_code == 200
    assert set(answer.json()) == {"message"}
    for path in ("", "/tasks", "/status", "/history"):
        check_problem(http.get(f"/jobs/{job_id}{path}"), 404)
    for path in ("trigger", "pause", "resume"):
        check_problem(http.post(f"/jobs/{job_id}/{path}"), 404)
    check_problem(http.put(f"/jobs/{job_id}", json={"name": "x"}), 404)
    check_problem(http.post(f"/jobs/{job_id}/tasks", json={"id": "b"}), 404)
    check_problem(http.delete(f"/jobs/{job_id}"), 404)
    assert job_id not in [job["id"] for job in http.get("/jobs", params={"name": "deleted"}).json()]


@pytest.mark.parametrize(
    "job_id",
    [
        "job-0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b",
        "0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b",
        "job-0192F0C1-7A3E-7CC0-8A51-0D4C5E6F7A8B",
        "job-1",
        "exec-0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b",
        "%00",
        "%ff",
        "a%2Fb",
        "x" * 2_000,
    ],
)
def test_an_unknown_or_malformed_id_is_404_everywhere(http: httpx.Client, job_id: str) -> None:
    for path in ("", "/tasks", "/status", "/history"):
        check_problem(http.get(f"/jobs/{job_id}{path}"), 404)
    for path in ("trigger", "pause", "resume"):
        check_problem(http.post(f"/jobs/{job_id}/{path}"), 404)
    check_problem(http.put(f"/jobs/{job_id}", json={"name": "x"}), 404)
    check_problem(http.delete(f"/jobs/{job_id}"), 404)
    check_problem(http.post(f"/jobs/{job_id}/tasks", json={"id": "b"}), 404)
    check_problem(http.put(f"/jobs/{job_id}/tasks/a", json={"priority": 1}), 404)
    check_problem(http.delete(f"/jobs/{job_id}/tasks/a"), 404)


@pytest.mark.endpoint("dag_jobs", "POST /jobs")
def test_the_same_idempotency_key_creates_one_job(http: httpx.Client) -> None:
    body = {"name": "created once", "tasks": [{"id": "a"}]}
    headers = {"Idempotency-Key": "the key of test_the_same_idempotency_key"}
    first = http.post("/jobs", json=body, headers=headers)
    second = http.post("/jobs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    check_problem(http.post("/jobs", json={**body, "name": "another"}, headers=headers), 422)
    listed = http.get("/jobs", params={"name": "created once"}).json()
    assert [job["id"] for job in listed].count(first.json()["id"]) == 1
