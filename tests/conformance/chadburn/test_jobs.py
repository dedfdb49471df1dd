"""What the document leaves to decide: schedules, secrets, partial changes, what is listed, both places."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conformance.chadburn.conftest import NEVER, Json, NewJob
from tests.conformance.chadburn.errors import check_error
from tests.conformance.chadburn.test_documented import BACKUP, wait_ended
from tests.processes import Stack


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "30 */5 * * * *", "@hourly", "@daily", "@every 90s"])
@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs")
def test_every_form_of_schedule_is_taken(new_job: NewJob, schedule: str) -> None:
    job = new_job(schedule=schedule)
    assert (job["schedule"], job["status"]) == (schedule, "active")
    assert job["next_run"] is not None


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_a_job_runs_by_its_schedule(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(schedule="@every 1s", command='echo "$GREETING from $(pwd)"', environment={"GREETING": "hello"},
                     working_directory="/")["id"]  # fmt: skip
    execution = wait_ended(chadburn, job_id)
    chadburn.delete(f"/api/v1/jobs/{job_id}")
    assert (execution["status"], execution["output"]) == ("success", "hello from /")


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"schedule": "@hourly"},
        {"command": "echo other"},
        {"tags": []},
        {"timeout": 1},
        {"retries": 0},
        {"retry_delay": 0},
        {"retries": 99, "retry_delay": 86_400, "timeout": 2_592_000},
        {"working_directory": "/tmp"},
        {"working_directory": None},
    ],
)
def test_a_change_leaves_what_it_does_not_name(chadburn: httpx.Client, new_job: NewJob, change: dict[str, Any]) -> None:
    before = new_job(**BACKUP)
    answer = chadburn.put(f"/api/v1/jobs/{before['id']}", json=change)
    assert answer.status_code == 200, answer.text
    after = answer.json()["data"]
    for job in (before, after):
        del job["updated_at"], job["next_run"]
    assert after == {**before, **change}


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
def test_a_status_and_a_field_change_together_or_not_at_all(chadburn: httpx.Client, new_job: NewJob) -> None:
    path = f"/api/v1/jobs/{new_job(schedule='@daily')['id']}"
    check_error(chadburn.put(path, json={"status": "paused", "schedule": "nonsense"}), 422, "schedule")
    assert chadburn.get(path).json()["data"]["status"] == "active"
    paused = chadburn.put(path, json={"status": "paused"}).json()["data"]
    assert (paused["status"], paused["next_run"]) == ("paused", None)
    active = chadburn.put(path, json={"status": "active", "schedule": "@hourly"}).json()["data"]
    assert (active["status"], active["schedule"], active["next_run"] is None) == ("active", "@hourly", False)


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
def test_changes_at_the_same_time_are_all_made(chadburn: httpx.Client, new_job: NewJob) -> None:
    created = new_job(environment={"A": "kept"})
    path = f"/api/v1/jobs/{created['id']}"
    changes: list[Json] = [{"timeout": 7}, {"retries": 5}, {"command": "echo $A"}]
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda change: chadburn.put(path, json=change), changes))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    chadburn.post(f"{path}/run")
    assert wait_ended(chadburn, created["id"])["output"] == "kept"
    settings = chadburn.put(path, json={"name": "of all"}).json()["data"]
    assert (settings["timeout"], settings["retries"]) == (7, 5)


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
def test_an_answer_can_be_sent_back(chadburn: httpx.Client, new_job: NewJob) -> None:
    created = new_job(**BACKUP)
    path = f"/api/v1/jobs/{created['id']}"
    for whole in (created, chadburn.get(path).json()["data"]):
        answer = chadburn.put(path, json=whole)
        assert answer.status_code == 200, answer.text
        changed = {"updated_at", "next_run"}
        sent_back = {name: value for name, value in answer.json()["data"].items() if name not in changed}
        assert sent_back == {name: value for name, value in created.items() if name not in changed}
    check_error(chadburn.put(path, json={"id": "job-other", "name": "x"}), 422, "id")


@pytest.mark.endpoint("chadburn", "PUT /api/v1/jobs/{id}")
def test_environment_values_are_never_shown_and_kept_by_their_mask(chadburn: httpx.Client, new_job: NewJob) -> None:
    job = new_job(command='echo "$KEPT,$CHANGED,$ADDED,$GONE"', environment={"KEPT": "one", "CHANGED": "two", "GONE": "three"})
    path = f"/api/v1/jobs/{job['id']}"
    assert job["environment"] == {"KEPT": "******", "CHANGED": "******", "GONE": "******"}
    change = {"environment": {"KEPT": "******", "CHANGED": "2", "ADDED": "4"}}
    answer = chadburn.put(path, json=change)
    assert answer.json()["data"]["environment"] == {"KEPT": "******", "CHANGED": "******", "ADDED": "******"}
    chadburn.put(path, json={"name": "another change keeps them too"})
    chadburn.post(f"{path}/run")
    assert wait_ended(chadburn, job["id"])["output"] == "one,2,4,"
    check_error(chadburn.put(path, json={"environment": {"NEW": "******"}}), 422, "environment['NEW']")
    check_error(chadburn.post("/api/v1/jobs", json={**BACKUP, "environment": {"A": "******"}}), 422, "environment['A']")


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_a_command_that_takes_too_long_fails_and_is_tried_again(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(command="echo started; echo going on >&2; exec sleep 100", timeout=1, retries=1, retry_delay=0)["id"]
    chadburn.post(f"/api/v1/jobs/{job_id}/run")
    execution = wait_ended(chadburn, job_id)
    assert (execution["status"], execution["retry_count"], execution["output"]) == ("failure", 1, "started")
    assert execution["duration"] >= 1
    assert "1 s" in execution["error"]


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}")
@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_an_execution_in_progress(chadburn: httpx.Client, main: httpx.Client, new_job: NewJob) -> None:
    path = f"/api/v1/jobs/{new_job(command='exec sleep 100')['id']}"
    chadburn.post(f"{path}/run")
    while chadburn.get(path).json()["data"]["last_run"]["started_at"] is None:
        pass
    last_run = chadburn.get(path).json()["data"]["last_run"]
    assert (last_run["status"], last_run["finished_at"], last_run["exit_code"], last_run["output"]) == (
        "in_progress", None, None, "",
    )  # fmt: skip
    [execution] = chadburn.get(f"{path}/executions", params={"status": "in_progress"}).json()["data"]
    assert (execution["duration"], execution["error"], execution["retry_count"]) == (None, None, 0)
    assert chadburn.get(f"{path}/executions", params={"status": "failure"}).json()["data"] == []
    task = main.get("/api/tasks", params={"status": "running"}).json()["data"]
    for one in task:
        main.post(f"/api/tasks/{one['id']}/cancel")
    execution = wait_ended(chadburn, path.rpartition("/")[2])
    assert (execution["status"], bool(execution["error"])) == ("failure", True)


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs/{id}/executions")
def test_executions_are_filtered_and_paged(chadburn: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job(command="true")["id"]
    path = f"/api/v1/jobs/{job_id}"
    ids = []
    for command in ("true", "false", "true"):
        chadburn.put(path, json={"command": command})
        ids.append(chadburn.post(f"{path}/run").json()["data"]["execution_id"])
        wait_ended(chadburn, job_id)
    for status, wanted in (("success", [ids[2], ids[0]]), ("failure", [ids[1]]), ("in_progress", [])):
        page = chadburn.get(f"{path}/executions", params={"status": status}).json()
        assert [execution["id"] for execution in page["data"]] == wanted
        assert page["pagination"] == {"total": len(wanted), "limit": 10, "offset": 0}
    page = chadburn.get(f"{path}/executions", params={"limit": 1, "offset": 1}).json()
    assert [execution["id"] for execution in page["data"]] == [ids[1]]
    assert page["pagination"] == {"total": 3, "limit": 1, "offset": 1}


async def complete(database_url: str, job_id: str) -> None:
    """Write a job's row as it is once the calendar has come to its end, which no test can wait for."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE job SET next_due_at = NULL, fires_at = NULL WHERE id = $1", job_id)
    await connection.close()


