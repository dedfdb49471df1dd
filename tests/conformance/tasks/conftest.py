"""A client of the whole service, and tasks of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from foliot.kit.clock import SystemClock

Json = dict[str, Any]
NewTask = Callable[..., Json]

LATER = "2199-01-01T00:00:00Z"
"""A task that is scheduled then stays pending."""


@pytest.fixture(scope="package")
def http(stack_url: str) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with httpx.Client(base_url=stack_url, timeout=30) as client:
        yield client


@pytest.fixture
def new_task(http: httpx.Client) -> NewTask:
    """Creates a task and answers it; keyword arguments are the body's fields."""

    def create(**fields: object) -> Json:
        answer = http.post("/api/tasks", json={"name": "of a test", "command": "true", **fields})
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()["data"]
        return created

    return create


@pytest.fixture
def tag() -> str:
    """A tag that no other test uses."""
    return f"tag-{SystemClock().random_bytes(8).hex()}"


def get(http: httpx.Client, task_id: str) -> Json:
    """The task as it stands."""
    answer = http.get(f"/api/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    task: Json = answer.json()["data"]
    return task


def wait_status(http: httpx.Client, task_id: str, *wanted: str) -> Json:
    """Ask until the task has one of these statuses; the test's own timeout bounds it."""
    while True:
        task = get(http, task_id)
        if task["status"] in wanted:
            return task


def wait_ended(http: httpx.Client, task_id: str) -> Json:
    """Ask until the task has ended."""
    return wait_status(http, task_id, "completed", "failed", "cancelled")
