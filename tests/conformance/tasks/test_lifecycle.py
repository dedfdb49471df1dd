"""What becomes of tasks: dependencies, cancel, retry, logs and checkpoints."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conformance.tasks.conftest import LATER, Json, NewTask, get, wait_ended, wait_status
from tests.conformance.tasks.errors import check_error
from tests.conformance.tasks.test_tasks import NOBODY, check_time

CHECKPOINT: Json = {
    "current_step": 3,
    "processed_items": 150,
    "last_processed_id": "item-789",
    "custom_data": {"key1": "value1", "key2": "value2"},
}


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_a_task_waits_for_its_dependencies(http: httpx.Client, new_task: NewTask, tmp_path: Path) -> None:
    go = tmp_path / "go"
    parent = new_task(command=f"until test -e {go}; do sleep 0.02; done")["id"]
    child = new_task(dependencies=[parent])["id"]
    wait_status(http, parent, "running")
    assert get(http, child)["status"] == "pending"
    go.touch()
    ended = wait_ended(http, child)
    assert ended["status"] == "completed"
    assert check_time(get(http, parent)["completed_at"]) <= check_time(ended["started_at"])


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize("unknown", [NOBODY, "task-100", "", "x" * 255])
def test_a_dependency_must_exist(http: httpx.Client, new_task: NewTask, tag: str, unknown: str) -> None:
    body = {"name": "x", "command": "true", "tags": [tag], "dependencies": [new_task()["id"], unknown]}
    details = check_error(http.post("/api/tasks", json=body), 422, code="unknown_dependency")
    assert details["tasks"] == [unknown[:100]]
    assert http.get("/api/tasks", params={"tag": tag}).json()["meta"]["total"] == 0


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_a_dependency_is_named_once(http: httpx.Client, new_task: NewTask) -> None:
    parent = new_task()["id"]
    body = {"name": "x", "command": "true", "dependencies": [parent, parent]}
    check_error(http.post("/api/tasks", json=body), 422, "dependencies[1]")


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_dependencies_form_no_cycle(http: httpx.Client, new_task: NewTask) -> None:
    first = new_task(scheduled_at=LATER)["id"]
    second = new_task(dependencies=[first])["id"]
    third = new_task(dependencies=[second])["id"]
    for closing, path in ((first, [first, first]), (third, [first, third, second, first])):
        answer = http.put(f"/api/tasks/{first}", json={"dependencies": [closing]})
        assert check_error(answer, 422, code="dependency_cycle")["path"] == path
    assert get(http, first)["dependencies"] == []


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_dependents_of_what_did_not_succeed_fail_naming_it(http: httpx.Client, new_task: NewTask, how: str) -> None:
    parent = new_task(scheduled_at=LATER, command="exit 1", max_retries=0)["id"]
    child = new_task(dependencies=[parent])["id"]
    if how == "cancelled":
        http.post(f"/api/tasks/{parent}/cancel")
    else:
        http.put(f"/api/tasks/{parent}", json={"scheduled_at": None})
    ended = wait_ended(http, child)
    assert (ended["status"], ended["result"], ended["started_at"]) == ("failed", None, None)
    assert parent in ended["error"]
    late = new_task(dependencies=[parent])
    assert parent in wait_ended(http, late["id"])["error"]


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/cancel")
@pytest.mark.parametrize("status", ["pending", "running"])
def test_cancel_answers_as_documented(http: httpx.Client, new_task: NewTask, status: str) -> None:
    task = new_task(command="exec sleep 60", scheduled_at=LATER if status == "pending" else None)
    wait_status(http, task["id"], status)
    answer = http.post(f"/api/tasks/{task['id']}/cancel")
    assert answer.status_code == 200
    cancelled = answer.json()["data"]
    assert list(cancelled) == ["id", "status", "updated_at"]
    assert (cancelled["id"], cancelled["status"]) == (task["id"], "cancelled")
    assert check_time(cancelled["updated_at"]) > check_time(task["updated_at"])
    ended = get(http, task["id"])
    assert (ended["status"], ended["updated_at"], ended["result"]) == ("cancelled", cancelled["updated_at"], None)
    assert check_error(http.post(f"/api/tasks/{task['id']}/cancel"), 409, code="wrong_state") == {"state": "cancelled"}


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/cancel")
@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/retry")
def test_a_completed_task_is_neither_cancelled_nor_retried(http: httpx.Client, new_task: NewTask) -> None:
    task = wait_ended(http, new_task()["id"])
    for verb in ("cancel", "retry"):
        answer = http.post(f"/api/tasks/{task['id']}/{verb}")
        assert check_error(answer, 409, code="wrong_state") == {"state": "completed"}
        assert "succeeded" not in answer.text
    assert get(http, task["id"]) == task


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/retry")
def test_retry_answers_as_documented(http: httpx.Client, new_task: NewTask, tmp_path: Path) -> None:
    mark = tmp_path / "mended"
    task = wait_ended(http, new_task(command=f"test -e {mark}", max_retries=0)["id"])
    assert task["status"] == "failed"
    mark.touch()
    answer = http.post(f"/api/tasks/{task['id']}/retry")
    assert answer.status_code == 200
    retried = answer.json()["data"]
    assert list(retried) == ["id", "status", "retry_count", "updated_at"]
    assert (retried["id"], retried["status"], retried["retry_count"]) == (task["id"], "pending", 1)
    assert check_time(retried["updated_at"]) > check_time(task["updated_at"])
    ended = wait_ended(http, task["id"])
    assert (ended["status"], ended["retry_count"], ended["error"]) == ("completed", 1, None)


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/retry")
def test_retry_is_for_what_failed_or_was_cancelled(http: httpx.Client, new_task: NewTask) -> None:
    task_id = new_task(scheduled_at=LATER)["id"]
    assert check_error(http.post(f"/api/tasks/{task_id}/retry"), 409, code="wrong_state") == {"state": "pending"}
    http.post(f"/api/tasks/{task_id}/cancel")
    assert http.post(f"/api/tasks/{task_id}/retry").json()["data"]["status"] == "pending"


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/retry")
def test_the_same_idempotency_key_retries_once(http: httpx.Client, new_task: NewTask, tag: str) -> None:
    task = wait_ended(http, new_task(command="exit 1", max_retries=0)["id"])
    headers = {"Idempotency-Key": tag}
    first = http.post(f"/api/tasks/{task['id']}/retry", headers=headers)
    assert first.json()["data"]["retry_count"] == 1
    wait_ended(http, task["id"])
    assert http.post(f"/api/tasks/{task['id']}/retry", headers=headers).status_code == 200
    assert wait_ended(http, task["id"])["retry_count"] == 1


@pytest.mark.endpoint("tasks", "GET /api/tasks/{id}/logs")
def test_logs_are_paged_and_filtered(http: httpx.Client, new_task: NewTask) -> None:
    task = wait_ended(http, new_task(command="for n in 1 2 3 4 5; do echo line $n; done; echo bad >&2")["id"])
    path = f"/api/tasks/{task['id']}/logs"
    while (answer := http.get(path)).json()["meta"]["total"] < 6:
        pass  # lines come on a way of their own, after the result
    assert answer.status_code == 200
    assert list(answer.json()) == ["data", "meta"]
    assert answer.json()["meta"] == {"limit": 100, "offset": 0, "total": 6}
    lines = answer.json()["data"]
    assert all(list(line) == ["timestamp", "level", "message"] for line in lines)
    assert all(check_time(line["timestamp"]) for line in lines)
    assert [line["message"] for line in lines if line["level"] == "info"] == [f"line {number}" for number in range(1, 6)]
    errors = http.get(path, params={"level": "error"}).json()
    assert ([line["message"] for line in errors["data"]], errors["meta"]["total"]) == (["bad"], 1)
    assert http.get(path, params={"level": "debug"}).json()["data"] == []
    part = http.get(path, params={"limit": 2, "offset": 1}).json()
    assert (part["data"], part["meta"]) == (lines[1:3], {"limit": 2, "offset": 1, "total": 6})
    assert http.get(path, params={"offset": 6}).json()["data"] == []
    assert http.get(path, params={"limit": 1_000}).json()["data"] == lines


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/checkpoint")
def test_a_checkpoint_answers_as_documented_and_reaches_the_next_attempt(
    http: httpx.Client, new_task: NewTask, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    first = f"until test -e {go}; do sleep 0.02; done; exit 1"
    command = f'if test -e "$FOLIOT_CHECKPOINT"; then cat "$FOLIOT_CHECKPOINT"; else {first}; fi'
    task = new_task(command=command, max_retries=1, checkpoint_enabled=True)
    wait_status(http, task["id"], "running")
    answer = http.post(f"/api/tasks/{task['id']}/checkpoint", json={"checkpoint_data": CHECKPOINT})
    assert answer.status_code == 200, answer.text
    saved = answer.json()["data"]
    assert list(saved) == ["id", "checkpoint_data", "updated_at"]
    assert (saved["id"], saved["checkpoint_data"]) == (task["id"], CHECKPOINT)
    assert check_time(saved["updated_at"]) > check_time(task["updated_at"])
    assert get(http, task["id"])["checkpoint_data"] == CHECKPOINT
    go.touch()
    ended = wait_ended(http, task["id"])
    assert ended["status"] == "completed"
    assert httpx.Response(200, text=ended["result"]).json() == CHECKPOINT
    answer = http.post(f"/api/tasks/{task['id']}/checkpoint", json={"checkpoint_data": {}})
    check_error(answer, 409, code="wrong_state")


@pytest.mark.endpoint("tasks", "POST /api/tasks/{id}/checkpoint")
def test_only_a_running_task_takes_a_checkpoint(http: httpx.Client, new_task: NewTask) -> None:
    path = f"/api/tasks/{new_task(scheduled_at=LATER)['id']}/checkpoint"
    check_error(http.post(path, json={"checkpoint_data": {"a": 1}}), 409, code="wrong_state")
    wrong: object
    for wrong in ([], "x", 3, None, True):
        check_error(http.post(path, json={"checkpoint_data": wrong}), 422, "checkpoint_data")
    check_error(http.post(path, json={}), 422, "checkpoint_data")
    check_error(http.post(path, json={"checkpoint_data": {"a": "x" * 1_048_576}}), 422, "checkpoint_data")
    check_error(http.post(path, json={"checkpoint_data": {}, "attempt": 1}), 422, "attempt")
