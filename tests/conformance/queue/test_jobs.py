"""Jobs as callers submit, list, look at and cancel them."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.conformance.queue.conftest import BODY, SHA256, Claim, NewJob, NewTask, check_error

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
def test_the_documented_job_is_submitted(http: httpx.Client) -> None:
    body = {
        "type": "data-processing",
        "binary_url": "https://example.com/binary",
        "binary_sha256": SHA256,
        "arguments": ["arg1", "arg2"],
        "env_variables": {"KEY1": "value1", "KEY2": "value2"},
        "priority": "background",
    }
    answer = http.post("/api/v1/jobs", json=body)
    assert answer.status_code == 201
    created = answer.json()
    assert list(created) == ["id", "type", "status", "created_at"]
    assert UUID.fullmatch(created["id"])
    assert (created["type"], created["status"]) == ("data-processing", "pending")
    assert TIME.fullmatch(created["created_at"])
    assert str(httpx.URL("http://x/api/v1/jobs").join(answer.headers["location"])).endswith(f"/api/v1/jobs/{created['id']}")


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
@pytest.mark.parametrize("missing", ["type", "binary_url", "binary_sha256", "priority"])
def test_what_is_required_is_asked_for(http: httpx.Client, missing: str) -> None:
    body = {name: value for name, value in BODY.items() if name != missing}
    check_error(http.post("/api/v1/jobs", json=body), 400, missing)


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("type", "two words", "type"), ("type", "", "type"), ("type", "ü" * 200, "type"), ("type", 7, "type"),
        ("binary_url", "ftp://example.com/x", "binary_url"), ("binary_url", "/relative", "binary_url"),
        ("binary_url", "https://example.com/" + "x" * 9_000, "binary_url"),
        ("binary_sha256", "abc123", "binary_sha256"), ("binary_sha256", None, "binary_sha256"),
        ("arguments", "arg1", "arguments"), ("arguments", ["a"] * 1_001, "arguments"),
        ("arguments", ["x" * 200_000], "arguments"),
        ("env_variables", ["KEY"], "env_variables"), ("env_variables", {"A=B": "x"}, "env_variables['A=B']"),
        ("env_variables", {"KEY": "x" * 70_000}, "env_variables"), ("env_variables", {"KEY": "******"}, "env_variables['KEY']"),
        ("priority", "urgent", "priority"), ("priority", 5, "priority"), ("retries", 3, "retries"),
        ("status", "pending", "status"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_400_and_named(http: httpx.Client, field: str, value: object, named: str) -> None:
    check_error(http.post("/api/v1/jobs", json={**BODY, field: value}), 400, named)
    assert http.get("/api/v1/jobs", params={"status": "pending"}).json() == []


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
def test_a_chadburn_job_is_told_where_chadburn_is(http: httpx.Client) -> None:
    answer = http.post("/api/v1/jobs", json={"name": "backup", "schedule": "0 2 * * *", "command": "backup.sh"})
    context = check_error(answer, 400, "command")
    assert context["code"] == "wrong_api"
    assert "/chadburn/api/v1/jobs" in answer.json()["error"]


@pytest.mark.endpoint("queue", "POST /api/v1/jobs")
def test_a_repeated_submit_has_one_effect_and_one_answer(http: httpx.Client, claim: Claim) -> None:
    headers = {"idempotency-key": "once"}
    first = http.post("/api/v1/jobs", json=BODY, headers=headers)
    claim()
    again = http.post("/api/v1/jobs", json=BODY, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    check_error(http.post("/api/v1/jobs", json={**BODY, "type": "other"}, headers=headers), 422)


@pytest.mark.endpoint("queue", "GET /api/v1/jobs/{id}")
def test_a_new_job_in_detail(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(arguments=["arg1"], env_variables={"KEY1": "s3cret"})
    answer = http.get(f"/api/v1/jobs/{job_id}")
    assert answer.status_code == 200
    assert "s3cret" not in answer.text
    assert answer.json() == {
        "id": job_id,
        "type": "data-processing",
        "binary_url": "https://example.com/binary",
        "binary_sha256": SHA256,
        "arguments": ["arg1"],
        "env_variables": {"KEY1": "******"},
        "priority": "background",
        "status": "pending",
        "executor_id": None,
        "stdout": "",
        "stderr": "",
        "exit_code": None,
        "created_at": answer.json()["created_at"],
        "started_at": None,
        "completed_at": None,
        "attempts": [],
    }


@pytest.mark.endpoint("queue", "GET /api/v1/jobs/{id}")
@pytest.mark.endpoint("queue", "DELETE /api/v1/jobs/{id}")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_no_job_is_404(http: httpx.Client, method: str) -> None:
    command = http.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 5})
    other = command.json()["data"]["id"].removeprefix("task-")
    for job_id in (NOBODY, "nonsense", "job-" + NOBODY, other, other.upper()):
        context = check_error(http.request(method, f"/api/v1/jobs/{job_id}"), 404)
        assert context.get("job_id", job_id) == job_id


@pytest.mark.endpoint("queue", "GET /api/v1/jobs")
def test_the_documented_list(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    query = {"status": "running", "type": "data-processing", "priority": "background", "limit": "1", "offset": "0"}
    (job,) = http.get("/api/v1/jobs", params=query).json()
    assert list(job) == ["id", "type", "status", "priority", "executor_id", "created_at", "started_at"]
    assert (job["id"], job["status"], job["executor_id"]) == (job_id, "running", "worker-1-abc123")
    assert TIME.fullmatch(job["started_at"])


@pytest.mark.endpoint("queue", "GET /api/v1/jobs")
def test_a_list_is_an_array_newest_first_in_pages(http: httpx.Client, new_job: NewJob) -> None:
    ids = [new_job(type="paged") for _ in range(5)]
    pages = [
        [job["id"] for job in http.get("/api/v1/jobs", params={"type": "paged", "limit": 2, "offset": offset}).json()]
        for offset in (0, 2, 4, 6)
    ]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]], []]


@pytest.mark.endpoint("queue", "GET /api/v1/jobs")
def test_filters_keep_what_they_name(http: httpx.Client, new_job: NewJob) -> None:
    by_priority = {
        priority: new_job(type="sorted", priority=priority) for priority in ("foreground", "background", "best_effort")
    }
    http.delete(f"/api/v1/jobs/{by_priority['background']}")

    def found(**query: str) -> list[str]:
        return [job["id"] for job in http.get("/api/v1/jobs", params={"type": "sorted", **query}).json()]

    assert found() == list(reversed(by_priority.values()))
    assert {priority: found(priority=priority) for priority in by_priority} == {p: [job] for p, job in by_priority.items()}
    assert found(status="cancelled") == [by_priority["background"]]
    assert found(status="pending") == [by_priority["best_effort"], by_priority["foreground"]]
    assert found(status="pending", priority="background") == []
    assert http.get("/api/v1/jobs", params={"type": "unknown"}).json() == []


@pytest.mark.endpoint("queue", "GET /api/v1/jobs")
@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"), ("status=done", "status"),
     ("priority=9", "priority"), ("type=", "type"), ("page=1", "page"), ("limit=1&limit=2", "limit")],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_and_never_clamped(http: httpx.Client, query: str, field: str) -> None:
    check_error(http.get(f"/api/v1/jobs?{query}"), 400, field)


@pytest.mark.endpoint("queue", "GET /api/v1/jobs")
def test_binary_tasks_made_elsewhere_are_listed_with_the_priority_of_their_band(http: httpx.Client, new_task: NewTask) -> None:
    for priority in range(1, 11):
        new_task(f"other-{priority}", priority=priority)
    shown = {job["type"]: job["priority"] for job in http.get("/api/v1/jobs", params={"status": "pending"}).json()}
    assert [shown[f"other-{priority}"] for priority in range(1, 11)] == [
        *["best_effort"] * 3, *["background"] * 4, *["foreground"] * 3,
    ]  # fmt: skip


@pytest.mark.endpoint("queue", "DELETE /api/v1/jobs/{id}")
def test_a_pending_job_is_cancelled(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    answer = http.delete(f"/api/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "cancelled"})
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert (job["status"], job["attempts"]) == ("cancelled", [])
    assert job["completed_at"]
    assert check_error(http.delete(f"/api/v1/jobs/{job_id}"), 400)["status"] == "cancelled"


@pytest.mark.endpoint("queue", "DELETE /api/v1/jobs/{id}")
def test_a_job_that_is_not_pending_is_not_cancelled(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    context = check_error(http.delete(f"/api/v1/jobs/{job_id}"), 400)
    assert (context["job_id"], context["status"]) == (job_id, "running")
    assert http.get(f"/api/v1/jobs/{job_id}").json()["status"] == "running"


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk")
def test_the_documented_bulk_submit(http: httpx.Client) -> None:
    jobs = [
        {"type": "job-1", "binary_url": "https://example.com/binary1", "binary_sha256": SHA256, "priority": "background"},
        {"type": "job-2", "binary_url": "https://example.com/binary2", "binary_sha256": SHA256, "priority": "foreground"},
    ]
    answer = http.post("/api/v1/jobs/bulk", json=jobs)
    assert answer.status_code == 201
    first, second = answer.json()
    assert first == {"id": first["id"], "status": "pending"}
    assert http.get(f"/api/v1/jobs/{first['id']}").json()["type"] == "job-1"
    assert http.get(f"/api/v1/jobs/{second['id']}").json()["priority"] == "foreground"


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk")
def test_of_a_thousand_jobs_all_are_submitted_or_none(http: httpx.Client) -> None:
    jobs = [{**BODY, "type": f"bulk-{index}"} for index in range(1_000)]
    for bad, named in (
        ({**BODY, "binary_sha256": "abc"}, "binary_sha256"),
        ({**BODY, "env_variables": {"": "x"}}, "env_variables['']"),
    ):
        broken = [*jobs[:731], bad, *jobs[732:]]
        answer = http.post("/api/v1/jobs/bulk", json=broken)
        check_error(answer, 400, f"[731].{named}")
        assert "[731]" in answer.json()["error"]
    assert http.get("/api/v1/jobs", params={"status": "pending"}).json() == []
    headers = {"idempotency-key": "bulk"}
    answer = http.post("/api/v1/jobs/bulk", json=jobs, headers=headers)
    assert answer.status_code == 201
    assert len({job["id"] for job in answer.json()}) == 1_000
    assert http.post("/api/v1/jobs/bulk", json=jobs, headers=headers).json() == answer.json()
    pending = http.get("/api/v1/jobs", params={"status": "pending", "limit": 1_000}).json()
    assert [job["type"] for job in reversed(pending)] == [f"bulk-{index}" for index in range(1_000)]


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk")
@pytest.mark.parametrize("body", [[], [BODY] * 1_001, {"jobs": [BODY]}, BODY, [7]])
def test_a_bulk_submit_is_an_array_of_one_to_a_thousand_jobs(http: httpx.Client, body: object) -> None:
    answer = http.post("/api/v1/jobs/bulk", json=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "context"}


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk/cancel")
def test_the_documented_bulk_cancel(http: httpx.Client, new_job: NewJob) -> None:
    ids = [new_job(), new_job()]
    answer = http.post("/api/v1/jobs/bulk/cancel", json={"job_ids": ids})
    assert (answer.status_code, answer.json()) == (200, {"cancelled": 2, "failed": 0, "errors": []})
    assert {http.get(f"/api/v1/jobs/{job_id}").json()["status"] for job_id in ids} == {"cancelled"}


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk/cancel")
def test_one_that_is_not_pending_does_not_stop_the_others(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    running = new_job(priority="foreground")
    claim()
    ended, pending = new_job(), new_job()
    http.delete(f"/api/v1/jobs/{ended}")
    command = http.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 5}).json()["data"]["id"]
    other = command.removeprefix("task-")
    answer = http.post("/api/v1/jobs/bulk/cancel", json={"job_ids": [running, NOBODY, pending, "nonsense", ended, other]})
    not_pending, unknown = "The job is not pending.", "No job has this id."
    assert answer.json() == {
        "cancelled": 1,
        "failed": 5,
        "errors": [
            {"job_id": running, "error": not_pending},
            {"job_id": NOBODY, "error": unknown},
            {"job_id": "nonsense", "error": unknown},
            {"job_id": ended, "error": not_pending},
            {"job_id": other, "error": unknown},
        ],
    }
    assert http.get(f"/api/v1/jobs/{running}").json()["status"] == "running"
    assert http.get(f"/api/tasks/{command}").json()["data"]["status"] == "pending"


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/bulk/cancel")
def test_a_bulk_cancel_names_one_to_a_thousand_jobs_each_once(http: httpx.Client) -> None:
    check_error(http.post("/api/v1/jobs/bulk/cancel", json={"job_ids": [NOBODY, "x", NOBODY]}), 400, "job_ids[2]")
    check_error(http.post("/api/v1/jobs/bulk/cancel", json={"job_ids": []}), 400, "job_ids")
    check_error(http.post("/api/v1/jobs/bulk/cancel", json={"job_ids": [str(n) for n in range(1_001)]}), 400, "job_ids")
    check_error(http.post("/api/v1/jobs/bulk/cancel", json={"ids": [NOBODY]}), 400, "ids")
