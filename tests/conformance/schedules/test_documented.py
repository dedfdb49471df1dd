"""The document's own examples, sent as documented and answered as documented."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest

from foliot.kit.clock import SystemClock
from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import Json, NewSchedule, WaitRun
from tests.conformance.schedules.receiver import Receiver

INVOICE: Json = {
    "project_id": "p_1",
    "name": "daily-invoice",
    "cron": "0 9 * * *",
    "timezone": "Europe/Belgrade",
    "enabled": True,
    "concurrency_policy": "forbid",
    "misfire_policy": "skip",
    "max_jitter_ms": 1000,
    "target": {
        "type": "http",
        "url": "https://internal.api/jobs/invoice",
        "method": "POST",
        "headers": {"X-Job": "invoice"},
        "body": {"mode": "daily"},
        "timeout_ms": 5000,
        "auth": {"type": "service_token", "ref": "secret://invoice-token"},
    },
    "retry": {"max_attempts": 5, "backoff_ms": 500, "max_backoff_ms": 60000},
}
STATE = {"schedule_id", "status", "next_run_at_ms", "version"}
RUN = {"run_id", "schedule_id", "due_at_ms", "started_at_ms", "finished_at_ms", "status", "attempt"}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def next_nine_in_belgrade() -> int:
    now = SystemClock().now().astimezone(ZoneInfo("Europe/Belgrade"))
    nine = now.replace(hour=9, minute=0, second=0, microsecond=0)
    local = nine if nine > now else nine + timedelta(days=1)
    return round(local.timestamp() * 1000)


@pytest.mark.endpoint("schedules", "POST /v1/schedules")
def test_create(http: httpx.Client) -> None:
    before = next_nine_in_belgrade()
    answer = http.post("/v1/schedules", json=INVOICE)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    created = answer.json()
    assert set(created) == STATE
    assert re.fullmatch(rf"sch_{UUID}\.p_1", created["schedule_id"])
    assert (created["status"], created["version"]) == ("enabled", 1)
    assert created["next_run_at_ms"] in {before, next_nine_in_belgrade()}
    found = http.get(str(answer.request.url.join(answer.headers["location"])))
    assert found.json()["schedule_id"] == created["schedule_id"]


@pytest.mark.endpoint("schedules", "GET /v1/schedules/{schedule_id}")
def test_get(http: httpx.Client, new_schedule: NewSchedule) -> None:
    schedule_id = new_schedule(**INVOICE)
    answer = http.get(f"/v1/schedules/{schedule_id}")
    assert answer.status_code == 200
    schedule = answer.json()
    assert set(schedule) == {*STATE, *INVOICE, "created_at_ms", "updated_at_ms"}
    assert {name: schedule[name] for name in INVOICE} == INVOICE
    assert (schedule["schedule_id"], schedule["status"], schedule["version"]) == (schedule_id, "enabled", 1)
    assert schedule["next_run_at_ms"] == next_nine_in_belgrade()
    assert schedule["created_at_ms"] == schedule["updated_at_ms"]


@pytest.mark.endpoint("schedules", "GET /v1/schedules/{schedule_id}")
def test_a_schedule_of_the_least_gets_the_defaults(http: httpx.Client, new_schedule: NewSchedule) -> None:
    schedule = http.get(f"/v1/schedules/{new_schedule()}").json()
    expected: Json = {
        "project_id": "default",
        "timezone": "UTC",
        "enabled": True,
        "concurrency_policy": "allow",
        "misfire_policy": "fire_once",
        "max_jitter_ms": 0,
        "target": {
            "type": "http",
            "url": "http://127.0.0.1:1/",
            "method": "POST",
            "headers": {},
            "body": None,
            "timeout_ms": 30_000,
            "auth": None,
        },
        "retry": {"max_attempts": 1, "backoff_ms": 1_000, "max_backoff_ms": 60_000},
    }
    assert {name: schedule[name] for name in expected} == expected


@pytest.mark.endpoint("schedules", "GET /v1/schedules")
def test_list(http: httpx.Client, new_schedule: NewSchedule) -> None:
    ids = [new_schedule(**{**INVOICE, "project_id": "p_listed"}) for _ in range(2)]
    answer = http.get("/v1/schedules?project_id=p_listed&limit=50")
    assert answer.status_code == 200
    page = answer.json()
    assert set(page) == {"items", "next_cursor"}
    listed = [item for item in page["items"] if item["schedule_id"] in ids]
    assert [item["schedule_id"] for item in listed] == ids[::-1]
    assert listed[0] == http.get(f"/v1/schedules/{ids[1]}").json()
    assert page["next_cursor"] is None


@pytest.mark.endpoint("schedules", "PATCH /v1/schedules/{schedule_id}")
def test_patch(http: httpx.Client, new_schedule: NewSchedule) -> None:
    schedule_id = new_schedule(**INVOICE)
    before = http.get(f"/v1/schedules/{schedule_id}").json()
    answer = http.patch(f"/v1/schedules/{schedule_id}", json={"version": 1, "enabled": False})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed.pop("updated_at_ms") >= before.pop("updated_at_ms")
    assert changed == {**before, "version": 2, "enabled": False, "status": "disabled", "next_run_at_ms": None}
    problem = check_problem(http.patch(f"/v1/schedules/{schedule_id}", json={"version": 1, "enabled": True}), 409)
    assert problem["version"] == 2
    answer = http.patch(f"/v1/schedules/{schedule_id}", json={"version": 2, "enabled": True})
    assert (answer.json()["status"], answer.json()["version"]) == ("enabled", 3)
    assert answer.json()["next_run_at_ms"] == next_nine_in_belgrade()


@pytest.mark.endpoint("schedules", "DELETE /v1/schedules/{schedule_id}")
def test_delete(http: httpx.Client, new_schedule: NewSchedule) -> None:
    schedule_id = new_schedule(**INVOICE)
    path = f"/v1/schedules/{schedule_id}"
    expected = {"schedule_id": schedule_id, "status": "deleted", "next_run_at_ms": None, "version": 2}
    for _ in range(2):
        answer = http.delete(path)
        assert (answer.status_code, answer.json()) == (200, expected)
    found = http.get(path)
    assert (found.status_code, found.json()["status"], found.json()["name"]) == (200, "deleted", "daily-invoice")
    assert http.get(f"{path}/runs").json() == {"items": [], "next_cursor": None}
    listed = http.get("/v1/schedules", params={"project_id": "p_1", "limit": 100}).json()["items"]
    assert schedule_id not in [item["schedule_id"] for item in listed]
    for refused in (http.patch(path, json={"version": 2, "enabled": False}), http.post(f"{path}:runNow")):
        assert check_problem(refused, 409)["state"] == "deleted"


@pytest.mark.endpoint("schedules", "POST /v1/schedules/{schedule_id}:runNow")
@pytest.mark.endpoint("schedules", "GET /v1/runs/{run_id}")
@pytest.mark.endpoint("schedules", "GET /v1/schedules/{schedule_id}/runs")
def test_run_now(http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun) -> None:
    schedule_id = new_schedule(project_id="p_1", target={"type": "http", "url": f"{receiver.url}/jobs/invoice"})
    answer = http.post(f"/v1/schedules/{schedule_id}:runNow")
    assert answer.status_code == 202
    assert set(answer.json()) == {"run_id", "status"}
    assert answer.json()["status"] == "queued"
    run_id = answer.json()["run_id"]
    assert re.fullmatch(rf"run_{UUID}\.p_1", run_id)
    assert receiver.next_request().path == "/jobs/invoice"
    run = wait_run(run_id)
    assert set(run) >= RUN
    assert (run["run_id"], run["schedule_id"], run["status"], run["attempt"]) == (run_id, schedule_id, "succeeded", 1)
    assert run["due_at_ms"] <= run["started_at_ms"] <= run["finished_at_ms"]
    assert run["last_error"] is None
    assert run["trigger"] == "manual"
    [attempt] = run["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["error"]) == (1, "succeeded", None)
    history = http.get(f"/v1/schedules/{schedule_id}/runs?limit=50").json()
    del run["attempts"]
    assert history == {"items": [run], "next_cursor": None}


def test_times_are_whole_milliseconds(http: httpx.Client, new_schedule: NewSchedule) -> None:
    now = SystemClock().now()
    schedule = http.get(f"/v1/schedules/{new_schedule()}").json()
    assert isinstance(schedule["created_at_ms"], int)
    assert abs(datetime.fromtimestamp(schedule["created_at_ms"] / 1000, now.tzinfo) - now) < timedelta(minutes=5)
