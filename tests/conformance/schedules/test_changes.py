"""What a PATCH changes, and what it leaves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.schedules.conftest import NEVER, NewSchedule

TARGET: dict[str, Any] = {
    "type": "http",
    "url": "http://127.0.0.1:1/one",
    "method": "PUT",
    "headers": {"X-One": "1"},
    "body": {"a": 1},
    "timeout_ms": 5_000,
    "auth": {"type": "service_token", "ref": "secret://one"},
}
RETRY = {"max_attempts": 3, "backoff_ms": 10, "max_backoff_ms": 100}


@pytest.mark.endpoint("schedules", "PATCH /v1/schedules/{schedule_id}")
@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"name": "other"}, {"name": "other"}),
        ({"cron": "@every 90s", "enabled": False}, {"cron": "@every 90s", "enabled": False, "status": "disabled"}),
        ({"timezone": "Asia/Tokyo"}, {"timezone": "Asia/Tokyo"}),
        ({"concurrency_policy": "queue"}, {"concurrency_policy": "queue"}),
        ({"concurrency_policy": "replace"}, {"concurrency_policy": "replace"}),
        ({"misfire_policy": "fire_all"}, {"misfire_policy": "fire_all"}),
        ({"max_jitter_ms": 2_500}, {"max_jitter_ms": 2_500}),
        ({"retry": {"max_attempts": 9}}, {"retry": {**RETRY, "max_attempts": 9}}),
        ({"retry": {"backoff_ms": 1, "max_backoff_ms": 2}}, {"retry": {**RETRY, "backoff_ms": 1, "max_backoff_ms": 2}}),
        ({"target": {"url": "http://127.0.0.1:1/two"}}, {"target": {**TARGET, "url": "http://127.0.0.1:1/two"}}),
        ({"target": {"method": "POST", "timeout_ms": 1}}, {"target": {**TARGET, "method": "POST", "timeout_ms": 1}}),
        ({"target": {"headers": {"X-Two": "2"}}}, {"target": {**TARGET, "headers": {"X-Two": "2"}}}),
        ({"target": {"headers": {}, "body": "text"}}, {"target": {**TARGET, "headers": {}, "body": "text"}}),
        ({"target": {"body": None, "auth": None}}, {"target": {**TARGET, "body": None, "auth": None}}),
        ({"target": TARGET, "retry": RETRY, "cron": NEVER}, {}),
    ],
)
def test_only_what_is_given_changes(
    http: httpx.Client, new_schedule: NewSchedule, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    path = f"/v1/schedules/{new_schedule(target=TARGET, retry=RETRY)}"
    before = http.get(path).json()
    answer = http.patch(path, json={"version": 1, **change})
    assert answer.status_code == 200, answer.text
    assert answer.json() == http.get(path).json()
    for schedule in (before, after := answer.json()):
        del schedule["updated_at_ms"], schedule["next_run_at_ms"]
    assert after == {**before, "version": 2, **shown}


def test_a_schedule_that_is_created_disabled(http: httpx.Client, new_schedule: NewSchedule) -> None:
    schedule = http.get(f"/v1/schedules/{new_schedule(enabled=False)}").json()
    assert (schedule["status"], schedule["enabled"], schedule["next_run_at_ms"]) == ("disabled", False, None)


def test_a_schedule_made_through_another_api_is_shown_and_changed_here(http: httpx.Client) -> None:
    tags = ["kept"]
    job = {
        "name": "made elsewhere",
        "schedule": NEVER,
        "timezone": "Europe/Vienna",
        "retryPolicy": {"type": "ON_FAILURE", "maxRetries": 2, "backoffSeconds": 0.25},
        "tasks": [{"id": "call", "http": {"url": "http://127.0.0.1:1/"}, "priority": 9, "timeoutSeconds": 60}],
        "metadata": {"tags": tags},
    }
    uuid = http.post("/jobs", json=job).json()["id"].removeprefix("job-")
    path = f"/v1/schedules/sch_{uuid}"
    schedule = http.get(path).json()
    assert (schedule["project_id"], schedule["timezone"]) == ("default", "Europe/Vienna")
    assert (schedule["target"]["method"], schedule["target"]["timeout_ms"]) == ("GET", 60_000)
    assert schedule["retry"] == {"max_attempts": 3, "backoff_ms": 250, "max_backoff_ms": 60_000}
    listed = http.get("/v1/schedules", params={"limit": 100}).json()["items"]
    assert schedule in listed
    assert http.patch(path, json={"version": 1, "target": {"method": "POST"}, "retry": {"max_attempts": 2}}).status_code == 200
    task = http.get(f"/jobs/job-{uuid}").json()["tasks"][0]
    assert (task["id"], task["priority"], task["http"]["method"]) == ("call", 9, "POST")
    assert (task["retryPolicy"]["maxRetries"], task["retryPolicy"]["backoffSeconds"]) == (1, 0.25)
    assert http.get(f"/jobs/job-{uuid}").json()["metadata"] == {"tags": tags}
