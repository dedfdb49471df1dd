"""Creating, reading, changing and deleting tasks, by the examples of the documentation."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest

from tests.conformance.tasks.conftest import LATER, Json, NewTask, get, wait_ended, wait_status
from tests.conformance.tasks.errors import check_error

FIELDS = [
    "id", "name", "description", "command", "status", "priority", "retry_count", "max_retries", "created_at", "updated_at",
    "scheduled_at", "started_at", "completed_at", "timeout_seconds", "tags", "dependencies", "worker_id", "result", "error",
    "checkpoint_data", "checkpoint_enabled",
]  # fmt: skip
TASK_ID = re.compile(r"task-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODY = "task-00000000-0000-7000-8000-000000000000"


def check_time(text: str) -> datetime:
    """Read a documented time: ISO 8601 in UTC with a Z."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text).astimezone(UTC)


def check_task(task: Json) -> Json:
    """Assert that a task has the documented fields, in order and of their types."""
    assert list(task) == FIELDS
    assert TASK_ID.fullmatch(task["id"])
    assert task["status"] in {"pending", "running", "completed", "failed", "cancelled"}
    for name in ("name", "command"):
        assert isinstance(task[name], str)
    for name in ("priority", "retry_count", "max_retries", "timeout_seconds"):
        assert type(task[name]) is int
    for name in ("description", "worker_id", "result", "error"):
        assert task[name] is None or isinstance(task[name], str)
    for name in ("scheduled_at", "started_at", "completed_at"):
        assert task[name] is None or isinstance(check_time(task[name]), datetime)
    assert check_time(task["created_at"]) <= check_time(task["updated_at"])
    assert all(isinstance(tag, str) for tag in task["tags"])
    assert all(TASK_ID.fullmatch(dependency) for dependency in task["dependencies"])
    assert task["checkpoint_data"] is None or isinstance(task["checkpoint_data"], dict)
    assert isinstance(task["checkpoint_enabled"], bool)
    return task


