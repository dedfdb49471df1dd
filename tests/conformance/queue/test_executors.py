"""Jobs as executors claim, keep, complete and fail them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conformance.queue.conftest import BODY, SHA256, Claim, NewJob, NewTask, check_error
from tests.conformance.queue.test_jobs import NOBODY, TIME

ME, OTHER = "worker-1-abc123", "worker-2-def456"
MIB = 1024 * 1024


def complete(http: httpx.Client, job_id: str, **fields: object) -> httpx.Response:
    return http.put(f"/api/v1/jobs/{job_id}/complete", json={"executor_id": ME, **fields})


def fail(http: httpx.Client, job_id: str, **fields: object) -> httpx.Response:
    return http.put(f"/api/v1/jobs/{job_id}/fail", json={"executor_id": ME, **fields})


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_a_claim_answers_the_job_with_the_environment_it_needs(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job(arguments=["arg1", "arg2"], env_variables={"KEY1": "value1"})
    job = claim()
    assert job["env_variables"] == {"KEY1": "value1"}
    assert TIME.fullmatch(job["started_at"])
    (attempt,) = job["attempts"]
    assert attempt == {
        "executor_id": ME,
        "executor_ip": "192.168.1.100",
        "started_at": job["started_at"],
        "ended_at": None,
        "status": "running",
    }
    assert (job["status"], job["executor_id"]) == ("running", ME)
    # The document's example shows the value to whoever asks, and says that a claim answers the same. Environments hold passwords,
    # and no caller of a list or a look has a use for them: the executor that is to run the job is told, and nobody else.
    assert job.pop("token").isdigit()
    assert http.get(f"/api/v1/jobs/{job_id}").json() == {**job, "env_variables": {"KEY1": "******"}}


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/heartbeat")
@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/complete")
@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/fail")
def test_who_quotes_the_token_of_a_claim_cannot_touch_another(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    token = claim()["token"]
    for stale in (str(int(token) - 1), "1", "9" * 20):
        report = {"executor_id": ME, "token": stale}
        assert check_error(http.put(f"/api/v1/jobs/{job_id}/heartbeat", json=report), 404)["code"] == "not_running"
        for verb in ("complete", "fail"):
            context = check_error(http.put(f"/api/v1/jobs/{job_id}/{verb}", json=report), 400)
            assert context["code"] == "wrong_executor"
    for malformed in ("", "0", "-1", "1.5", "x", 7):
        check_error(http.put(f"/api/v1/jobs/{job_id}/complete", json={"executor_id": ME, "token": malformed}), 400, "token")
    report = {"executor_id": ME, "token": token}
    assert http.put(f"/api/v1/jobs/{job_id}/heartbeat", json=report).status_code == 200
    assert http.put(f"/api/v1/jobs/{job_id}/complete", json=report).json() == {"id": job_id, "status": "completed"}


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_with_no_job_pending_a_claim_is_204(http: httpx.Client) -> None:
    answer = http.post("/api/v1/jobs/claim", json={"executor_id": ME, "executor_ip": "192.168.1.100"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_foreground_comes_first_and_the_oldest_of_each(new_job: NewJob, claim: Claim) -> None:
    order = ("best_effort", "background", "foreground", "best_effort", "background", "foreground")
    made = [(priority, new_job(priority=priority)) for priority in order]
    wanted = [job_id for name in ("foreground", "background", "best_effort") for priority, job_id in made if priority == name]
    assert [claim()["id"] for _ in made] == wanted


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_only_binary_tasks_on_their_own_are_claimed(http: httpx.Client, claim: Claim, new_task: NewTask) -> None:
    http.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 10})
    binary = {"url": "https://example.com/binary", "sha256": SHA256}
    job = http.post("/jobs", json={"name": "a DAG", "tasks": [{"id": "step", "binary": binary, "priority": 10}]}).json()["id"]
    assert http.post(f"/jobs/{job}/trigger").status_code == 202
    assert http.post("/api/v1/jobs/claim", json={"executor_id": ME}).status_code == 204
    assert http.get("/api/v1/jobs", params={"status": "pending"}).json() == []
    alone = new_task("alone", priority=1)
    assert claim()["id"] == alone


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "executor_id"), ({"executor_id": ""}, "executor_id"), ({"executor_id": "x" * 256}, "executor_id"),
     ({"executor_id": "a", "executor_ip": "x" * 256}, "executor_ip"), ({"executor_id": "a", "queue": "b"}, "queue"),
     ({"executor_id": "ü" * 200}, "executor_id")],
)  # fmt: skip
def test_a_claim_says_who_claims(http: httpx.Client, body: dict[str, object], field: str) -> None:
    check_error(http.post("/api/v1/jobs/claim", json=body), 400, field)


@pytest.mark.endpoint("queue", "POST /api/v1/jobs/claim")
def test_sixteen_executors_claim_two_thousand_jobs_each_exactly_once(http: httpx.Client) -> None:
    submitted: list[str] = []
    for _ in range(2):
        answer = http.post("/api/v1/jobs/bulk", json=[{**BODY, "type": "raced"}] * 1_000)
        submitted += [job["id"] for job in answer.json()]

    def claim_all(executor: int) -> list[str]:
        claimed: list[str] = []
        with httpx.Client(base_url=http.base_url, timeout=60) as client:
            while True:
                answer = client.post("/api/v1/jobs/claim", json={"executor_id": f"racer-{executor}"})
                if answer.status_code == 204:
                    return claimed
                assert answer.status_code == 200, answer.text
                claimed.append(answer.json()["id"])

    with ThreadPoolExecutor(16) as threads:
        by_executor = list(threads.map(claim_all, range(16)))
    claims = Counter(job_id for claimed in by_executor for job_id in claimed)
    assert set(claims.values()) == {1}
    assert claims.keys() == set(submitted)
    owners = {job_id: f"racer-{executor}" for executor, claimed in enumerate(by_executor) for job_id in claimed}
    running: list[dict[str, Any]] = []
    for offset in (0, 1_000):
        running += http.get("/api/v1/jobs", params={"type": "raced", "limit": 1_000, "offset": offset}).json()
    assert {job["id"]: job["executor_id"] for job in running} == owners


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/heartbeat")
def test_a_heartbeat_is_taken_from_the_claimer_of_a_running_job(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()

    def beat(executor_id: str, target: str = job_id) -> httpx.Response:
        return http.put(f"/api/v1/jobs/{target}/heartbeat", json={"executor_id": executor_id})

    check_error(beat(ME), 404)
    claim()
    answer = beat(ME)
    assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "running"})
    check_error(beat(OTHER), 404)
    check_error(beat(ME, NOBODY), 404)
    check_error(beat(ME, "nonsense"), 404)
    complete(http, job_id)
    check_error(beat(ME), 404)
    check_error(http.put(f"/api/v1/jobs/{job_id}/heartbeat", json={}), 400, "executor_id")


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/complete")
def test_the_documented_completion(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    answer = complete(http, job_id, stdout="Job output...", stderr="", exit_code=0)
    assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "completed"})
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert list(job) == [
        "id", "type", "binary_url", "binary_sha256", "arguments", "env_variables", "priority", "status", "executor_id", "stdout",
        "stderr", "exit_code", "created_at", "started_at", "completed_at", "attempts",
    ]  # fmt: skip
    assert (job["status"], job["stdout"], job["stderr"], job["exit_code"]) == ("completed", "Job output...", "", 0)
    assert job["completed_at"] >= job["started_at"] >= job["created_at"]
    (attempt,) = job["attempts"]
    assert attempt == {
        "executor_id": ME,
        "executor_ip": "192.168.1.100",
        "started_at": job["started_at"],
        "ended_at": job["completed_at"],
        "status": "completed",
    }


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/complete")
def test_a_job_is_completed_whatever_its_exit_code(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    assert complete(http, job_id, exit_code=3).status_code == 200
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert (job["status"], job["exit_code"]) == ("completed", 3)


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/fail")
def test_the_documented_failure_which_is_not_tried_again(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    answer = fail(
        http, job_id, stdout="Partial output...", stderr="Error messages...", exit_code=1, error_message="Binary execution failed"
    )
    assert (answer.status_code, answer.json()) == (200, {"id": job_id, "status": "failed"})
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert (job["status"], job["exit_code"], job["error_message"]) == ("failed", 1, "Binary execution failed")
    assert (job["stdout"], job["stderr"]) == ("Partial output...", "Error messages...")
    assert [attempt["status"] for attempt in job["attempts"]] == ["failed"]
    assert http.post("/api/v1/jobs/claim", json={"executor_id": ME}).status_code == 204


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/complete")
@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/fail")
@pytest.mark.parametrize("verb", ["complete", "fail"])
def test_a_job_is_ended_once_and_by_its_claimer_alone(http: httpx.Client, new_job: NewJob, claim: Claim, verb: str) -> None:
    job_id = new_job()

    def end(executor_id: str, target: str = job_id) -> httpx.Response:
        return http.put(f"/api/v1/jobs/{target}/{verb}", json={"executor_id": executor_id, "exit_code": 0})

    assert check_error(end(ME), 400)["status"] == "pending"
    claim()
    assert check_error(end(OTHER), 400)["code"] == "wrong_executor"
    assert end(ME).status_code == 200
    assert check_error(end(ME), 400)["status"] in {"completed", "failed"}
    assert check_error(end(ME, NOBODY), 404)["job_id"] == NOBODY
    check_error(end(ME, "nonsense"), 404)
    command = http.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 5})
    check_error(end(ME, command.json()["data"]["id"].removeprefix("task-")), 404)


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/complete")
def test_output_past_a_mebibyte_is_cut_and_its_last_line_says_so(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    assert complete(http, job_id, stdout="x" * (2 * MIB), stderr="y" * MIB).status_code == 200
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert len(job["stdout"].encode()) == MIB
    assert job["stdout"].splitlines()[-1] == f"[cut: {2 * MIB} bytes in all]"
    assert job["stderr"] == "y" * MIB


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/fail")
def test_output_is_any_text_that_json_carries(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    job_id = new_job()
    claim()
    assert fail(http, job_id, stdout="a\0b\x1b[0m", stderr="ü\N{GRINNING FACE}", exit_code=None).status_code == 200
    job = http.get(f"/api/v1/jobs/{job_id}").json()
    assert (job["stdout"], job["stderr"], job["exit_code"]) == ("a\0b\x1b[0m", "ü\N{GRINNING FACE}", None)


@pytest.mark.endpoint("queue", "PUT /api/v1/jobs/{id}/fail")
@pytest.mark.parametrize(
    ("field", "value"),
    [("exit_code", "1"), ("exit_code", 2**31), ("error_message", "x" * 8_193), ("error_message", "ü" * 5_000), ("stdout", 7),
     ("result", "x")],
)  # fmt: skip
def test_a_report_that_breaks_a_rule_is_400_and_ends_nothing(
    http: httpx.Client, new_job: NewJob, claim: Claim, field: str, value: object
) -> None:
    job_id = new_job()
    claim()
    check_error(fail(http, job_id, **{field: value}), 400, field)
    assert http.get(f"/api/v1/jobs/{job_id}").json()["status"] == "running"
