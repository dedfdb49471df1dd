"""The status of the system and its metrics, as the documentation shows them."""

from __future__ import annotations

import itertools
from datetime import timedelta

import httpx
import pytest

from tests.conformance.tasks.conftest import LATER, Json, NewTask, wait_ended, wait_status
from tests.conformance.tasks.errors import check_error
from tests.conformance.tasks.test_tasks import check_time

METRICS = ["task_completion_rate", "error_rate", "average_execution_time"]


def status_of(http: httpx.Client) -> Json:
    answer = http.get("/api/system/status")
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["data"]
    status: Json = answer.json()["data"]
    return status


def metrics_of(http: httpx.Client, **params: str) -> Json:
    answer = http.get("/api/system/metrics", params=params)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["data", "meta"]
    found: Json = answer.json()
    return found


@pytest.mark.endpoint("tasks", "GET /api/system/status")
def test_the_status_looks_as_documented(http: httpx.Client) -> None:
    status = status_of(http)
    assert list(status) == ["status", "version", "uptime", "components", "task_stats", "queue_depths"]
    assert (status["status"], type(status["version"]), type(status["uptime"])) == ("healthy", str, int)
    components = status["components"]
    assert list(components) == ["api_server", "scheduler", "workers", "database", "redis"]
    assert components["api_server"] == {"status": "healthy", "instance_count": 1}
    assert list(components["scheduler"]) == ["status", "leader_id", "instance_count"]
    assert (components["scheduler"]["status"], components["scheduler"]["instance_count"]) == ("healthy", 1)
    name, _, address = components["scheduler"]["leader_id"].partition("@")
    assert name
    assert address.count(":") == 1
    assert list(components["workers"]) == ["status", "active_count", "idle_count", "offline_count"]
    assert components["workers"]["status"] == "healthy"
    assert components["workers"]["active_count"] + components["workers"]["idle_count"] >= 1
    assert list(components["database"]) == ["status", "connection_count"]
    assert components["database"]["status"] == "healthy"
    assert components["database"]["connection_count"] >= 1
    assert components["redis"] == {"status": "disabled"}
    assert list(status["task_stats"]) == ["pending", "running", "completed_today", "failed_today"]
    assert list(status["queue_depths"]) == ["high_priority", "normal_priority", "low_priority"]
    assert all(type(count) is int for count in (*status["task_stats"].values(), *status["queue_depths"].values()))


@pytest.mark.endpoint("tasks", "GET /api/system/status")
def test_the_status_counts_tasks(http: httpx.Client, new_task: NewTask) -> None:
    before = status_of(http)["task_stats"]
    new_task(scheduled_at=LATER)
    running = new_task(command="exec sleep 60")["id"]
    wait_ended(http, new_task()["id"])
    wait_ended(http, new_task(command="exit 1", max_retries=0)["id"])
    wait_status(http, running, "running")
    after = status_of(http)["task_stats"]
    assert after["pending"] > before["pending"]
    assert after["running"] >= 1
    assert after["completed_today"] > before["completed_today"]
    assert after["failed_today"] > before["failed_today"]
    http.post(f"/api/tasks/{running}/cancel")


@pytest.mark.endpoint("tasks", "GET /api/system/status")
def test_the_queue_depths_go_by_bands_of_priority(http: httpx.Client) -> None:
    before = status_of(http)["queue_depths"]
    # A call of a handler that nobody registered waits for a worker.
    tasks = [{"id": f"of {priority}", "function": "nobody-has-this", "priority": priority} for priority in range(1, 11)]
    tasks = [{**task, "id": f"t{number}"} for number, task in enumerate(tasks)]
    job_id = http.post("/jobs", json={"name": "waits", "tasks": tasks}).json()["id"]
    http.post(f"/jobs/{job_id}/trigger")
    after = status_of(http)["queue_depths"]
    assert [after[name] - before[name] for name in before] == [3, 4, 3]
    for task in http.get("/api/tasks", params={"status": "pending", "limit": 100}).json()["data"]:
        if task.get("kind") == "function":
            http.post(f"/api/tasks/{task['id']}/cancel")
    assert status_of(http)["queue_depths"] == before


@pytest.mark.endpoint("tasks", "GET /api/system/metrics")
@pytest.mark.parametrize(
    ("period", "step", "count"),
    [
        ("hour", timedelta(minutes=1), 60), ("day", timedelta(hours=1), 24), ("week", timedelta(days=1), 7),
        ("month", timedelta(days=1), 30),
    ],
)  # fmt: skip
def test_metrics_look_as_documented(http: httpx.Client, new_task: NewTask, period: str, step: timedelta, count: int) -> None:
    for command in ("true", "exit 1"):
        wait_ended(http, new_task(command=command, max_retries=0)["id"])
    found = metrics_of(http, period=period)
    assert list(found["data"]) == METRICS
    assert list(found["meta"]) == ["period", "start_time", "end_time"]
    assert found["meta"]["period"] == period
    for points in found["data"].values():
        times = [check_time(point["timestamp"]) for point in points]
        assert all(list(point) == ["timestamp", "value"] for point in points)
        assert len(times) == count
        assert {after - before for before, after in itertools.pairwise(times)} == {step}
        assert (points[0]["timestamp"], points[-1]["timestamp"]) == (found["meta"]["start_time"], found["meta"]["end_time"])
    values = {name: [point["value"] for point in points] for name, points in found["data"].items()}
    assert sum(values["task_completion_rate"]) >= 1
    assert all(type(value) is int for value in values["task_completion_rate"])
    assert 0 < max(values["error_rate"]) <= 1
    assert max(values["average_execution_time"]) > 0


@pytest.mark.endpoint("tasks", "GET /api/system/metrics")
def test_only_the_metrics_asked_for_are_answered(http: httpx.Client) -> None:
    assert metrics_of(http)["meta"]["period"] == "hour"
    for name in METRICS:
        assert list(metrics_of(http, metrics=name)["data"]) == [name]
    assert list(metrics_of(http, metrics="error_rate,task_completion_rate")["data"]) == METRICS[:2]


@pytest.mark.endpoint("tasks", "GET /api/system/metrics")
@pytest.mark.parametrize(
    ("name", "value"),
    [("metrics", "cpu"), ("metrics", ""), ("metrics", "error_rate,"), ("metrics", "error_rate, task_completion_rate"),
     ("period", "year"), ("period", ""), ("period", "HOUR"), ("start_time", "2026-06-15T11:00:00Z")],
)  # fmt: skip
def test_a_wrong_or_unknown_parameter_is_400(http: httpx.Client, name: str, value: str) -> None:
    check_error(http.get("/api/system/metrics", params={name: value}), 400, name, code="invalid_parameter")
    if name not in {"metrics", "period"}:
        check_error(http.get("/api/system/status", params={name: value}), 400, name, code="invalid_parameter")
