"""A client, a target, and schedules of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.schedules.receiver import Receiver

Json = dict[str, Any]
NewSchedule = Callable[..., str]
WaitRun = Callable[[str], Json]

NEVER = "0 0 29 2 *"
"""A schedule that does not fire while a test runs."""
ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture
def http(stack_url: str) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with httpx.Client(base_url=stack_url, timeout=30) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A target."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def new_schedule(http: httpx.Client) -> Iterator[NewSchedule]:
    """Creates a schedule and answers its id; keyword arguments are the body's fields. All are deleted in the end."""
    created: list[str] = []

    def create(**fields: object) -> str:
        body = {"name": "of a test", "cron": NEVER, "target": {"type": "http", "url": "http://127.0.0.1:1/"}, **fields}
        answer = http.post("/v1/schedules", json=body)
        assert answer.status_code == 201, answer.text
        schedule_id = answer.json()["schedule_id"]
        assert isinstance(schedule_id, str)
        created.append(schedule_id)
        return schedule_id

    yield create
    for schedule_id in created:
        http.delete(f"/v1/schedules/{schedule_id}")


@pytest.fixture
def wait_run(http: httpx.Client) -> WaitRun:
    """Asks until a run has ended, and answers it; the test's own timeout bounds it."""

    def wait(run_id: str) -> Json:
        while True:
            run: Json = http.get(f"/v1/runs/{run_id}").json()
            if run["status"] in ENDED:
                return run

    return wait
