from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.dag_jobs.conftest import NewJob
from tests.conformance.dag_jobs.problems import check_problem

CHAIN: list[dict[str, object]] = [
    {"id": "a", "command": "true"},
    {"id": "b", "dependencies": ["a"], "command": "true"},
    {"id": "c", "dependencies": ["a", "b"]},
]


def task_of(http: httpx.Client, job_id: str, task_id: str) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = http.get(f"/jobs/{job_id}/tasks").json()
    return next(task for task in tasks if task["id"] == task_id)


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_tasks_that_many_add_at_once_are_all_added(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    names = [f"task-{number}" for number in range(16)]

    def add(name: str) -> int:
        return http.post(f"/jobs/{job_id}/tasks", json={"id": name, "command": "true"}).status_code

    with ThreadPoolExecutor(len(names)) as callers:
        assert set(callers.map(add, names)) == {201}
    assert sorted(task["id"] for task in http.get(f"/jobs/{job_id}/tasks").json()) == sorted(names)


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/tasks")
def test_tasks_are_listed_with_their_neighbours_both_ways(http: httpx.Client, new_job: NewJob) -> None:
    answer = http.get(f"/jobs/{new_job(tasks=CHAIN)}/tasks")
    assert answer.status_code == 200
    links = {task["id"]: (task["dependencies"], task["dependents"]) for task in answer.json()}
    assert links == {"a": ([], ["b", "c"]), "b": (["a"], ["c"]), "c": (["a", "b"], [])}


@pytest.mark.endpoint("dag_jobs", "GET /jobs/{id}/tasks")
def test_a_task_shows_its_defaults(http: httpx.Client, new_job: NewJob) -> None:
    task = task_of(http, new_job(tasks=[{"id": "bare"}]), "bare")
    assert task == {
        "id": "bare",
        "name": "bare",
        "dependencies": [],
        "dependents": [],
        "retryPolicy": None,
        "timeoutSeconds": 3600,
        "priority": 5,
        "triggerRule": "ALL_SUCCESS",
    }


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("command", "echo hello", "echo hello"),
        ("command", {"line": "echo hello"}, "echo hello"),
        (
            "command",
            {"line": "env", "environment": {"KEY": "hidden"}, "workingDirectory": "/tmp"},
            {"line": "env", "environment": {"KEY": "******"}, "workingDirectory": "/tmp"},
        ),
        (
            "http",
            {"url": "https://example.com/a"},
            {"url": "https://example.com/a", "method": "GET", "headers": {}, "timeoutSeconds": None, "bearerSecret": ""},
        ),
        (
            "http",
            {"url": "https://example.com/a", "method": "POST", "headers": {"X-Job": "1"}, "body": "text", "timeoutSeconds": 5},
            {
                "url": "https://example.com/a", "method": "POST", "headers": {"X-Job": "1"}, "body": "text",
                "timeoutSeconds": 5, "bearerSecret": "",
            },
        ),
        (
            "http",
            {"url": "https://example.com/a", "method": "PUT", "body": {"n": [1, 2.5, None]}, "bearerSecret": "secret://t"},
            {
                "url": "https://example.com/a", "method": "PUT", "headers": {"Content-Type": "application/json"},
                "body": {"n": [1, 2.5, None]}, "timeoutSeconds": None, "bearerSecret": "secret://t",
            },
        ),
        (
            "http",
            {"url": "https://example.com/a", "method": "POST", "bodyBase64": "/w=="},
            {
                "url": "https://example.com/a", "method": "POST", "headers": {}, "bodyBase64": "/w==",
                "timeoutSeconds": None, "bearerSecret": "",
            },
        ),
        (
            "binary",
            {"url": "https://example.com/tool", "sha256": "ab" * 32, "arguments": ["-v"], "environment": {"K": "hidden"}},
            {"url": "https://example.com/tool", "sha256": "ab" * 32, "arguments": ["-v"], "environment": {"K": "******"}},
        ),
        ("function", "count", "count"),
        ("function", {"name": "count", "input": {"of": [1, "x"]}}, {"name": "count", "input": {"of": [1, "x"]}}),
    ],
)  # fmt: skip
@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_each_kind_of_work_comes_back_as_given(
    http: httpx.Client, new_job: NewJob, kind: str, given: object, shown: object
) -> None:
    job_id = new_job(tasks=[{"id": "t", kind: given}])
    task = task_of(http, job_id, "t")
    assert task[kind] == shown
    assert {"command", "http", "binary", "function"} & set(task) == {kind}
    assert "hidden" not in http.get(f"/jobs/{job_id}").text
    # What is shown can be sent back and changes nothing.
    assert http.put(f"/jobs/{job_id}/tasks/t", json=task).status_code == 200
    assert task_of(http, job_id, "t") == task


