"""Workers, as the documentation shows them."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.tasks.conftest import Json, NewTask, wait_ended, wait_status
from tests.conformance.tasks.errors import check_error
from tests.conformance.tasks.test_tasks import check_time

WORKER = [
    "id", "hostname", "status", "tasks_completed", "tasks_failed", "current_tasks", "last_heartbeat", "registered_at", "version",
    "tags",
]  # fmt: skip


def check_worker(worker: Json) -> Json:
    """Assert that a worker has the documented fields, of their types."""
    assert worker["status"] in {"active", "idle", "offline"}
    assert all(isinstance(worker[name], str) for name in ("id", "hostname", "version"))
    assert all(type(worker[name]) is int for name in ("tasks_completed", "tasks_failed", "current_tasks"))
    assert check_time(worker["registered_at"]) <= check_time(worker["last_heartbeat"])
    assert all(isinstance(tag, str) for tag in worker["tags"])
    return worker


def wait_started(http: httpx.Client, task_id: str) -> Json:
    """Ask until the worker has said when it started the task, which it does a little after it was given it."""
    while (task := wait_status(http, task_id, "running"))["started_at"] is None:
        pass
    return task


@pytest.mark.endpoint("tasks", "GET /api/workers")
def test_workers_are_listed_in_pages(http: httpx.Client, new_task: NewTask) -> None:
    ran_on = wait_ended(http, new_task()["id"])["worker_id"]
    answer = http.get("/api/workers", params={"limit": 100})
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "meta"]
    workers, meta = answer.json()["data"], answer.json()["meta"]
    assert meta == {"page": 1, "limit": 100, "total": len(workers), "pages": 1}
    for worker in workers:
        assert list(check_worker(worker)) == WORKER
    assert ran_on in {worker["id"] for worker in workers}
    found = []
    for number in range(1, len(workers) + 1):
        page = http.get("/api/workers", params={"page": number, "limit": 1}).json()
        assert page["meta"] == {"page": number, "limit": 1, "total": len(workers), "pages": len(workers)}
        found += [worker["id"] for worker in page["data"]]
    assert found == [worker["id"] for worker in workers] == sorted(found)


@pytest.mark.endpoint("tasks", "GET /api/workers")
@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}")
@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}/tasks")
def test_a_worker_shows_what_it_runs(http: httpx.Client, new_task: NewTask) -> None:
    tasks = [new_task(name=f"long {number}", command="exec sleep 60", priority=8)["id"] for number in range(2)]
    running = [wait_started(http, task_id) for task_id in tasks]
    worker_id = running[0]["worker_id"]
    here = [task for task in running if task["worker_id"] == worker_id]
    answer = http.get(f"/api/workers/{worker_id}")
    assert answer.status_code == 200
    worker = check_worker(answer.json()["data"])
    assert list(worker) == [*WORKER[:6], "current_task_ids", *WORKER[6:], "resources"]
    assert worker["status"] == "active"
    assert {task["id"] for task in here} <= set(worker["current_task_ids"])
    assert worker["current_tasks"] == len(worker["current_task_ids"])
    assert list(worker["resources"]) == ["cpu_usage", "memory_usage", "disk_usage"]
    assert all(0 <= value <= 1 for value in worker["resources"].values())
    listed = {one["id"]: one for one in http.get("/api/workers", params={"limit": 100}).json()["data"]}[worker_id]
    assert (listed["status"], listed["current_tasks"]) == ("active", worker["current_tasks"])

    answer = http.get(f"/api/workers/{worker_id}/tasks", params={"status": "running"})
    assert answer.status_code == 200
    assert all(list(task) == ["id", "name", "status", "started_at", "priority"] for task in answer.json()["data"])
    shown = {task["id"]: task for task in answer.json()["data"]}
    for task in here:
        assert shown[task["id"]] == {name: task[name] for name in ("id", "name", "status", "started_at", "priority")}
    for task_id in tasks:
        http.post(f"/api/tasks/{task_id}/cancel")
    cancelled = http.get(f"/api/workers/{worker_id}/tasks", params={"status": "cancelled", "limit": 100}).json()
    assert {task["id"] for task in here} <= {task["id"] for task in cancelled["data"]}


@pytest.mark.endpoint("tasks", "GET /api/workers")
def test_workers_are_filtered_by_status(http: httpx.Client) -> None:
    for status in ("active", "idle", "offline"):
        part = http.get("/api/workers", params={"status": status, "limit": 100}).json()
        assert {worker["status"] for worker in part["data"]} <= {status}
        assert part["meta"]["total"] == len(part["data"])


@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}")
def test_a_worker_counts_what_it_ended(http: httpx.Client, new_task: NewTask) -> None:
    first = wait_ended(http, new_task()["id"])
    before = http.get(f"/api/workers/{first['worker_id']}").json()["data"]
    for command in ("true", "exit 1"):
        wait_ended(http, new_task(command=command, max_retries=0)["id"])
    while True:  # counts are written a little later than what they count
        after = http.get(f"/api/workers/{first['worker_id']}").json()["data"]
        if (after["tasks_completed"], after["tasks_failed"]) >= (before["tasks_completed"] + 1, before["tasks_failed"] + 1):
            break


@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}/tasks")
def test_the_tasks_of_a_worker_are_paged(http: httpx.Client, new_task: NewTask) -> None:
    worker_id = [wait_ended(http, new_task()["id"]) for _ in range(3)][-1]["worker_id"]
    path = f"/api/workers/{worker_id}/tasks"
    whole = http.get(path, params={"limit": 100}).json()
    total = whole["meta"]["total"]
    assert whole["meta"] == {"page": 1, "limit": 100, "total": total, "pages": -(-total // 100)}
    pages = [http.get(path, params={"limit": 2, "page": number}).json()["data"] for number in (1, 2)]
    assert [task["id"] for page in pages for task in page] == [task["id"] for task in whole["data"][:4]]


@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}")
@pytest.mark.endpoint("tasks", "GET /api/workers/{worker_id}/tasks")
@pytest.mark.parametrize("worker_id", ["nobody", "worker-001", "x" * 300, "ä", "a%2Fb", "%20"])
def test_an_unknown_worker_is_404(http: httpx.Client, worker_id: str) -> None:
    check_error(http.get(f"/api/workers/{worker_id}"), 404, code="not_found")
    check_error(http.get(f"/api/workers/{worker_id}/tasks"), 404, code="not_found")


@pytest.mark.endpoint("tasks", "GET /api/workers")
@pytest.mark.parametrize(
    ("name", "value"),
    [("page", "0"), ("limit", "0"), ("limit", "101"), ("status", "busy"), ("status", ""), ("sort", "id"), ("order", "asc")],
)
def test_a_wrong_or_unknown_parameter_is_400(http: httpx.Client, name: str, value: str) -> None:
    check_error(http.get("/api/workers", params={name: value}), 400, name, code="invalid_parameter")
    worker_id = http.get("/api/workers").json()["data"][0]["id"]
    check_error(http.get(f"/api/workers/{worker_id}/tasks", params={name: value}), 400, name, code="invalid_parameter")
    check_error(http.get(f"/api/workers/{worker_id}", params={name: value}), 400, name, code="invalid_parameter")


def test_workers_are_only_read(http: httpx.Client) -> None:
    for path in ("/api/workers", "/api/workers/x", "/api/workers/x/tasks"):
        check_error(http.post(path, json={}), 405, code="method_not_allowed")
        check_error(http.delete(path), 405, code="method_not_allowed")
