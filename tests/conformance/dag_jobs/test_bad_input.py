from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.dag_jobs.conftest import NewJob
from tests.conformance.dag_jobs.problems import check_problem

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nonsense", b'{"name": "x",}', b'{"name": NaN}', b'{"name": "\xff"}', b"\xff\xfe{\x00}\x00",
     b'{"name": "\\ud800"}', b'{"name": "x", "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"],
)  # fmt: skip
def test_what_is_no_json_is_400(http: httpx.Client, content: bytes) -> None:
    check_problem(http.post("/jobs", content=content, headers=JSON), 400)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
def test_another_content_type_is_415(http: httpx.Client, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    check_problem(http.post("/jobs", content=b'{"name": "x"}', headers=headers), 415, "Content-Type")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", "Application/JSON"])
def test_json_by_any_spelling_is_taken(http: httpx.Client, content_type: str) -> None:
    answer = http.post("/jobs", content=b'{"name": "x"}', headers={"content-type": content_type})
    assert answer.status_code == 201


def test_a_body_of_10_mb_is_413(http: httpx.Client) -> None:
    body = json.dumps({"name": "x" * 10_000_000}).encode()
    check_problem(http.post("/jobs", content=body, headers=JSON), 413)
    assert http.get("/api/v1/health").status_code == 200


def test_a_chunked_body_of_10_mb_is_413(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"name": "'
        for _ in range(160):
            yield b"x" * 65_536
        yield b'"}'

    check_problem(http.post("/jobs", content=chunks(), headers=JSON), 413)
    assert http.get("/api/v1/health").status_code == 200


def test_a_body_just_within_the_limit_is_read(http: httpx.Client) -> None:
    filler = "x" * (4 * 1024 * 1024 - 100)
    check_problem(http.post("/jobs", json={"name": "x", "description": filler}), 422, "description")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ("text", ""),
        (0, ""),
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "é" * 200}, "name"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": "x", "id": "job-1"}, "id"),
        ({"name": "x", "description": "x" * 4_097}, "description"),
        ({"name": "x", "schedule": "every day"}, "schedule"),
        ({"name": "x", "schedule": "61 * * * *"}, "schedule"),
        ({"name": "x", "schedule": ""}, "schedule"),
        ({"name": "x", "schedule": "@daily", "timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "x", "timezone": "UTC"}, "timezone"),
        ({"name": "x", "metadata": []}, "metadata"),
        ({"name": "x", "metadata": None}, "metadata"),
        ({"name": "x", "metadata": {"big": "x" * 70_000}}, "metadata"),
        ({"name": "x", "tasks": {}}, "tasks"),
        ({"name": "x\0y"}, ""),
        ({"name": "x", "retryPolicy": {}}, "retryPolicy.type"),
        ({"name": "x", "retryPolicy": {"type": "SOMETIMES"}}, "retryPolicy.type"),
        ({"name": "x", "retryPolicy": {"type": "NONE", "maxRetries": 1}}, "retryPolicy.maxRetries"),
        ({"name": "x", "retryPolicy": {"type": "ALWAYS", "maxRetries": -1}}, "retryPolicy.maxRetries"),
        ({"name": "x", "retryPolicy": {"type": "ALWAYS", "maxRetries": 100}}, "retryPolicy.maxRetries"),
        ({"name": "x", "retryPolicy": {"type": "ALWAYS", "backoffSeconds": -1}}, "retryPolicy.backoffSeconds"),
        ({"name": "x", "retryPolicy": {"type": "ALWAYS", "backoffMultiplier": 0.5}}, "retryPolicy.backoffMultiplier"),
        ({"name": "x", "retryPolicy": {"type": "ALWAYS", "jitter": 1}}, "retryPolicy.jitter"),
    ],
)
def test_a_job_that_breaks_a_rule_is_422_naming_the_field(http: httpx.Client, body: object, field: str) -> None:
    check_problem(http.post("/jobs", json=body), 422, field)


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ({}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"id": "t", "colour": "red"}, "colour"),
        ({"id": "t", "queue": "default"}, "queue"),
        ({"id": "t", "timeoutSeconds": -5}, "timeoutSeconds"),
        ({"id": "t", "timeoutSeconds": 0}, "timeoutSeconds"),
        ({"id": "t", "timeoutSeconds": "5"}, "timeoutSeconds"),
        ({"id": "t", "timeoutSeconds": 1e-9}, "timeoutSeconds"),
        ({"id": "t", "timeoutSeconds": 2_592_001}, "timeoutSeconds"),
        ({"id": "t", "priority": 0}, "priority"),
        ({"id": "t", "priority": 11}, "priority"),
        ({"id": "t", "priority": 5.5}, "priority"),
        ({"id": "t", "triggerRule": "SOMETIMES"}, "triggerRule"),
        ({"id": "t", "dependencies": "a"}, "dependencies"),
        ({"id": "t", "dependencies": [1]}, "dependencies[0]"),
        ({"id": "t", "command": ""}, "command"),
        ({"id": "t", "command": 7}, "command"),
        ({"id": "t", "command": {"line": "x", "shell": "zsh"}}, "command.shell"),
        ({"id": "t", "command": {"line": "x", "environment": {"A=B": "x"}}}, "command.environment['A=B']"),
        ({"id": "t", "command": "true", "function": "f"}, "command"),
        ({"id": "t", "http": {"url": "ftp://example.com"}}, "http.url"),
        ({"id": "t", "http": {"url": "https://example.com", "method": "BREW"}}, "http.method"),
        ({"id": "t", "http": {"url": "https://example.com", "body": "a", "bodyBase64": "YQ=="}}, "http.bodyBase64"),
        ({"id": "t", "http": {"url": "https://example.com", "bodyBase64": "!"}}, "http.bodyBase64"),
        ({"id": "t", "binary": {"url": "https://example.com", "sha256": "abc"}}, "binary.sha256"),
        ({"id": "t", "binary": {"url": "https://example.com"}}, "binary.sha256"),
        ({"id": "t", "function": {"name": ""}}, "function.name"),
        ({"id": "t", "function": {"name": "f", "input": "x" * 1_100_000}}, "function.input"),
    ],
)
def test_a_task_that_breaks_a_rule_is_422_naming_the_field(
    http: httpx.Client, new_job: NewJob, task: dict[str, object], field: str
) -> None:
    answer = http.post("/jobs", json={"name": "x", "tasks": [{"id": "first"}, task]})
    check_problem(answer, 422, f"tasks[1].{field}")
    job_id = new_job()
    check_problem(http.post(f"/jobs/{job_id}/tasks", json=task), 422, field)
    assert http.get(f"/jobs/{job_id}").json()["version"] == 1


