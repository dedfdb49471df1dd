"""Runs that exhausted their retries wait among the dead letters until they are redriven."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import Json, NewSchedule, WaitRun
from tests.conformance.schedules.receiver import Receiver
from tests.conformance.schedules.test_pages import walk

RETRY = {"max_attempts": 2, "backoff_ms": 1, "max_backoff_ms": 1}


def dead_letters(http: httpx.Client, project: str) -> list[Json]:
    return walk(http, "/v1/dlq", 100, project_id=project)


@pytest.mark.endpoint("schedules", "GET /v1/dlq")
@pytest.mark.endpoint("schedules", "POST /v1/dlq/{run_id}:redrive")
def test_a_dead_letter_is_redriven(http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun) -> None:
    receiver.status = lambda: 503
    schedule_id = new_schedule(project_id="p_dlq", target={"type": "http", "url": receiver.url}, retry=RETRY)
    run_id = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    failed = wait_run(run_id)
    assert (failed["status"], failed["attempt"]) == ("failed", 2)
    del failed["attempts"]
    answer = http.get("/v1/dlq?project_id=p_dlq&limit=50")
    assert answer.status_code == 200
    assert answer.json() == {"items": [failed], "next_cursor": None}
    assert "503" in failed["last_error"]
    receiver.status = lambda: 200
    answer = http.post(f"/v1/dlq/{run_id}:redrive")
    assert answer.status_code == 202
    redriven = answer.json()
    assert redriven == {"run_id": redriven["run_id"], "status": "queued"}
    assert redriven["run_id"] != run_id
    run = wait_run(redriven["run_id"])
    assert (run["status"], run["trigger"], run["redrive_of"]) == ("succeeded", "redrive", run_id)
    assert dead_letters(http, "p_dlq") == []
    assert http.get(f"/v1/runs/{run_id}").json()["redriven_by"] == redriven["run_id"]
    check_problem(http.post(f"/v1/dlq/{run_id}:redrive"), 409)
    check_problem(http.post(f"/v1/dlq/{redriven['run_id']}:redrive"), 409)


def test_a_redrive_that_fails_again_is_a_dead_letter_of_its_own(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    receiver.status = lambda: 500
    schedule_id = new_schedule(project_id="p_again", target={"type": "http", "url": receiver.url})
    run_id = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    wait_run(run_id)
    headers = {"Idempotency-Key": run_id}
    first, second = (http.post(f"/v1/dlq/{run_id}:redrive", headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    wait_run(first.json()["run_id"])
    assert [run["run_id"] for run in dead_letters(http, "p_again")] == [first.json()["run_id"]]


@pytest.mark.endpoint("schedules", "GET /v1/dlq")
def test_dead_letters_are_walked_by_cursor(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    receiver.status = lambda: 500
    schedule_id = new_schedule(project_id="p_many", target={"type": "http", "url": receiver.url})
    ids = [http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"] for _ in range(3)]
    for run_id in ids:
        wait_run(run_id)
    for limit in (1, 2, 3):
        assert [run["run_id"] for run in walk(http, "/v1/dlq", limit, project_id="p_many")] == ids[::-1]


def test_a_run_that_succeeded_is_no_dead_letter(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    schedule_id = new_schedule(project_id="p_well", target={"type": "http", "url": receiver.url})
    run_id = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    wait_run(run_id)
    assert dead_letters(http, "p_well") == []
    check_problem(http.post(f"/v1/dlq/{run_id}:redrive"), 409)


def test_a_dead_letter_of_a_deleted_schedule_stays_readable_and_is_not_redriven(
    http: httpx.Client, receiver: Receiver, new_schedule: NewSchedule, wait_run: WaitRun
) -> None:
    receiver.status = lambda: 500
    schedule_id = new_schedule(project_id="p_gone", target={"type": "http", "url": receiver.url})
    run_id = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    wait_run(run_id)
    http.delete(f"/v1/schedules/{schedule_id}")
    assert [run["run_id"] for run in dead_letters(http, "p_gone")] == [run_id]
    assert http.get(f"/v1/runs/{run_id}").json()["status"] == "failed"
    check_problem(http.post(f"/v1/dlq/{run_id}:redrive"), 409)