def documented_body(dependencies: list[str]) -> Json:
    """The documented body of a new task; the tasks it names must exist."""
    return {
        "name": "Example Task",
        "description": "This is an example task",
        "command": "echo 'Hello World'",
        "priority": 5,
        "max_retries": 3,
        "scheduled_at": "2023-06-15T12:00:00Z",
        "timeout_seconds": 3600,
        "tags": ["example", "demo"],
        "dependencies": dependencies,
        "checkpoint_enabled": True,
    }


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.endpoint("tasks", "GET /api/tasks/{id}")
def test_the_documented_task_is_created_as_documented(http: httpx.Client, new_task: NewTask) -> None:
    first, second = (new_task(scheduled_at=LATER)["id"] for _ in range(2))
    body = documented_body([first, second])
    answer = http.post("/api/tasks", json=body)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["data"]
    task = check_task(answer.json()["data"])
    assert answer.headers["location"] == f"tasks/{task['id']}"
    assert {name: task[name] for name in body} == body
    assert {name: task[name] for name in FIELDS if name not in {*body, "id", "created_at", "updated_at"}} == {
        "status": "pending",
        "retry_count": 0,
        "started_at": None,
        "completed_at": None,
        "worker_id": None,
        "result": None,
        "error": None,
        "checkpoint_data": None,
    }
    assert get(http, task["id"]) == task


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_what_is_left_out_has_the_documented_defaults(http: httpx.Client) -> None:
    answer = http.post("/api/tasks", json={"name": "short", "command": "true"})
    assert answer.status_code == 201
    task = check_task(answer.json()["data"])
    assert (task["priority"], task["max_retries"], task["timeout_seconds"]) == (5, 3, 3600)
    assert (task["scheduled_at"], task["tags"], task["dependencies"]) == (None, [], [])
    assert (task["description"], task["checkpoint_enabled"]) == (None, False)


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_limits_themselves_are_allowed(http: httpx.Client) -> None:
    body = {
        "name": "n" * 255,
        "command": "#" * 65_536,
        "description": "d" * 4_096,
        "priority": 10,
        "max_retries": 99,
        "timeout_seconds": 2_592_000,
        "tags": ["t" * 100, *(f"tag {number}" for number in range(49))],
        "scheduled_at": "9999-12-31T23:59:59Z",
    }
    answer = http.post("/api/tasks", json=body)
    assert answer.status_code == 201, answer.text
    assert {name: answer.json()["data"][name] for name in body} == body
    assert http.post("/api/tasks", json={"name": "low", "command": "true", "priority": 1, "max_retries": 0}).status_code == 201


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_times_with_an_offset_are_shown_in_utc(new_task: NewTask) -> None:
    assert new_task(scheduled_at="2199-01-01T02:00:00.25+02:00")["scheduled_at"] == "2199-01-01T00:00:00.250000Z"


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.endpoint("tasks", "GET /api/tasks/{id}")
def test_a_task_runs_and_tells_its_result(http: httpx.Client, new_task: NewTask) -> None:
    task = check_task(wait_ended(http, new_task(command="echo 'Hello World'")["id"]))
    assert (task["status"], task["result"], task["error"]) == ("completed", "Hello World\n", None)
    assert (task["retry_count"], task["checkpoint_data"]) == (0, None)
    assert isinstance(task["worker_id"], str)
    assert check_time(task["created_at"]) <= check_time(task["started_at"]) <= check_time(task["completed_at"])


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_a_list_tells_the_last_part_of_each_result(http: httpx.Client, new_task: NewTask) -> None:
    short = wait_ended(http, new_task(command="echo done", tags=["told in a list"])["id"])
    long = wait_ended(http, new_task(command="head -c 20000 /dev/zero | tr '\\0' x; echo end", tags=["told in a list"])["id"])
    failed = wait_ended(http, new_task(command="echo out; false", max_retries=0, tags=["told in a list"])["id"])
    for query in ({}, {"sort": "name", "order": "asc"}, {"sort": "status"}):
        listed = http.get("/api/tasks", params={"tag": "told in a list", **query}).json()["data"]
        told = {task["id"]: task for task in listed}
        assert len(told) == len(listed) == 3
        assert told[short["id"]] == {**short, "result": "done\n"}
        assert told[long["id"]] == {**long, "result": "x" * (16 * 1024 - 4) + "end\n"}
        assert told[failed["id"]]["result"] is None


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_a_failed_task_tells_why(http: httpx.Client, new_task: NewTask) -> None:
    task = check_task(wait_ended(http, new_task(command="echo out; exit 3", max_retries=0)["id"]))
    assert (task["status"], task["result"], task["error"]) == ("failed", None, "exit status 3")
    assert task["completed_at"] is not None


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_a_failed_attempt_is_retried(http: httpx.Client, new_task: NewTask, tmp_path_factory: pytest.TempPathFactory) -> None:
    mark = tmp_path_factory.mktemp("retry") / "tried"
    task = wait_ended(http, new_task(command=f"test -e {mark} || {{ touch {mark}; exit 1; }}", max_retries=1)["id"])
    assert (task["status"], task["retry_count"], task["error"]) == ("completed", 1, None)


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_the_same_idempotency_key_creates_once(http: httpx.Client, tag: str) -> None:
    body = {"name": "once", "command": "true", "scheduled_at": LATER, "tags": [tag]}
    headers = {"Idempotency-Key": tag}
    answers = [http.post("/api/tasks", json=body, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert http.get("/api/tasks", params={"tag": tag}).json()["meta"]["total"] == 1
    check_error(http.post("/api/tasks", json={**body, "priority": 6}, headers=headers), 422, code="idempotency_mismatch")
    check_error(http.post("/api/tasks", json=body, headers={"Idempotency-Key": "x" * 256}), 400, "Idempotency-Key")


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_the_documented_update_changes_what_it_names(http: httpx.Client, new_task: NewTask) -> None:
    dependencies = [new_task(scheduled_at=LATER)["id"] for _ in range(3)]
    before = http.post("/api/tasks", json=documented_body(dependencies[:2])).json()["data"]
    body = {
        "name": "Updated Task Name",
        "description": "Updated task description",
        "priority": 8,
        "max_retries": 5,
        "scheduled_at": "2199-06-16T12:00:00Z",
        "timeout_seconds": 7200,
        "tags": ["updated", "example"],
        "dependencies": dependencies,
    }
    answer = http.put(f"/api/tasks/{before['id']}", json=body)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["data"]
    after = check_task(answer.json()["data"])
    assert after == {**before, **body, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert get(http, before["id"]) == after


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"}, {"description": None}, {"priority": 1}, {"max_retries": 0}, {"scheduled_at": "2198-01-01T00:00:00Z"},
        {"timeout_seconds": 1}, {"tags": []}, {"dependencies": []}, {"command": "echo other"}, {"checkpoint_enabled": False},
    ],
)  # fmt: skip
@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_each_field_changes_alone(http: httpx.Client, new_task: NewTask, change: Json) -> None:
    before = http.post("/api/tasks", json={**documented_body([new_task(scheduled_at=LATER)["id"]]), "scheduled_at": LATER})
    task = before.json()["data"]
    after = http.put(f"/api/tasks/{task['id']}", json=change)
    assert after.status_code == 200, after.text
    assert after.json()["data"] == {**task, **change, "updated_at": after.json()["data"]["updated_at"]}


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_a_start_time_can_be_taken_back(http: httpx.Client, new_task: NewTask) -> None:
    task = new_task(scheduled_at=LATER)
    assert http.put(f"/api/tasks/{task['id']}", json={"scheduled_at": None}).json()["data"]["scheduled_at"] is None
    assert wait_ended(http, task["id"])["status"] == "completed"


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_only_tags_and_description_change_once_it_runs(http: httpx.Client, new_task: NewTask) -> None:
    task_id = new_task(command="echo kept; exec sleep 60")["id"]
    wait_status(http, task_id, "running")
    for status in ("running", "cancelled"):
        for change in ({"priority": 9}, {"name": "x"}, {"command": "true"}, {"tags": ["x"], "max_retries": 1}):
            check_error(http.put(f"/api/tasks/{task_id}", json=change), 409, code="wrong_state")
        answer = http.put(f"/api/tasks/{task_id}", json={"tags": [status], "description": f"seen {status}"})
        assert answer.status_code == 200
        changed = answer.json()["data"]
        assert (changed["status"], changed["tags"], changed["description"]) == (status, [status], f"seen {status}")
        if status == "running":
            assert http.post(f"/api/tasks/{task_id}/cancel").status_code == 200


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_a_change_of_an_ended_task_shows_its_result(http: httpx.Client, new_task: NewTask) -> None:
    task = wait_ended(http, new_task(command="echo done")["id"])
    changed = http.put(f"/api/tasks/{task['id']}", json={"tags": ["late"]}).json()["data"]
    assert changed == {**task, "tags": ["late"], "updated_at": changed["updated_at"]}
    assert changed["result"] == "done\n"


@pytest.mark.endpoint("tasks", "DELETE /api/tasks/{id}")
def test_a_deleted_task_is_gone(http: httpx.Client, new_task: NewTask) -> None:
    for task in (new_task(scheduled_at=LATER), wait_ended(http, new_task()["id"])):
        answer = http.delete(f"/api/tasks/{task['id']}")
        assert answer.status_code == 200
        assert answer.json() == {"data": {"success": True, "message": "Task deleted successfully"}}
        check_error(http.get(f"/api/tasks/{task['id']}"), 404, code="not_found")
        check_error(http.delete(f"/api/tasks/{task['id']}"), 404, code="not_found")


@pytest.mark.endpoint("tasks", "DELETE /api/tasks/{id}")
def test_a_running_task_is_not_deleted(http: httpx.Client, new_task: NewTask) -> None:
    task_id = new_task(command="exec sleep 60")["id"]
    wait_status(http, task_id, "running")
    details = check_error(http.delete(f"/api/tasks/{task_id}"), 409, code="wrong_state")
    assert details == {"state": "running"}
    http.post(f"/api/tasks/{task_id}/cancel")
    assert http.delete(f"/api/tasks/{task_id}").status_code == 200


@pytest.mark.endpoint("tasks", "DELETE /api/tasks/{id}")
def test_a_task_that_others_wait_for_is_not_deleted(http: httpx.Client, new_task: NewTask) -> None:
    parent = new_task(scheduled_at=LATER)["id"]
    child = new_task(dependencies=[parent])["id"]
    assert check_error(http.delete(f"/api/tasks/{parent}"), 409, code="has_dependents")["tasks"] == [child]
    assert http.delete(f"/api/tasks/{child}").status_code == 200
    assert http.delete(f"/api/tasks/{parent}").status_code == 200


@pytest.mark.parametrize(
    "task_id", [NOBODY, "task-100", "100", NOBODY.upper(), NOBODY[5:], "job-" + NOBODY[5:], "%00", "ä", "task-%2F"]
)
def test_an_unknown_id_is_404_everywhere(http: httpx.Client, task_id: str) -> None:
    path = f"/api/tasks/{task_id}"
    check_error(http.get(path), 404)
    check_error(http.put(path, json={"name": "x"}), 404)
    check_error(http.delete(path), 404)
    for verb in ("cancel", "retry"):
        check_error(http.post(f"{path}/{verb}"), 404)
    check_error(http.get(f"{path}/logs"), 404)
    check_error(http.post(f"{path}/checkpoint", json={"checkpoint_data": {}}), 404)
