"""Without authentication a schedule may be of any project, and its id says which."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import NewSchedule, WaitRun


@pytest.mark.endpoint("schedules", "GET /v1/schedules")
def test_lists_hold_one_project_alone(http: httpx.Client, new_schedule: NewSchedule) -> None:
    one, other, nobodys = new_schedule(project_id="p_one"), new_schedule(project_id="p_other"), new_schedule()
    for project, wanted in (({"project_id": "p_one"}, one), ({"project_id": "p_other"}, other), ({}, nobodys)):
        listed = [item["schedule_id"] for item in http.get("/v1/schedules", params={**project, "limit": 100}).json()["items"]]
        assert wanted in listed
        assert not {one, other, nobodys} - {wanted} & set(listed) or {one, other, nobodys} & set(listed) == {wanted}


def test_an_id_is_of_its_project_alone(http: httpx.Client, new_schedule: NewSchedule, wait_run: WaitRun) -> None:
    schedule_id = new_schedule(project_id="p_one")
    run_id = http.post(f"/v1/schedules/{schedule_id}:runNow").json()["run_id"]
    assert wait_run(run_id)["schedule_id"] == schedule_id
    bare, _, project = schedule_id.partition(".")
    assert project == "p_one"
    for other in (bare, f"{bare}.p_other"):
        check_problem(http.get(f"/v1/schedules/{other}"), 404)
        check_problem(http.post(f"/v1/schedules/{other}:runNow"), 404)
    check_problem(http.get(f"/v1/runs/{run_id.partition('.')[0]}"), 404)


@pytest.mark.parametrize("project", ["p_1", "a", "team.eu-1", "ops@example.com", "~x", "x" * 100])
def test_project_names(http: httpx.Client, new_schedule: NewSchedule, project: str) -> None:
    schedule = http.get(f"/v1/schedules/{new_schedule(project_id=project)}").json()
    assert schedule["project_id"] == project
    assert schedule["schedule_id"].endswith(f".{project}")
