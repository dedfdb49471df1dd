"""What operators look at: health, metrics, statistics, executors."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.conformance.queue.conftest import Claim, NewJob, check_error
from tests.conformance.queue.test_jobs import TIME

SAMPLE = re.compile(r'[a-z_]+\{component="(gateway|scheduler)"(,[a-z]+="[^"]*")*\} -?[0-9.e+-]+|.*_bucket\{.*le="\+Inf"\} \d+')


@pytest.mark.endpoint("queue", "GET /api/v1/health")
def test_the_documented_health(http: httpx.Client) -> None:
    answer = http.get("/api/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy", "database": "connected"})


@pytest.mark.endpoint("queue", "GET /api/v1/metrics")
def test_metrics_of_gateway_and_scheduler_are_one_prometheus_text(http: httpx.Client) -> None:
    assert http.get("/api/v1/jobs").status_code == 200  # the gateway tells of requests that it has served
    answer = http.get("/api/v1/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    described = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(set(described)) == len(described)
    samples = [line for line in lines if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in samples), [line for line in samples if not SAMPLE.fullmatch(line)]
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)
    assert 'foliot_leader{component="scheduler"} 1' in samples
    assert 'foliot_gateway_scheduler_up{component="gateway"} 1' in samples
    assert any(line.startswith("foliot_gateway_request_duration_seconds_count{") for line in samples)


@pytest.mark.endpoint("queue", "GET /api/v1/admin/stats")
def test_the_documented_statistics(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    before = http.get("/api/v1/admin/stats").json()
    assert list(before) == ["jobs_by_status", "pending_by_priority", "active_executors"]
    http.delete(f"/api/v1/jobs/{new_job()}")
    for _ in range(4):
        new_job(priority="foreground")
    for verb in ("complete", "fail"):
        job_id = claim("counted")["id"]
        http.put(f"/api/v1/jobs/{job_id}/{verb}", json={"executor_id": "counted", "exit_code": 0})
    claim("counted")
    new_job(priority="background")
    new_job(priority="best_effort")
    http.post("/api/tasks", json={"name": "a command", "command": "true", "priority": 5})
    after = http.get("/api/v1/admin/stats").json()
    gained = {status: count - before["jobs_by_status"][status] for status, count in after["jobs_by_status"].items()}
    assert gained == {"pending": 3, "running": 1, "completed": 1, "failed": 1, "cancelled": 1}
    assert after["pending_by_priority"] == {"foreground": 1, "background": 1, "best_effort": 1}
    assert after["active_executors"] == len(http.get("/api/v1/admin/executors").json())


@pytest.mark.endpoint("queue", "GET /api/v1/admin/executors")
def test_the_documented_executors(http: httpx.Client, new_job: NewJob, claim: Claim) -> None:
    first, second = new_job(type="data-processing"), new_job()
    claim("busy")
    claim("done")
    http.put(f"/api/v1/jobs/{second}/complete", json={"executor_id": "done", "exit_code": 0})
    http.post("/api/v1/jobs/claim", json={"executor_id": "waiting"})
    shown = http.get("/api/v1/admin/executors").json()
    assert [one["executor_id"] for one in shown] == sorted(one["executor_id"] for one in shown)
    by_id = {one.pop("executor_id"): one for one in shown}
    assert all(TIME.fullmatch(by_id[name].pop("last_heartbeat")) for name in ("busy", "done", "waiting"))
    assert by_id["busy"] == {"current_job_id": first, "job_type": "data-processing", "jobs_completed": 0}
    assert by_id["done"] == {"current_job_id": None, "job_type": None, "jobs_completed": 1}
    assert by_id["waiting"] == {"current_job_id": None, "job_type": None, "jobs_completed": 0}


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/admin", "/api/v1/jobs/a/b/c"])
def test_an_unknown_path_is_404_in_this_shape(http: httpx.Client, path: str) -> None:
    check_error(http.get(path), 404)


def test_what_all_apis_refuse_is_refused_in_this_shape(http: httpx.Client) -> None:
    json = {"content-type": "application/json"}
    check_error(http.put("/api/v1/jobs", json={}), 405)
    check_error(http.post("/api/v1/jobs", content=b"{", headers=json), 400)
    check_error(http.post("/api/v1/jobs", content=b"{}", headers={"content-type": "text/plain"}), 415, "Content-Type")
    check_error(http.post("/api/v1/jobs", content=b"x" * 5_000_000, headers=json), 413)
    check_error(http.get("/api/v1/jobs", headers={"accept": "application/json; version=2.0"}), 406, "Accept")
    check_error(http.get("/api/v1/admin/stats?verbose=1"), 400, "verbose")
    assert http.get("/api/v1/jobs", headers={"accept": "application/json; version=1.0"}).status_code == 200
