"""Schedules that fire for real, into a target of the test's own."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.conformance.schedules.conftest import Json, NewSchedule, WaitRun
from tests.conformance.schedules.receiver import Receiver
from tests.processes import Stack

SECRET = "the value that only workers know"


@pytest.mark.endpoint("schedules", "POST /v1/schedules")
def test_the_target_gets_what_was_asked_for(
    http: httpx.Client, stack: Stack, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    (stack.secrets_dir / "invoice-token").write_text(SECRET)
    (stack.secrets_dir / "header-token").write_text("another value")
    target = {
        "type": "http",
        "url": f"{receiver.url}/jobs/invoice?day=1",
        "method": "PUT",
        "headers": {"X-Job": "invoice", "X-Token": "secret://header-token"},
        "body": {"mode": "daily", "ratio": 1.50},
        "auth": {"type": "service_token", "ref": "secret://invoice-token"},
    }
    schedule_id = new_schedule(cron="@every 1s", target=target)
    request = receiver.next_request()
    assert (request.method, request.path) == ("PUT", "/jobs/invoice?day=1")
    assert request.headers["x-job"] == "invoice"
    assert request.headers["x-token"] == "another value"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"mode": "daily", "ratio": 1.5}
    http.delete(f"/v1/schedules/{schedule_id}")
    schedule = http.get(f"/v1/schedules/{schedule_id}")
    history = http.get(f"/v1/schedules/{schedule_id}/runs")
    run = wait_run(history.json()["items"][-1]["run_id"])
    assert (run["status"], run["trigger"]) == ("succeeded", "schedule")
    assert run["due_at_ms"] % 1000 == schedule.json()["created_at_ms"] % 1000
    assert run["due_at_ms"] <= run["started_at_ms"]
    assert schedule.json()["target"] == {**target, "timeout_ms": 30_000}
    for answer in (schedule.text, history.text, json.dumps(run)):
        assert SECRET not in answer


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"body": "plain text", "headers": {}}, (b"plain text", None)),
        ({"body": "a,b", "headers": {"Content-Type": "text/csv"}}, (b"a,b", "text/csv")),
        ({"body": [1, 2], "headers": {}}, (b"[1, 2]", "application/json")),
        ({"body": {"a": 1}, "headers": {"content-type": "application/a+json"}}, (b'{"a": 1}', "application/a+json")),
        ({"body": 5, "headers": {}}, (b"5", "application/json")),
        ({"body": None, "headers": {}}, (b"", None)),
    ],
)
def test_bodies_are_sent_and_shown_as_they_were_given(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, given: Json, sent: tuple[bytes, str | None]
) -> None:
    schedule_id = new_schedule(target={"type": "http", "url": receiver.url, **given})
    shown = http.get(f"/v1/schedules/{schedule_id}").json()["target"]
    assert {name: shown[name] for name in given} == given
    http.post(f"/v1/schedules/{schedule_id}:runNow")
    request = receiver.next_request()
    assert (request.body.replace(b" ", b""), request.headers.get("content-type")) == (sent[0].replace(b" ", b""), sent[1])


def test_credentials_in_headers_are_masked_and_kept(http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule) -> None:
    target = {"type": "http", "url": receiver.url, "headers": {"Authorization": "Basic c2VjcmV0", "X-Plain": "seen"}}
    path = f"/v1/schedules/{new_schedule(target=target)}"
    headers = http.get(path).json()["target"]["headers"]
    assert headers == {"Authorization": "******", "X-Plain": "seen"}
    change = {"version": 1, "target": {"headers": {**headers, "X-Plain": "changed"}}}
    assert http.patch(path, json=change).json()["target"]["headers"] == {"Authorization": "******", "X-Plain": "changed"}
    http.post(f"{path}:runNow")
    request = receiver.next_request()
    assert request.headers["authorization"] == "Basic c2VjcmV0"
    assert request.headers["x-plain"] == "changed"


@pytest.mark.endpoint("schedules", "GET /v1/runs/{run_id}")
def test_a_run_shows_its_attempts_and_the_last_error(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    answers = iter([503, 500, 200])
    receiver.status = lambda: next(answers)
    retry = {"max_attempts": 3, "backoff_ms": 1, "max_backoff_ms": 1}
    schedule_id = new_schedule(target={"type": "http", "url": receiver.url}, retry=retry)
    run = wait_run(http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"])
    assert (run["status"], run["attempt"], run["last_error"]) == ("succeeded", 3, None)
    assert [(one["attempt"], one["status"]) for one in run["attempts"]] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert [("503" in (one["error"] or ""), one["finished_at_ms"] >= one["started_at_ms"]) for one in run["attempts"]] == [
        (True, True),
        (False, True),
        (False, True),
    ]


def test_a_target_that_refuses_is_not_asked_again(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    receiver.status = lambda: 404
    schedule_id = new_schedule(target={"type": "http", "url": receiver.url}, retry={"max_attempts": 5, "backoff_ms": 1})
    run = wait_run(http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"])
    assert (run["status"], run["attempt"]) == ("failed", 1)
    assert "404" in run["last_error"]


def test_a_secret_that_no_worker_has_fails_the_run(http: httpx.Client, new_schedule: NewSchedule, wait_run: WaitRun) -> None:
    auth = {"type": "service_token", "ref": "secret://nobody-has-it"}
    schedule_id = new_schedule(target={"type": "http", "url": "http://127.0.0.1:1/", "auth": auth})
    run = wait_run(http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"])
    assert run["status"] == "failed"
    assert "nobody-has-it" in run["last_error"]


@pytest.mark.endpoint("schedules", "POST /v1/schedules/{schedule_id}:runNow")
def test_the_same_idempotency_key_runs_once(http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule) -> None:
    path = f"/v1/schedules/{new_schedule(enabled=False, target={'type': 'http', 'url': receiver.url})}"
    headers = {"Idempotency-Key": path}
    first, second = (http.post(f"{path}:runNow", headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert len(http.get(f"{path}/runs").json()["items"]) == 1


@pytest.mark.endpoint("schedules", "POST /v1/schedules")
def test_the_same_idempotency_key_creates_one_schedule(http: httpx.Client, new_schedule: NewSchedule) -> None:
    body = {"name": "once", "cron": "@yearly", "target": {"type": "http", "url": "http://127.0.0.1:1/"}, "project_id": "p_once"}
    headers = {"Idempotency-Key": "test_the_same_idempotency_key_creates_one_schedule"}
    first, second = (http.post("/v1/schedules", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert http.post("/v1/schedules", json={**body, "name": "twice"}, headers=headers).status_code == 422
    assert len(http.get("/v1/schedules", params={"project_id": "p_once"}).json()["items"]) == 1
