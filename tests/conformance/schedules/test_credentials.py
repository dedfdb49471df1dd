"""Whose a schedule is where callers have to say who they are: their own project's, whatever they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.processes import Stack

BODY = {"name": "secured", "cron": "@yearly", "target": {"type": "http", "url": "http://127.0.0.1:1/"}}
As = Callable[[str, str], httpx.Client]


@pytest.fixture
def caller(secured_stack: Stack) -> Iterator[As]:
    """Makes clients with a key of a role in a project."""
    clients: list[httpx.Client] = []

    def create(role: str, project: str) -> httpx.Client:
        headers = {"authorization": f"ApiKey {secured_stack.create_key(role, project)}"}
        clients.append(httpx.Client(base_url=secured_stack.http_url, headers=headers, timeout=30))
        return clients[-1]

    yield create
    for client in clients:
        client.close()


@pytest.mark.endpoint("schedules", "POST /v1/schedules")
@pytest.mark.endpoint("schedules", "GET /v1/schedules")
@pytest.mark.endpoint("schedules", "GET /v1/dlq")
def test_another_projects_name_is_403(caller: As) -> None:
    one = caller("operator", "p_own")
    own = one.post("/v1/schedules", json={**BODY, "project_id": "p_own"})
    assert own.status_code == 201
    unnamed = one.post("/v1/schedules", json=BODY)
    assert one.get(f"/v1/schedules/{unnamed.json()['schedule_id']}").json()["project_id"] == "p_own"
    check_problem(one.post("/v1/schedules", json={**BODY, "project_id": "p_2"}), 403)
    for path in ("/v1/schedules", "/v1/dlq"):
        assert one.get(path, params={"project_id": "p_own"}).json() == one.get(path).json()
        check_problem(one.get(path, params={"project_id": "p_2"}), 403)
    assert len(one.get("/v1/schedules").json()["items"]) == 2


def test_another_projects_ids_are_404(caller: As) -> None:
    one, two = caller("operator", "p_1"), caller("operator", "p_2")
    schedule_id = one.post("/v1/schedules", json=BODY).json()["schedule_id"]
    run_id = one.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    for foreign in (schedule_id, schedule_id.partition(".")[0]):
        path = f"/v1/schedules/{foreign}"
        check_problem(two.get(path), 404)
        check_problem(two.get(f"{path}/runs"), 404)
        check_problem(two.patch(path, json={"version": 1, "enabled": False}), 404)
        check_problem(two.delete(path), 404)
        check_problem(two.post(f"{path}:runNow"), 404)
    for foreign in (run_id, run_id.partition(".")[0]):
        check_problem(two.get(f"/v1/runs/{foreign}"), 404)
        check_problem(two.post(f"/v1/dlq/{foreign}:redrive"), 404)
    assert one.get(f"/v1/schedules/{schedule_id}").json()["version"] == 1
    assert one.get(f"/v1/schedules/{schedule_id.partition('.')[0]}").status_code == 200


def test_a_viewer_reads_and_changes_nothing(caller: As) -> None:
    operator, viewer = caller("operator", "p_viewed"), caller("viewer", "p_viewed")
    schedule_id = operator.post("/v1/schedules", json=BODY).json()["schedule_id"]
    path = f"/v1/schedules/{schedule_id}"
    assert viewer.get(path).json() == operator.get(path).json()
    assert len(viewer.get("/v1/schedules").json()["items"]) == 1
    check_problem(viewer.post("/v1/schedules", json=BODY), 403)
    check_problem(viewer.patch(path, json={"version": 1, "enabled": False}), 403)
    check_problem(viewer.delete(path), 403)
    check_problem(viewer.post(f"{path}:runNow"), 403)
    assert operator.get(path).json()["status"] == "enabled"


def test_a_key_for_every_project_names_which(caller: As) -> None:
    admin = caller("admin", "*")
    schedule_id = admin.post("/v1/schedules", json={**BODY, "project_id": "p_any"}).json()["schedule_id"]
    assert admin.get(f"/v1/schedules/{schedule_id}").json()["project_id"] == "p_any"
    assert [item["schedule_id"] for item in admin.get("/v1/schedules?project_id=p_any").json()["items"]] == [schedule_id]


def test_no_credentials_and_wrong_ones_are_401(secured_stack: Stack) -> None:
    for headers in ({}, {"authorization": "ApiKey wrong"}):
        answer = httpx.get(f"{secured_stack.http_url}/v1/schedules", headers=headers, timeout=30)
        check_problem(answer, 401)
        assert "www-authenticate" in answer.headers
        for url in (f"{secured_stack.chadburn_url}/api/v1/jobs", f"{secured_stack.http_url}/chadburn/api/v1/jobs"):
            refused = httpx.get(url, headers=headers, timeout=30)
            assert (refused.status_code, set(refused.json())) == (401, {"error"})
