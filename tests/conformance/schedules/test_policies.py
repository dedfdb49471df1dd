"""What is due while a run goes on: every due time gives a run, or is skipped for a reason that can be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import Json, NewSchedule, WaitRun
from tests.conformance.schedules.receiver import WAIT_S, Receiver


@pytest.fixture
def release(receiver: Receiver) -> Iterator[threading.Event]:
    """Holds every request until it is set, which it is in the end."""
    event = threading.Event()

    def status() -> int:
        event.wait(WAIT_S)
        return 200

    receiver.status = status
    yield event
    event.set()


def items(http: httpx.Client, schedule_id: str, **query: str) -> list[Json]:
    answer = http.get(f"/v1/schedules/{schedule_id}/runs", params=query)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


@pytest.mark.endpoint("schedules", "GET /v1/schedules/{schedule_id}/runs")
def test_forbid_skips_what_is_due_and_says_why(
    http: httpx.Client, receiver: Receiver, release: threading.Event, new_schedule: NewSchedule
) -> None:
    target = {"type": "http", "url": receiver.url}
    schedule_id = new_schedule(cron="@every 1s", concurrency_policy="forbid", target=target)
    receiver.next_request()
    while not (skipped := items(http, schedule_id, status="skipped")):
        pass
    http.delete(f"/v1/schedules/{schedule_id}")
    [run] = items(http, schedule_id)
    assert run["trigger"] == "schedule"
    assert skipped[-1] == {
        "run_id": None,
        "schedule_id": schedule_id,
        "due_at_ms": run["due_at_ms"] + 1_000,
        "started_at_ms": None,
        "finished_at_ms": None,
        "status": "skipped",
        "attempt": 0,
        "trigger": "schedule",
        "last_error": None,
        "redrive_of": None,
        "redriven_by": None,
        "skip_reason": "another run goes on",
    }


def test_replace_cancels_the_run_that_goes_on(
    http: httpx.Client, receiver: Receiver, release: threading.Event, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    target = {"type": "http", "url": receiver.url}
    schedule_id = new_schedule(cron="@every 1s", concurrency_policy="replace", target=target)
    for _ in range(2):
        receiver.next_request()
    http.patch(f"/v1/schedules/{schedule_id}", json={"version": 1, "enabled": False})
    release.set()
    first = items(http, schedule_id)[-1]
    assert wait_run(first["run_id"])["status"] == "cancelled"
    assert first["run_id"] in {run["run_id"] for run in items(http, schedule_id, status="cancelled")}


@pytest.mark.parametrize(("policy", "refused"), [("allow", False), ("forbid", True), ("queue", True), ("replace", False)])
@pytest.mark.endpoint("schedules", "POST /v1/schedules/{schedule_id}:runNow")
def test_a_run_that_is_asked_for_obeys_the_policy_too(  # noqa: PLR0917 - what it takes is what it needs
    http: httpx.Client,
    receiver: Receiver,
    release: threading.Event,
    new_schedule: NewSchedule,
    wait_run: WaitRun,
    policy: str,
    refused: bool,
) -> None:
    path = f"/v1/schedules/{new_schedule(concurrency_policy=policy, target={'type': 'http', 'url': receiver.url})}"
    first = http.post(f"{path}:runNow").json()["run_id"]
    receiver.next_request()
    second = http.post(f"{path}:runNow")
    if refused:
        assert check_problem(second, 409)["state"] == "running"
    else:
        assert second.status_code == 202
        receiver.next_request()
    release.set()
    assert wait_run(first)["status"] == ("cancelled" if policy == "replace" else "succeeded")
    assert http.post(f"{path}:runNow").status_code == 202


def test_runs_are_filtered_by_status(
    http: httpx.Client, receiver: Receiver, release: threading.Event, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    schedule_id = new_schedule(target={"type": "http", "url": receiver.url})
    running = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    receiver.next_request()
    while not items(http, schedule_id, status="running"):
        pass
    assert [run["run_id"] for run in items(http, schedule_id, status="running")] == [running]
    for status in ("queued", "succeeded", "failed", "cancelled", "skipped"):
        assert items(http, schedule_id, status=status) == []
    release.set()
    wait_run(running)
    assert [run["run_id"] for run in items(http, schedule_id, status="succeeded")] == [running]