@pytest.mark.parametrize("rule", ["ALL_SUCCESS", "ALL_DONE", "ONE_SUCCESS", "ONE_FAILED", "NONE_FAILED", "ALWAYS"])
@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_each_trigger_rule_is_kept(http: httpx.Client, new_job: NewJob, rule: str) -> None:
    job_id = new_job(tasks=[{"id": "a"}, {"id": "b", "dependencies": ["a"], "triggerRule": rule}])
    assert task_of(http, job_id, "b")["triggerRule"] == rule


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_a_task_is_added(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    body = {"id": "d", "name": "The last", "dependencies": ["c"], "command": "true"}
    answer = http.post(f"/jobs/{job_id}/tasks", json=body)
    assert answer.status_code == 201
    assert answer.json()["id"] == "d"
    assert answer.json()["message"]
    assert task_of(http, job_id, "c")["dependents"] == ["d"]
    assert http.get(f"/jobs/{job_id}").json()["version"] == 2


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_an_added_task_must_fit(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    problem = check_problem(http.post(f"/jobs/{job_id}/tasks", json={"id": "a"}), 422)
    assert problem["tasks"] == ["a"]
    problem = check_problem(http.post(f"/jobs/{job_id}/tasks", json={"id": "d", "dependencies": ["nobody"]}), 422)
    assert "nobody" in problem["tasks"]
    problem = check_problem(http.post(f"/jobs/{job_id}/tasks", json={"id": "d", "dependencies": ["d"]}), 422)
    assert "d" in problem["path"]
    assert http.get(f"/jobs/{job_id}").json()["version"] == 1


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}/tasks/{taskId}")
def test_a_task_changes_only_in_what_is_given(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    answer = http.put(f"/jobs/{job_id}/tasks/b", json={"priority": 10, "retryPolicy": {"type": "ALWAYS"}})
    assert answer.status_code == 200
    assert set(answer.json()) == {"message"}
    task = task_of(http, job_id, "b")
    assert (task["priority"], task["retryPolicy"]["type"]) == (10, "ALWAYS")
    assert (task["command"], task["dependencies"]) == ("true", ["a"])
    assert http.put(f"/jobs/{job_id}/tasks/b", json={"function": "count"}).status_code == 200
    task = task_of(http, job_id, "b")
    assert task["function"] == "count"
    assert "command" not in task
    assert http.put(f"/jobs/{job_id}/tasks/b", json={"function": None, "priority": None}).status_code == 200
    task = task_of(http, job_id, "b")
    assert "function" not in task
    assert task["priority"] == 5


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}/tasks/{taskId}")
def test_a_change_may_not_break_the_dag(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    problem = check_problem(http.put(f"/jobs/{job_id}/tasks/a", json={"dependencies": ["c"]}), 422)
    assert {"a", "c"} <= set(problem["path"])
    check_problem(http.put(f"/jobs/{job_id}/tasks/a", json={"dependencies": ["nobody"]}), 422)
    check_problem(http.put(f"/jobs/{job_id}/tasks/a", json={"id": "z"}), 422, "id")
    assert http.get(f"/jobs/{job_id}").json()["version"] == 1


@pytest.mark.endpoint("dag_jobs", "PUT /jobs/{id}/tasks/{taskId}")
def test_masked_environment_values_keep_the_stored_ones(http: httpx.Client, new_job: NewJob) -> None:
    command = {"line": "env", "environment": {"KEPT": "old", "CHANGED": "old"}}
    job_id = new_job(tasks=[{"id": "t", "command": command}])
    new = {"line": "env", "environment": {"KEPT": "******", "CHANGED": "new"}}
    assert http.put(f"/jobs/{job_id}/tasks/t", json={"command": new}).status_code == 200
    assert http.put(f"/jobs/{job_id}", json={"tasks": [{"id": "t", "command": new}]}).status_code == 200
    # A mask that stands for nothing is no value.
    unknown = {"line": "env", "environment": {"NEVER_SET": "******"}}
    refused = http.put(f"/jobs/{job_id}/tasks/t", json={"command": unknown})
    check_problem(refused, 422, "command.environment['NEVER_SET']")
    refused = http.post("/jobs", json={"name": "x", "tasks": [{"id": "t", "command": unknown}]})
    check_problem(refused, 422, "tasks[0].command.environment['NEVER_SET']")


@pytest.mark.endpoint("dag_jobs", "DELETE /jobs/{id}/tasks/{taskId}")
def test_a_task_is_deleted(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    answer = http.delete(f"/jobs/{job_id}/tasks/c")
    assert answer.status_code == 200
    assert set(answer.json()) == {"message"}
    assert [task["id"] for task in http.get(f"/jobs/{job_id}/tasks").json()] == ["a", "b"]
    check_problem(http.delete(f"/jobs/{job_id}/tasks/c"), 404)


@pytest.mark.endpoint("dag_jobs", "DELETE /jobs/{id}/tasks/{taskId}")
def test_a_task_that_others_depend_on_stays(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    problem = check_problem(http.delete(f"/jobs/{job_id}/tasks/a"), 409)
    assert sorted(problem["tasks"]) == ["b", "c"]
    assert http.get(f"/jobs/{job_id}").json()["version"] == 1


@pytest.mark.parametrize("task_id", ["a/b", "100%", "%2F", "ünïcödé", "a:b", "a?b", "[x]", "comma,", "->"])
def test_any_id_can_be_reached(http: httpx.Client, new_job: NewJob, task_id: str) -> None:
    job_id = new_job(tasks=[{"id": task_id}])
    path = f"/jobs/{job_id}/tasks/{quote(task_id, safe='')}"
    assert http.put(path, json={"priority": 7}).status_code == 200
    assert task_of(http, job_id, task_id)["priority"] == 7
    assert http.delete(path).status_code == 200


def test_an_unknown_task_is_404(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=CHAIN)
    for task_id in ("z", "a%00", "%ff", "A"):
        check_problem(http.put(f"/jobs/{job_id}/tasks/{task_id}", json={"priority": 1}), 404)
        check_problem(http.delete(f"/jobs/{job_id}/tasks/{task_id}"), 404)


@pytest.mark.endpoint("dag_jobs", "POST /jobs/{id}/tasks")
def test_the_same_idempotency_key_adds_one_task(http: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(tasks=[])
    headers = {"Idempotency-Key": f"one task for {job_id}"}
    task = {"id": "a", "command": "true"}
    answers = [http.post(f"/jobs/{job_id}/tasks", json=task, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert [one["id"] for one in http.get(f"/jobs/{job_id}/tasks").json()] == ["a"]
    assert http.post(f"/jobs/{job_id}/tasks", json={"id": "b"}, headers=headers).status_code == 422