def statuses(chadburn: httpx.Client, tag: str, **query: str) -> dict[str, str]:
    page = chadburn.get("/api/v1/jobs", params={"tag": tag, **query}).json()
    assert page["pagination"]["total"] == len(page["data"])
    return {job["name"]: job["status"] for job in page["data"]}


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs")
def test_jobs_are_listed_by_status(chadburn: httpx.Client, stack: Stack, new_job: NewJob) -> None:
    tag = "of test_jobs_are_listed_by_status"
    new_job(name="goes", tags=[tag])
    chadburn.post(f"/api/v1/jobs/{new_job(name='stands', tags=[tag])['id']}/pause")
    done = new_job(name="is done", tags=[tag, "other"])["id"].removeprefix("job-")
    asyncio.run(complete(stack.database_url, done))
    everything = {"goes": "active", "stands": "paused", "is done": "completed"}
    assert statuses(chadburn, tag) == everything
    for name, status in everything.items():
        assert statuses(chadburn, tag, status=status) == {name: status}
    assert statuses(chadburn, "other") == {"is done": "completed"}
    assert chadburn.get(f"/api/v1/jobs/job-{done}").json()["data"]["next_run"] is None
    check_error(chadburn.put(f"/api/v1/jobs/{new_job()['id']}", json={"status": "completed"}), 422, "status")


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs")
def test_long_lists_come_in_one_answer(chadburn: httpx.Client, new_job: NewJob) -> None:
    tag = "of test_long_lists"
    names = [f"number {number}" for number in range(205)]
    for name in names:
        new_job(name=name, tags=[tag])
    for limit, offset in ((1_000, 0), (150, 0), (150, 3), (100, 200)):
        page = chadburn.get("/api/v1/jobs", params={"tag": tag, "limit": limit, "offset": offset}).json()
        assert [job["name"] for job in page["data"]] == names[::-1][offset : offset + limit]
        assert page["pagination"] == {"total": 205, "limit": limit, "offset": offset}


