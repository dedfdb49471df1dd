from __future__ import annotations

import pytest

from foliot_gateway.http.routes import Routes


@pytest.fixture
def routes() -> Routes[str]:
    found: Routes[str] = Routes()
    for method, template in (
        ("GET", "/"),
        ("GET", "/jobs"),
        ("POST", "/jobs"),
        ("GET", "/jobs/{id}"),
        ("GET", "/jobs/{id}/tasks/{key}"),
        ("POST", "/jobs/batch"),
        ("GET", "/jobs/{id}/:run"),
        ("GET", "/{what}/status"),
    ):
        found.add(method, template, f"{method} {template}")
    return found


@pytest.mark.parametrize(
    ("method", "path", "what", "values"),
    [
        ("GET", "/", "GET /", {}),
        ("GET", "/jobs", "GET /jobs", {}),
        ("POST", "/jobs/", "POST /jobs", {}),
        ("GET", "/jobs/a", "GET /jobs/{id}", {"id": "a"}),
        ("POST", "/jobs/batch", "POST /jobs/batch", {}),
        ("GET", "/jobs/a%2Fb/tasks/c", "GET /jobs/{id}/tasks/{key}", {"id": "a%2Fb", "key": "c"}),
        ("GET", "/jobs/a/:run", "GET /jobs/{id}/:run", {"id": "a"}),
        ("GET", "/other/status", "GET /{what}/status", {"what": "other"}),
        ("GET", "/jobs/status", "GET /jobs/{id}", {"id": "status"}),
    ],
)
def test_what_is_at_a_path_is_found(routes: Routes[str], method: str, path: str, what: str, values: dict[str, str]) -> None:
    assert routes.find(method, path) == (what, values)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/jobs"),
        ("GET", "/job"),
        ("GET", "/jobs/a/b"),
        ("GET", "/jobs//tasks/c"),
        ("POST", "/jobs/a"),
        ("GET", "/jobs/batch"),
        ("GET", "/a/b/c/d/e"),
    ],
)
def test_nothing_is_found_elsewhere(routes: Routes[str], method: str, path: str) -> None:
    assert routes.find(method, path) is None


def test_two_cannot_be_at_one_path(routes: Routes[str]) -> None:
    with pytest.raises(AssertionError, match="two have GET /jobs"):
        routes.add("GET", "/jobs", "other")
