"""What is refused, naming the field and the rule; nothing of it has an effect."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.chadburn.conftest import NEVER, Json, NewJob
from tests.conformance.chadburn.errors import check_error

BODY: Json = {"name": "refused", "schedule": NEVER, "command": "true"}
UNKNOWN = "0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"
BROKEN = [
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": None}, "name"),
    ({"name": "ü" * 200}, "name"),
    ({"schedule": ""}, "schedule"),
    ({"schedule": "61 * * * *"}, "schedule"),
    ({"schedule": "* * * *"}, "schedule"),
    ({"schedule": "@fortnightly"}, "schedule"),
    ({"schedule": "@every 0s"}, "schedule"),
    ({"command": ""}, "command"),
    ({"command": ["true"]}, "command"),
    ({"command": "x" * 65_537}, "command"),
    ({"tags": "backup"}, "tags"),
    ({"tags": [""]}, "tags[0]"),
    ({"tags": ["x" * 101]}, "tags[0]"),
    ({"tags": ["ü" * 51]}, "tags[0]"),
    ({"tags": [str(number) for number in range(51)]}, "tags"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": 2_592_001}, "timeout"),
    ({"timeout": "60"}, "timeout"),
    ({"timeout": 1.5}, "timeout"),
    ({"retries": -1}, "retries"),
    ({"retries": 100}, "retries"),
    ({"retry_delay": -1}, "retry_delay"),
    ({"retry_delay": 86_401}, "retry_delay"),
    ({"environment": []}, "environment"),
    ({"environment": {"A": 1}}, "environment[...]"),
    ({"environment": {"A=B": "1"}}, "environment['A=B']"),
    ({"environment": {f"V{number}": "1" for number in range(257)}}, "environment"),
    ({"environment": {"A": "x" * 65_536}}, "environment"),
    ({"working_directory": "x" * 4_097}, "working_directory"),
    ({"owner": "me"}, "owner"),
]


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs")
@pytest.mark.parametrize(("change", "field"), BROKEN)
def test_a_job_that_breaks_a_rule(chadburn: httpx.Client, change: dict[str, Any], field: str) -> None:
    before = chadburn.get("/api/v1/jobs").json()["pagination"]["total"]
    check_error(chadburn.post("/api/v1/jobs", json={**BODY, **change}), 422, field)
    assert chadburn.get("/api/v1/jobs").json()["pagination"]["total"] == before


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
@pytest.mark.parametrize(("change", "field"), [*BROKEN, ({"status": "deleted"}, "status"), ({"status": None}, "status")])
def test_a_change_that_breaks_a_rule(chadburn: httpx.Client, new_job: NewJob, change: dict[str, Any], field: str) -> None:
    path = f"/api/v1/jobs/{new_job()['id']}"
    before = chadburn.get(path).json()
    check_error(chadburn.put(path, json=change), 422, field)
    assert chadburn.get(path).json() == before


def test_a_change_of_nothing(chadburn: httpx.Client, new_job: NewJob) -> None:
    check_error(chadburn.put(f"/api/v1/jobs/{new_job()['id']}", json={}), 422)


@pytest.mark.parametrize("field", ["name", "schedule", "command"])
def test_a_required_field_is_missing(chadburn: httpx.Client, field: str) -> None:
    body = {name: value for name, value in BODY.items() if name != field}
    check_error(chadburn.post("/api/v1/jobs", json=body), 422, field)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "data-processing", "binary_url": "https://example.com/binary", "binary_sha256": "ab" * 32},
        {**BODY, "env_variables": {"A": "1"}},
    ],
)
def test_a_body_of_the_queue_is_told_where_that_is(chadburn: httpx.Client, main: httpx.Client, body: Json) -> None:
    for answer in (chadburn.post("/api/v1/jobs", json=body), main.post("/chadburn/api/v1/jobs", json=body)):
        error = check_error(answer, 400)
        assert error["code"] == "wrong_api"
        assert "/api/v1/jobs" in error["message"]
        assert "8080" in error["message"]


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("offset=1000001", "offset"),
        ("status=running", "status"),
        ("status=Active", "status"),
        ("tag=", "tag"),
        ("page=2", "page"),
    ],
)
def test_a_wrong_parameter_of_the_list(chadburn: httpx.Client, query: str, field: str) -> None:
    check_error(chadburn.get(f"/api/v1/jobs?{query}"), 400, field)


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=101", "limit"), ("offset=-1", "offset"), ("status=failed", "status")]
)
def test_a_wrong_parameter_of_the_history(chadburn: httpx.Client, new_job: NewJob, query: str, field: str) -> None:
    check_error(chadburn.get(f"/api/v1/jobs/{new_job()['id']}/executions?{query}"), 400, field)


@pytest.mark.parametrize("job_id", [f"job-{UNKNOWN}", UNKNOWN, f"job-{UNKNOWN.upper()}", f"exec-{UNKNOWN}", "job-1", "%00"])
def test_an_unknown_or_malformed_id_is_404_everywhere(chadburn: httpx.Client, job_id: str) -> None:
    path = f"/api/v1/jobs/{job_id}"
    for answer in (
        chadburn.get(path),
        chadburn.put(path, json={"name": "x"}),
        chadburn.delete(path),
        chadburn.get(f"{path}/executions"),
        *(chadburn.post(f"{path}/{verb}") for verb in ("run", "pause", "resume")),
    ):
        check_error(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/jobs", "GET, HEAD, OPTIONS, POST"),
        ("POST", f"/api/v1/jobs/job-{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("GET", f"/api/v1/jobs/job-{UNKNOWN}/run", "OPTIONS, POST"),
        ("POST", f"/api/v1/jobs/job-{UNKNOWN}/executions", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method(chadburn: httpx.Client, method: str, path: str, allow: str) -> None:
    answer = chadburn.request(method, path)
    check_error(answer, 405)
    assert answer.headers["allow"] == allow


def test_paths_where_nothing_is(chadburn: httpx.Client, main: httpx.Client) -> None:
    for path in ("/api", "/api/v1", "/api/v1/job", "/jobs", "/api/tasks", f"/api/v1/jobs/job-{UNKNOWN}/stop"):
        check_error(chadburn.get(path), 404)
    for path in ("/chadburn", "/chadburn/jobs", "/chadburn/api/v1"):
        check_error(main.get(path), 404)


def test_bodies_that_are_no_json(chadburn: httpx.Client, new_job: NewJob) -> None:
    path = f"/api/v1/jobs/{new_job()['id']}"
    text, broken = {"content-type": "text/plain"}, {"content-type": "application/json"}
    for method, at in (("POST", "/api/v1/jobs"), ("PUT", path), ("POST", f"{path}/run"), ("POST", f"{path}/pause")):
        check_error(chadburn.request(method, at, content=b"hello", headers=text), 415)
        check_error(chadburn.request(method, at, content=b'{"name": ', headers=broken), 400)
        check_error(chadburn.request(method, at, content=b"[]", headers=broken), 422)
    check_error(chadburn.post("/api/v1/jobs", json={**BODY, "name": "x" * (4 * 1024 * 1024)}), 413)
    check_error(chadburn.post(f"{path}/run", json={"force": True}), 422, "force")


def test_another_version_of_the_api(chadburn: httpx.Client) -> None:
    assert chadburn.get("/api/v1/jobs", headers={"accept": "application/json; version=1.0"}).status_code == 200
    check_error(chadburn.get("/api/v1/jobs", headers={"accept": "application/json; version=2.0"}), 406, "Accept")