def test_a_cycle_is_named_by_its_path(http: httpx.Client) -> None:
    tasks = [
        {"id": "free"},
        {"id": "a", "dependencies": ["c", "free"]},
        {"id": "b", "dependencies": ["a"]},
        {"id": "c", "dependencies": ["b"]},
    ]
    problem = check_problem(http.post("/jobs", json={"name": "cyclic", "tasks": tasks}), 422)
    path = problem["path"]
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    assert len(path) == 4


def test_unknown_and_duplicate_ids_are_named(http: httpx.Client) -> None:
    tasks: list[dict[str, Any]] = [{"id": "a", "dependencies": ["nobody"]}]
    problem = check_problem(http.post("/jobs", json={"name": "x", "tasks": tasks}), 422)
    assert "nobody" in problem["tasks"]
    problem = check_problem(http.post("/jobs", json={"name": "x", "tasks": [{"id": "a"}, {"id": "a"}]}), 422)
    assert problem["tasks"] == ["a"]


def test_a_dag_over_the_limit_is_refused(http: httpx.Client) -> None:
    # Short ids keep 200,000 tasks under the limit of the body.
    tasks = ",".join(f'{{"id":"{number:x}"}}' for number in range(200_000))
    answer = http.post("/jobs", content=f'{{"name":"x","tasks":[{tasks}]}}', headers=JSON)
    check_problem(answer, 422, "tasks")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1.0", "limit=05", "limit=1&limit=2",
     "offset=-1", "offset=1000001", "status=DELETED", "status=active", "status=", "name=", "page=1", "sort=name",
     "name=%00", "name=%ff", "&".join(["a=1"] * 200)],
)  # fmt: skip
def test_a_wrong_parameter_is_400(http: httpx.Client, query: str) -> None:
    problem = check_problem(http.get(f"/jobs?{query}"), 400)
    name = query.partition("=")[0]
    if "%ff" not in query and len(query) < 100:
        assert [error["field"] for error in problem["errors"]] == [name]