@pytest.mark.endpoint("chadburn", "GET /api/v1/jobs")
def test_what_other_apis_make_is_listed_where_it_is_a_cron_job(chadburn: httpx.Client, main: httpx.Client) -> None:
    command: Json = {"id": "run", "command": {"line": "echo hello", "environment": {"A": "secret"}}}
    forms: dict[str, Json] = {
        "a cron job": {"schedule": NEVER, "tasks": [command], "retryPolicy": {"type": "ON_FAILURE", "maxRetries": 4}},
        "not by schedule": {"tasks": [command]},
        "two tasks": {"schedule": NEVER, "tasks": [command, {"id": "next"}]},
        "a request": {"schedule": NEVER, "tasks": [{"id": "call", "http": {"url": "http://127.0.0.1:1/"}}]},
    }
    ids = {name: main.post("/jobs", json={"name": name, **form}).json()["id"] for name, form in forms.items()}
    listed = {job["id"]: job for job in chadburn.get("/api/v1/jobs", params={"limit": 1_000}).json()["data"]}
    assert [name for name, job_id in ids.items() if job_id in listed] == ["a cron job"]
    path = f"/api/v1/jobs/{ids.pop('a cron job')}"
    assert chadburn.get(path).json()["data"]["command"] == "echo hello"
    changed = chadburn.put(path, json={"timeout": 60}).json()["data"]
    assert (changed["retries"], changed["retry_delay"], changed["environment"]) == (4, 1, {"A": "******"})
    task = main.get(f"/jobs/{changed['id']}").json()["tasks"][0]
    assert (task["id"], task["timeoutSeconds"], task["retryPolicy"]) == ("run", 60, None)
    for job_id in ids.values():
        check_error(chadburn.get(f"/api/v1/jobs/{job_id}"), 404)
        check_error(chadburn.put(f"/api/v1/jobs/{job_id}", json={"name": "x"}), 404)
        check_error(chadburn.post(f"/api/v1/jobs/{job_id}/run"), 404)
        check_error(chadburn.delete(f"/api/v1/jobs/{job_id}"), 404)


def test_both_places_are_one_api(chadburn: httpx.Client, main: httpx.Client) -> None:
    answer = main.post("/chadburn/api/v1/jobs", json=BACKUP)
    assert answer.status_code == 201
    job_id = answer.json()["data"]["id"]
    assert main.get(f"/jobs/{job_id}").json()["name"] == "backup-database"
    for path in ("", "/executions"):
        own, below = chadburn.get(f"/api/v1/jobs/{job_id}{path}"), main.get(f"/chadburn/api/v1/jobs/{job_id}{path}")
        assert (own.status_code, own.json()) == (below.status_code, below.json())
    assert main.delete(f"/chadburn/api/v1/jobs/{job_id}").status_code == 200
    check_error(chadburn.get(f"/api/v1/jobs/{job_id}"), 404)


@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs")
@pytest.mark.endpoint("chadburn", "POST /api/v1/jobs/{id}/run")
def test_an_idempotency_key_counts_once(chadburn: httpx.Client, new_job: NewJob) -> None:
    tag = "of test_an_idempotency_key_counts_once"
    body = {"name": "once", "schedule": NEVER, "command": "true", "tags": [tag]}
    headers = {"Idempotency-Key": tag}
    first, second = (chadburn.post("/api/v1/jobs", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    check_error(chadburn.post("/api/v1/jobs", json={**body, "name": "twice"}, headers=headers), 422)
    assert statuses(chadburn, tag) == {"once": "active"}
    path = f"/api/v1/jobs/{first.json()['data']['id']}"
    runs = [chadburn.post(f"{path}/run", headers={"Idempotency-Key": path}).json() for _ in range(2)]
    assert runs[0] == runs[1]
    assert chadburn.get(f"{path}/executions").json()["pagination"]["total"] == 1
