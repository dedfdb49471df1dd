"""Lists of tasks: pages, filters and sorts, alone and together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.tasks.conftest import LATER, Json, NewTask, wait_ended
from tests.conformance.tasks.errors import check_error
from tests.conformance.tasks.test_tasks import check_task

SORTS = ["created_at", "updated_at", "priority", "name", "status"]


def listed(http: httpx.Client, **params: object) -> Json:
    answer = http.get("/api/tasks", params=params)  # type: ignore[arg-type]  # values of any type, as a user gives them
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["data", "meta"]
    page: Json = answer.json()
    return page


MIXED = "mixed"
"""The tag of the tasks that the tests of this module share."""


@pytest.fixture(scope="module")
def mixed(stack_url: str) -> Iterator[list[Json]]:
    """Tasks of every status, with names and priorities in another order than that of their creation."""
    with httpx.Client(base_url=stack_url, timeout=30) as http:
        ids = []
        for name, priority, command, after in (
            ("b", 3, "true", "completed"), ("a", 9, "exit 1", "failed"), ("d", 5, "true", "cancelled"),
            ("c", 5, "true", "pending"), ("e", 1, "true", "completed"), ("f", 9, "true", "pending"),
        ):  # fmt: skip
            waits = after in {"cancelled", "pending"}
            body = {"name": name, "priority": priority, "command": command, "max_retries": 0, "tags": [MIXED]}
            created = http.post("/api/tasks", json={**body, "scheduled_at": LATER if waits else None}).json()["data"]
            if after == "cancelled":
                http.post(f"/api/tasks/{created['id']}/cancel")
            elif not waits:
                assert wait_ended(http, created["id"])["status"] == after
            ids.append(created["id"])
        body = {"name": "g", "command": "true", "priority": 10, "dependencies": [ids[-1]], "tags": [MIXED]}
        ids.append(http.post("/api/tasks", json=body).json()["data"]["id"])
        yield [http.get(f"/api/tasks/{task_id}").json()["data"] for task_id in ids]


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_a_list_looks_as_documented(http: httpx.Client, new_task: NewTask, tag: str) -> None:
    ids = [new_task(tags=[tag, "other"], scheduled_at=LATER)["id"] for _ in range(3)]
    page = listed(http, tag=tag)
    assert page["meta"] == {"page": 1, "limit": 20, "total": 3, "pages": 1}
    assert [check_task(task)["id"] for task in page["data"]] == ids[::-1]
    assert page["data"][0] == http.get(f"/api/tasks/{ids[2]}").json()["data"]
    assert listed(http, tag=f"{tag}x") == {"data": [], "meta": {"page": 1, "limit": 20, "total": 0, "pages": 0}}


@pytest.mark.endpoint("tasks", "GET /api/tasks")
@pytest.mark.parametrize("sort", SORTS)
def test_pages_together_are_the_whole_list(http: httpx.Client, mixed: list[Json], sort: str) -> None:
    for order, limit in itertools.product(("asc", "desc"), (1, 2, 3, 7, 100)):
        pages = -(-len(mixed) // limit)
        found = []
        for number in range(1, pages + 2):
            page = listed(http, tag=MIXED, sort=sort, order=order, limit=limit, page=number)
            assert page["meta"] == {"page": number, "limit": limit, "total": len(mixed), "pages": pages}
            assert len(page["data"]) == (0 if number > pages else min(limit, len(mixed) - (number - 1) * limit))
            found += page["data"]
        # Ties go by creation, the same way.
        wanted = sorted(mixed, key=lambda task: (task[sort], task["id"]), reverse=order == "desc")
        assert [task["name"] for task in found] == [task["name"] for task in wanted]


@pytest.mark.endpoint("tasks", "GET /api/tasks")
@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled", "skipped"])
def test_filters_and_sorts_go_together(http: httpx.Client, mixed: list[Json], status: str) -> None:
    for sort in SORTS:
        page = listed(http, tag=MIXED, status=status, sort=sort, order="asc")
        wanted = sorted((task for task in mixed if task["status"] == status), key=lambda task: (task[sort], task["id"]))
        assert [task["id"] for task in page["data"]] == [task["id"] for task in wanted]
        assert page["meta"]["total"] == len(wanted)


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_the_documented_example_of_filtering_works(http: httpx.Client, new_task: NewTask) -> None:
    new_task(scheduled_at=LATER, priority=10)
    found = listed(http, status="pending", sort="priority", order="desc")["data"]
    assert {task["status"] for task in found} == {"pending"}
    assert [task["priority"] for task in found] == sorted((task["priority"] for task in found), reverse=True)


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_tasks_of_other_apis_are_listed(http: httpx.Client) -> None:
    job = {
        "name": "mixed",
        "tasks": [
            {"id": "one", "name": "a command", "command": "echo one"},
            {"id": "two", "name": "a marker", "dependencies": ["one"]},
            {"id": "three", "name": "a call", "function": "nobody-registered-this", "dependencies": ["two"]},
        ],
    }
    job_id = http.post("/jobs", json=job).json()["id"]
    http.post(f"/jobs/{job_id}/trigger")
    while http.get(f"/jobs/{job_id}/status").json()["tasks"][1]["status"] != "SUCCEEDED":
        pass
    found = {task["name"]: task for task in listed(http, limit=100)["data"]}
    command, marker, function = found["a command"], found["a marker"], found["a call"]
    check_task(command)
    assert command["command"] == "echo one"
    assert (marker["command"], marker["kind"], marker["status"]) == (None, "marker", "completed")
    assert (function["command"], function["kind"], function["status"]) == (None, "function", "pending")
    whole = http.get(f"/api/tasks/{function['id']}").json()["data"]
    assert whole["dependencies"] == [marker["id"]]
    check_error(http.delete(f"/api/tasks/{function['id']}"), 409, code="wrong_state")
    assert http.post(f"/api/tasks/{function['id']}/cancel").json()["data"]["status"] == "cancelled"


@pytest.mark.endpoint("tasks", "GET /api/tasks")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"), ("page", "-1"), ("page", "x"), ("page", "1.0"), ("page", ""), ("page", "1000002"), ("limit", "0"),
        ("limit", "101"), ("limit", "-5"), ("limit", "ten"), ("sort", "id"), ("sort", ""), ("sort", "-priority"),
        ("order", "up"), ("order", "DESC"), ("status", "done"), ("status", "PENDING"), ("status", ""), ("status", "succeeded"),
        ("tag", ""), ("tag", "x" * 101), ("tag", "a\0b"), ("project", "x"), ("Limit", "5"),
    ],
)  # fmt: skip
def test_a_wrong_or_unknown_parameter_is_400(http: httpx.Client, name: str, value: str) -> None:
    check_error(http.get("/api/tasks", params={name: value}), 400, name, code="invalid_parameter")


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_a_parameter_is_given_once_and_pages_end_somewhere(http: httpx.Client) -> None:
    check_error(http.get("/api/tasks?limit=5&limit=6"), 400, "limit")
    check_error(http.get("/api/tasks", params={"page": 10_002, "limit": 100}), 400, "page")
    assert listed(http, page=10_001, limit=100)["data"] == []
    assert listed(http, page=50_001)["data"] == []


@pytest.mark.endpoint("tasks", "GET /api/tasks/{id}/logs")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("offset", "-1"),
        ("offset", "2147483648"),
        ("level", "INFO"),
        ("level", "fatal"),
        ("page", "1"),
    ],
)
def test_a_wrong_parameter_of_logs_is_400(http: httpx.Client, new_task: NewTask, name: str, value: str) -> None:
    path = f"/api/tasks/{new_task(scheduled_at=LATER)['id']}/logs"
    check_error(http.get(path, params={name: value}), 400, name, code="invalid_parameter")
