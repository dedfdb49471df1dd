"""Lists are walked by cursor: every item once, whatever the page's size."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.dag_jobs.problems import check_problem
from tests.conformance.schedules.conftest import Json, NewSchedule


def walk(http: httpx.Client, path: str, limit: int, **parameters: str) -> list[Json]:
    """Follow the cursors from the first page to the last."""
    found: list[Json] = []
    query: dict[str, str | int] = {**parameters, "limit": limit}
    while True:
        answer = http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        query["cursor"] = page["next_cursor"]


@pytest.mark.endpoint("schedules", "GET /v1/schedules")
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_schedules(http: httpx.Client, new_schedule: NewSchedule, limit: int) -> None:
    project = f"p_pages_{limit}"
    ids = [new_schedule(project_id=project, name=f"number {number}") for number in range(4)]
    assert [item["schedule_id"] for item in walk(http, "/v1/schedules", limit, project_id=project)] == ids[::-1]


@pytest.mark.endpoint("schedules", "GET /v1/schedules/{schedule_id}/runs")
def test_runs(http: httpx.Client, new_schedule: NewSchedule) -> None:
    path = f"/v1/schedules/{new_schedule(target={'type': 'http', 'url': 'http://127.0.0.1:1/'})}"
    ids = [http.post(f"{path}:runNow").json()["run_id"] for _ in range(5)]
    for limit in (1, 2, 5):
        assert [item["run_id"] for item in walk(http, f"{path}/runs", limit)] == ids[::-1]


def test_a_cursor_is_good_for_its_own_list_alone(http: httpx.Client, new_schedule: NewSchedule) -> None:
    for _ in range(2):
        new_schedule(project_id="p_cursor")
    page = http.get("/v1/schedules", params={"project_id": "p_cursor", "limit": 1}).json()
    runs = f"/v1/schedules/{new_schedule()}/runs"
    check_problem(http.get(runs, params={"cursor": page["next_cursor"]}), 400, "cursor")
