"""Whatever is wrong with a request is refused in the documented shape, naming the field."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conformance.tasks.conftest import LATER, NewTask, get
from tests.conformance.tasks.errors import check_error

JSON = {"content-type": "application/json"}


def each(field: str, *values: object) -> list[tuple[str, object]]:
    return [(field, value) for value in values]


WRONG = [
    *each("name", None, "", 3, True, [], {}, "x" * 256, "ä" * 128),
    *each("command", None, "", 3, [], {"line": "true"}, "x" * 65_537, "ä" * 32_769),
    *each("description", 3, [], "x" * 4_097),
    *each("priority", 0, 11, -1, 5.5, "5", None, True, []),
    *each("max_retries", -1, 100, 1.5, "3", None),
    *each("scheduled_at", "", "tomorrow", "2026-13-01T00:00:00Z", "2026-06-15T12:00:00", 1_700_000_000, []),
    *each("scheduled_at", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-06-15"),
    *each("timeout_seconds", 0, -1, 2_592_001, 1.5, "60", None),
    *each("tags", "x", None, {}, [f"{number}" for number in range(51)]),
    *each("tags[0]", [""], ["x" * 101], ["ä" * 51]),
    *each("tags[1]", ["x", 3], ["x", None]),
    *each("dependencies", "task-1", None, {}, ["x"] * 1_001),
    ("dependencies[0]", [3]),
    *each("checkpoint_enabled", "yes", 1, None),
    *((name, "x") for name in ("id", "status", "worker_id", "result", "retry_count", "created_at", "Name", "kind", "http")),
]


def body_of(field: str, value: object) -> dict[str, object]:
    return {"name": "x", "command": "true", field.partition("[")[0]: value}


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_new_task_with_a_wrong_field_is_422(http: httpx.Client, field: str, value: object) -> None:
    refused = field.replace("[0]", "[...]").replace("[1]", "[...]")
    answer = http.post("/api/tasks", json=body_of(field, value))
    named = [fault["field"] for fault in check_error(answer, 422)["fields"]]
    assert named in ([field], [refused])


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
@pytest.mark.parametrize(("field", "value"), [one for one in WRONG if one != ("description", None)])
def test_a_change_with_a_wrong_field_is_422(http: httpx.Client, new_task: NewTask, field: str, value: object) -> None:
    before = new_task(scheduled_at=LATER)
    answer = http.put(f"/api/tasks/{before['id']}", json={field.partition("[")[0]: value})
    check_error(answer, 422)
    assert get(http, before["id"]) == before


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize("missing", ["name", "command"])
def test_a_required_field_is_named(http: httpx.Client, missing: str) -> None:
    body = {name: "x" for name in ("name", "command") if name != missing}
    check_error(http.post("/api/tasks", json=body), 422, missing)


@pytest.mark.endpoint("tasks", "PUT /api/tasks/{id}")
def test_a_change_names_a_field(http: httpx.Client, new_task: NewTask) -> None:
    check_error(http.put(f"/api/tasks/{new_task(scheduled_at=LATER)['id']}", json={}), 422)


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize(
    "content", [b"", b"{", b"nonsense", b'{"name": "x",}', b'{"name": NaN}', b'{"name": "\xff"}', b"\xff\xfe"]
)
def test_what_is_no_json_is_400(http: httpx.Client, content: bytes) -> None:
    check_error(http.post("/api/tasks", content=content, headers=JSON), 400)


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize("body", [[], "x", 3, None, True])
def test_json_that_is_no_object_is_422(http: httpx.Client, body: object) -> None:
    check_error(http.post("/api/tasks", content=json.dumps(body), headers=JSON), 422)


@pytest.mark.endpoint("tasks", "POST /api/tasks")
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(http: httpx.Client, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = http.post("/api/tasks", content=b'{"name": "x", "command": "true"}', headers=headers)
    check_error(answer, 415, "Content-Type")


@pytest.mark.endpoint("tasks", "POST /api/tasks")
def test_a_large_body_is_413(http: httpx.Client) -> None:
    check_error(http.post("/api/tasks", json={"name": "x" * 5_000_000, "command": "true"}), 413)


@pytest.mark.endpoint("tasks", "GET /api/tasks")
def test_versions(http: httpx.Client) -> None:
    for accept in ("application/json; version=1.0", "application/json", "*/*"):
        assert http.get("/api/tasks", headers={"accept": accept}).status_code == 200
    check_error(http.get("/api/tasks", headers={"accept": "application/json; version=2.0"}), 406, "Accept")


def test_a_wrong_method_is_405(http: httpx.Client, new_task: NewTask) -> None:
    task_id = new_task(scheduled_at=LATER)["id"]
    for method, path, allow in (
        ("DELETE", "/api/tasks", {"GET", "POST"}),
        ("PATCH", f"/api/tasks/{task_id}", {"GET", "PUT", "DELETE"}),
        ("POST", f"/api/tasks/{task_id}", {"GET", "PUT", "DELETE"}),
        ("GET", f"/api/tasks/{task_id}/cancel", {"POST"}),
        ("GET", f"/api/tasks/{task_id}/retry", {"POST"}),
        ("POST", f"/api/tasks/{task_id}/logs", {"GET"}),
        ("PUT", f"/api/tasks/{task_id}/checkpoint", {"POST"}),
    ):
        answer = http.request(method, path)
        check_error(answer, 405, code="method_not_allowed")
        assert allow <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/task", "/api/tasks/", "/api/tasks/x/y", "/api/tasks/x/y/z"])
def test_an_unknown_path_is_404(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    if path == "/api/tasks/":
        assert answer.status_code in {200, 404}
    else:
        check_error(answer, 404, code="not_found")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_body_where_none_is_taken_is_422(http: httpx.Client, new_task: NewTask, verb: str) -> None:
    path = f"/api/tasks/{new_task(scheduled_at=LATER)['id']}/{verb}"
    check_error(http.post(path, json={"force": True}), 422, "force")
    assert http.post(path, json={}).status_code in {200, 409}