def test_parameters_are_checked_everywhere(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=[{"id": "a"}])
    check_problem(http.get(f"/jobs/{job_id}/history", params={"limit": 1001}), 400, "limit")
    check_problem(http.get(f"/jobs/{job_id}", params={"verbose": "1"}), 400, "verbose")
    check_problem(http.post("/jobs", params={"dryRun": "1"}, json={"name": "x"}), 400, "dryRun")
    check_problem(http.post(f"/jobs/{job_id}/trigger", params={"x": "1"}), 400, "x")
    check_problem(http.delete(f"/jobs/{job_id}", params={"force": "1"}), 400, "force")
    assert http.get(f"/jobs/{job_id}/history").json() == []


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_wrong_idempotency_key_is_400(http: httpx.Client, key: str) -> None:
    check_problem(http.post("/jobs", json={"name": "x"}, headers={"Idempotency-Key": key}), 400, "Idempotency-Key")


def test_wrong_methods_are_405_naming_the_right_ones(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    for method, path, allowed in (
        ("PATCH", "/jobs", {"GET", "POST"}),
        ("DELETE", "/jobs", {"GET", "POST"}),
        ("POST", f"/jobs/{job_id}", {"GET", "PUT", "DELETE"}),
        ("GET", f"/jobs/{job_id}/trigger", {"POST"}),
        ("PUT", f"/jobs/{job_id}/status", {"GET"}),
        ("TRACE", "/jobs", {"GET", "POST"}),
    ):
        answer = http.request(method, path)
        check_problem(answer, 405)
        assert allowed <= {name.strip() for name in answer.headers["allow"].split(",")}


@pytest.mark.parametrize("path", ["/nothing", "/jobs/a/b/c/d", "/%ff", "/jobsy"])
def test_unknown_paths_are_404(http: httpx.Client, path: str) -> None:
    check_problem(http.get(path), 404)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json; version=1.0", 200),
        ("application/json;version=1", 200),
        ("application/json; version=2.0", 406),
        ('application/json; version="3"', 406),
        ("application/json; version=2.0, */*", 200),
        ("text/html", 200),
        ("*/*", 200),
    ],
)
def test_versions(http: httpx.Client, accept: str, status: int) -> None:
    answer = http.get("/jobs", headers={"accept": accept})
    assert answer.status_code == status
    if status == 406:
        check_problem(answer, 406, "Accept")


def test_request_ids_are_kept_or_made(http: httpx.Client) -> None:
    assert http.get("/jobs", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made = http.get("/jobs", headers={b"x-request-id": "not one\u00e9".encode("latin-1")}).headers["x-request-id"]
    assert len(made) == 36


def test_another_sites_page_may_not_change_anything(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=[{"id": "a"}])
    check_problem(http.post(f"/jobs/{job_id}/trigger", headers={"sec-fetch-site": "cross-site"}), 403)
    assert http.post(f"/jobs/{job_id}/trigger", headers={"sec-fetch-site": "same-origin"}).status_code == 202


def test_head_answers_as_get_without_the_body(http: httpx.Client) -> None:
    answer = http.head("/jobs")
    assert (answer.status_code, answer.content) == (200, b"")
