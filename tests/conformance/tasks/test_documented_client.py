"""A client written from the documentation alone does its work, unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.tasks.conftest import LATER
from tests.conformance.tasks.documented_client import ApiError, TasksClient


@pytest.fixture
def client(stack_url: str) -> Iterator[TasksClient]:
    with TasksClient(f"{stack_url}/api") as client:
        yield client


def test_a_day_of_a_user_of_tasks(client: TasksClient, tag: str) -> None:
    extract = client.create_task(name="extract", command="echo 42 rows", tags=[tag])
    load = client.create_task(name="load", command="exit 1", dependencies=[extract["id"]], max_retries=0, tags=[tag])
    report = client.create_task(name="report", command="true", scheduled_at=LATER, priority=8, tags=[tag])
    while client.get_task(load["id"])["status"] != "failed":
        pass
    assert client.get_task(extract["id"])["result"] == "42 rows\n"
    tasks, meta = client.list_tasks(tag=tag, status="pending", sort="priority", order="desc")
    assert ([task["id"] for task in tasks], meta["total"], meta["pages"]) == ([report["id"]], 1, 1)
    assert client.update_task(report["id"], priority=9, tags=[tag, "weekly"])["priority"] == 9
    assert client.cancel_task(report["id"])["status"] == "cancelled"
    assert client.retry_task(load["id"])["retry_count"] == 1
    while client.get_task(load["id"])["status"] != "failed":
        pass
    with pytest.raises(ApiError) as raised:
        client.cancel_task(load["id"])
    assert raised.value.status == 409
    while client.get_logs(extract["id"])[1]["total"] < 1:
        pass
    assert [line["message"] for line in client.get_logs(extract["id"], level="info", limit=10)[0]] == ["42 rows"]
    assert client.delete_task(report["id"])["success"] is True
    with pytest.raises(ApiError) as raised:
        client.get_task(report["id"])
    assert (raised.value.status, raised.value.code) == (404, "not_found")


def test_a_user_saves_progress_by_the_api(client: TasksClient) -> None:
    task = client.create_task(name="long", command="exec sleep 60", checkpoint_enabled=True)
    while client.get_task(task["id"])["status"] != "running":
        pass
    assert client.save_checkpoint(task["id"], {"current_step": 3})["checkpoint_data"] == {"current_step": 3}
    assert client.get_task(task["id"])["checkpoint_data"] == {"current_step": 3}
    client.cancel_task(task["id"])


def test_an_operator_looks_around(client: TasksClient) -> None:
    client.create_task(name="seen", command="true")
    workers, meta = client.list_workers(limit=100)
    assert meta["total"] == len(workers)
    worker = client.get_worker(workers[0]["id"])
    assert worker["hostname"] == workers[0]["hostname"]
    assert client.get_worker_tasks(worker["id"], status="completed")[1]["page"] == 1
    assert client.get_status()["components"]["database"]["status"] == "healthy"
    metrics, meta = client.get_metrics(period="day", metrics="error_rate")
    assert (list(metrics), meta["period"]) == (["error_rate"], "day")
