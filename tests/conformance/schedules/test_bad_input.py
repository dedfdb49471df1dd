"""What is refused, naming the field and the rule; nothing of it has an effect."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import Json, NewSchedule

TARGET: Json = {"type": "http", "url": "http://127.0.0.1:1/"}
BODY: Json = {"name": "refused", "cron": "@daily", "target": TARGET}
UNKNOWN = "0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"


@pytest.mark.endpoint("schedules", "POST /v1/schedules")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "ü" * 200}, "name"),
        ({"cron": ""}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "* * *"}, "cron"),
        ({"cron": "@every 0s"}, "cron"),
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"enabled": "yes"}, "enabled"),
        ({"concurrency_policy": "serialize"}, "concurrency_policy"),
        ({"misfire_policy": "fire"}, "misfire_policy"),
        ({"max_jitter_ms": -1}, "max_jitter_ms"),
        ({"max_jitter_ms": 3_600_001}, "max_jitter_ms"),
        ({"max_jitter_ms": 1.5}, "max_jitter_ms"),
        ({"project_id": ""}, "project_id"),
        ({"project_id": "a b"}, "project_id"),
        ({"project_id": "x" * 101}, "project_id"),
        ({"retry": {}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 101}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 2, "backoff_ms": -1}}, "retry.backoff_ms"),
        ({"retry": {"max_attempts": 2, "backoff_ms": 86_400_001}}, "retry.backoff_ms"),
        ({"retry": {"max_attempts": 2, "max_backoff_ms": 604_800_001}}, "retry.max_backoff_ms"),
        ({"retry": {"max_attempts": 2, "jitter": 1}}, "retry.jitter"),
        ({"target": None}, "target"),
        ({"target": {"url": "http://127.0.0.1:1/"}}, "target.type"),
        ({"target": {"type": "http"}}, "target.url"),
        ({"target": {**TARGET, "type": "grpc"}}, "target.type"),
        ({"target": {**TARGET, "url": "ftp://127.0.0.1/"}}, "target.url"),
        ({"target": {**TARGET, "url": "/relative"}}, "target.url"),
        ({"target": {**TARGET, "url": "http://a/" + "x" * 8_200}}, "target.url"),
        ({"target": {**TARGET, "method": "BREW"}}, "target.method"),
        ({"target": {**TARGET, "headers": {"X-One": 1}}}, "target.headers[...]"),
        ({"target": {**TARGET, "headers": {"X One": "1"}}}, "target.headers['X One']"),
        ({"target": {**TARGET, "headers": {"X-One": "a\nb"}}}, "target.headers['X-One']"),
        ({"target": {**TARGET, "headers": {"Authorization": "******"}}}, "target.headers['Authorization']"),
        ({"target": {**TARGET, "headers": {f"X-{n}": "1" for n in range(101)}}}, "target.headers"),
        ({"target": {**TARGET, "headers": {"X-One": "x" * 33_000}}}, "target.headers"),
        ({"target": {**TARGET, "body": "x" * (1024 * 1024 + 1)}}, "target.body"),
        ({"target": {**TARGET, "timeout_ms": 0}}, "target.timeout_ms"),
        ({"target": {**TARGET, "timeout_ms": 3_600_001}}, "target.timeout_ms"),
        ({"target": {**TARGET, "auth": {"type": "service_token", "ref": "the-secret-itself"}}}, "target.auth.ref"),
        ({"target": {**TARGET, "auth": {"type": "service_token"}}}, "target.auth.ref"),
        ({"target": {**TARGET, "auth": {"type": "basic", "ref": "secret://x"}}}, "target.auth.type"),
        ({"target": {**TARGET, "follow": True}}, "target.follow"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_a_schedule_that_breaks_a_rule(http: httpx.Client, change: dict[str, Any], field: str) -> None:
    before = http.get("/v1/schedules", params={"limit": 100}).json()
    problem = check_problem(http.post("/v1/schedules", json={**BODY, **change}), 422, field)
    assert "the-secret-itself" not in str(problem)
    assert http.get("/v1/schedules", params={"limit": 100}).json() == before


@pytest.mark.parametrize("field", ["name", "cron", "target"])
def test_a_required_field_is_missing(http: httpx.Client, field: str) -> None:
    body = {name: value for name, value in BODY.items() if name != field}
    check_problem(http.post("/v1/schedules", json=body), 422, field)


@pytest.mark.endpoint("schedules", "PATCH /v1/schedules/{schedule_id}")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "version"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 1, "cron": None}, "cron"),
        ({"version": 1, "cron": "nonsense"}, "cron"),
        ({"version": 1, "target": {"url": ""}}, "target.url"),
        ({"version": 1, "target": {"headers": {"X-Secret": "******"}}}, "target.headers['X-Secret']"),
        ({"version": 1, "retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"version": 1, "project_id": "p_2"}, "project_id"),
        ({"version": 1, "status": "disabled"}, "status"),
    ],
)
def test_a_change_that_breaks_a_rule(http: httpx.Client, new_schedule: NewSchedule, change: dict[str, Any], field: str) -> None:
    path = f"/v1/schedules/{new_schedule()}"
    before = http.get(path).json()
    check_problem(http.patch(path, json=change), 422, field)
    assert http.get(path).json() == before


def test_a_change_of_nothing(http: httpx.Client, new_schedule: NewSchedule) -> None:
    check_problem(http.patch(f"/v1/schedules/{new_schedule()}", json={"version": 1}), 422)


@pytest.mark.endpoint("schedules", "GET /v1/schedules")
@pytest.mark.endpoint("schedules", "GET /v1/dlq")
@pytest.mark.parametrize("path", ["/v1/schedules", "/v1/dlq"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("project_id=", "project_id"),
        ("project_id=a/b", "project_id"),
        ("page=2", "page"),
    ],
)
def test_a_wrong_parameter(http: httpx.Client, path: str, query: str, field: str) -> None:
    check_problem(http.get(f"{path}?{query}"), 400, field)


def test_a_cursor_that_no_answer_gave(http: httpx.Client, new_schedule: NewSchedule) -> None:
    runs = f"/v1/schedules/{new_schedule()}/runs"
    for path in ("/v1/schedules", runs):
        check_problem(http.get(path, params={"cursor": "bm9uc2Vuc2U"}), 400, "cursor")
    check_problem(http.get(runs, params={"status": "done"}), 400, "status")


@pytest.mark.endpoint("schedules", "GET /v1/runs/{run_id}")
@pytest.mark.endpoint("schedules", "POST /v1/dlq/{run_id}:redrive")
@pytest.mark.parametrize(
    "bare", [UNKNOWN, f"{UNKNOWN}.p_1", f"{UNKNOWN}.", f"{UNKNOWN}.default", f"{UNKNOWN}.a%20b", UNKNOWN.upper(), "1", "%00"]
)
def test_an_unknown_or_malformed_id_is_404_everywhere(http: httpx.Client, bare: str) -> None:
    schedule, run = f"/v1/schedules/sch_{bare}", f"run_{bare}"
    for answer in (
        http.get(schedule),
        http.get(f"{schedule}/runs"),
        http.patch(schedule, json={"version": 1, "enabled": False}),
        http.delete(schedule),
        http.post(f"{schedule}:runNow"),
        http.get(f"/v1/runs/{run}"),
        http.post(f"/v1/dlq/{run}:redrive"),
        http.get(f"/v1/schedules/job-{bare}"),
        http.get(f"/v1/runs/sch_{bare}"),
    ):
        check_problem(answer, 404)


def test_jobs_of_another_form_are_no_schedules(http: httpx.Client) -> None:
    request = {"id": "call", "http": {"url": "http://127.0.0.1:1/"}}
    forms: list[Json] = [
        {"name": "not by schedule", "tasks": [request]},
        {"name": "two tasks", "schedule": "@daily", "tasks": [request, {**request, "id": "again"}]},
        {"name": "a command", "schedule": "@daily", "tasks": [{"id": "run", "command": "true"}]},
    ]
    for form in forms:
        uuid = http.post("/jobs", json=form).json()["id"].removeprefix("job-")
        check_problem(http.get(f"/v1/schedules/sch_{uuid}"), 404)
        check_problem(http.post(f"/v1/schedules/sch_{uuid}:runNow"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/schedules", "GET, HEAD, OPTIONS, POST"),
        ("PUT", f"/v1/schedules/sch_{UNKNOWN}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("GET", f"/v1/schedules/sch_{UNKNOWN}:runNow", "OPTIONS, POST"),
        ("DELETE", f"/v1/schedules/sch_{UNKNOWN}/runs", "GET, HEAD, OPTIONS"),
        ("POST", f"/v1/runs/run_{UNKNOWN}", "GET, HEAD, OPTIONS"),
        ("POST", "/v1/dlq", "GET, HEAD, OPTIONS"),
        ("GET", f"/v1/dlq/run_{UNKNOWN}:redrive", "OPTIONS, POST"),
    ],
)
def test_a_wrong_method(http: httpx.Client, method: str, path: str, allow: str) -> None:
    answer = http.request(method, path)
    check_problem(answer, 405)
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/schedule", "/v1/schedules/x/y/z", f"/v1/schedules/sch_{UNKNOWN}:stop"])
def test_a_path_where_nothing_is(http: httpx.Client, path: str) -> None:
    check_problem(http.get(path), 404)


def test_bodies_that_are_no_json(http: httpx.Client, new_schedule: NewSchedule) -> None:
    path = f"/v1/schedules/{new_schedule()}"
    text, broken = {"content-type": "text/plain"}, {"content-type": "application/json"}
    for method, at in (("POST", "/v1/schedules"), ("PATCH", path), ("POST", f"{path}:runNow")):
        check_problem(http.request(method, at, content=b"hello", headers=text), 415)
        check_problem(http.request(method, at, content=b'{"name": ', headers=broken), 400)
        check_problem(http.request(method, at, content=b"[]", headers=broken), 422)
    check_problem(http.post("/v1/schedules", json={**BODY, "name": "x" * (4 * 1024 * 1024)}), 413)
    check_problem(http.post(f"{path}:runNow", json={"force": True}), 422, "force")


def test_another_version_of_the_api(http: httpx.Client) -> None:
    assert http.get("/v1/schedules", headers={"accept": "application/json; version=1.0"}).status_code == 200
    check_problem(http.get("/v1/schedules", headers={"accept": "application/json; version=2.0"}), 406, "Accept")
