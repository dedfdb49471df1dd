"""Whose things are whose, and who may do what: every operation of every API, where callers have to say who they are."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from tests.conformance.endpoints import Endpoint, each
from tests.processes import Stack

OPEN: Final = frozenset({"/api/v1/health"})
"""What everybody may know."""

EXECUTOR: Final = re.compile(r"/api/v1/jobs/(claim|[^/]+/(heartbeat|complete|fail))")
"""What worker credentials may do."""

ADMIN: Final = re.compile(r"/api/webhooks")
"""What only admins may do."""

SECRET_NAME: Final = "the-red-project-alone"
"""In the name of everything that the red project has."""


@dataclass
class World:
    """One project with one thing of each sort, and another with nothing."""

    url: str
    ids: dict[tuple[str, str], str]
    """What the red project has: by API and path parameter."""
    red: httpx.Client
    lesser: dict[str, httpx.Client]
    """Of the red project too, by role."""
    clients: dict[str, httpx.Client]
    """Of the blue project, by role."""

    def path(self, endpoint: Endpoint, value: Callable[[str, str], str]) -> str:
        """An operation's path with what `value` gives for each parameter."""
        return endpoint.prefix + re.sub(r"\{([^}]*)\}", lambda found: value(endpoint.api.name, found[1]), endpoint.operation.path)

    def red_path(self, endpoint: Endpoint) -> str:
        """An operation on what the red project has."""
        return self.path(endpoint, lambda api, name: self.ids[api, name])

    def strange_path(self, endpoint: Endpoint) -> str:
        """An operation on what nobody has, of the same look."""
        return self.path(endpoint, lambda api, name: like(self.ids[api, name]))


def like(text: str) -> str:
    """An identifier of the same look that nothing has."""
    found = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", text)
    if found is None:
        return f"no-{text}"
    strange = str(uuid.UUID(int=uuid.UUID(found[0]).int ^ 0xFF))
    return text.replace(found[0], strange)


@pytest.fixture(scope="module")
def world(secured_stack: Stack) -> Iterator[World]:
    def client(role: str, project: str) -> httpx.Client:
        headers = {"authorization": f"ApiKey {secured_stack.create_key(role, project)}"}
        return httpx.Client(base_url=secured_stack.http_url, headers=headers, timeout=30)

    with ExitStack() as closing:
        red = closing.enter_context(client("admin", "red"))
        lesser = {role: closing.enter_context(client(role, "red")) for role in ("viewer", "operator", "worker")}
        blue = {role: closing.enter_context(client(role, "blue")) for role in ("operator", "admin")}
        yield World(secured_stack.http_url, red_things(red), red, lesser, blue)


def red_things(red: httpx.Client) -> dict[tuple[str, str], str]:
    """Make one thing of each sort."""

    def made(path: str, body: object) -> Any:
        answer = red.post(path, json=body)
        assert answer.status_code in {200, 201, 202, 204}, answer.text
        return answer.json() if answer.content else None

    job = made("/jobs", {"name": SECRET_NAME, "tasks": [{"id": SECRET_NAME}]})["id"]
    task = made("/api/tasks", {"name": SECRET_NAME, "command": "sleep 0", "tags": [SECRET_NAME]})["data"]["id"]
    hook = made("/api/webhooks", {"url": f"http://127.0.0.1:1/{SECRET_NAME}", "events": ["worker.offline"]})["data"]["id"]
    delivery = made(f"/api/webhooks/{hook}/test", {})["data"]["id"]
    cron = {"name": SECRET_NAME, "schedule": "@yearly", "command": "true"}
    chadburn = made("/chadburn/api/v1/jobs", cron)["data"]["id"]
    target = {"type": "http", "url": f"http://127.0.0.1:1/{SECRET_NAME}"}
    schedule = made("/v1/schedules", {"name": SECRET_NAME, "cron": "@yearly", "target": target})["schedule_id"]
    run = made(f"/v1/schedules/{schedule}:runNow", {})["run_id"]
    binary = {"type": SECRET_NAME, "binary_url": "http://127.0.0.1:1/x", "binary_sha256": "0" * 64, "priority": "background"}
    queued = made("/api/v1/jobs", binary)["id"]
    made("/api/v1/jobs/claim", {"executor_id": SECRET_NAME, "executor_ip": "127.0.0.1"})
    return {
        ("dag_jobs", "id"): job,
        ("dag_jobs", "taskId"): SECRET_NAME,
        ("tasks", "id"): task,
        ("tasks", "worker_id"): SECRET_NAME,
        ("tasks", "webhook_id"): hook,
        ("tasks", "delivery_id"): delivery,
        ("chadburn", "id"): chadburn,
        ("schedules", "schedule_id"): schedule,
        ("schedules", "run_id"): run,
        ("queue", "id"): queued,
    }


def body_of(endpoint: Endpoint) -> dict[str, Any]:
    return {} if endpoint.operation.method == "GET" else {"json": endpoint.body}


@each(lambda one: "{" in one.operation.path)
def test_what_another_project_has_is_as_if_it_were_not(world: World, endpoint: Endpoint) -> None:
    method = endpoint.operation.method
    for role in ("operator", "admin") if not ADMIN.match(endpoint.operation.path) else ("admin",):
        blue = world.clients[role]
        foreign = blue.request(method, world.red_path(endpoint), **body_of(endpoint))
        strange = blue.request(method, world.strange_path(endpoint), **body_of(endpoint))
        assert foreign.status_code == strange.status_code == 404, foreign.text
        assert SECRET_NAME not in foreign.text.replace(world.red_path(endpoint), "").replace(SECRET_NAME, "", 1)
        assert set(foreign.headers) == set(strange.headers)


@each(lambda one: "{" not in one.operation.path and one.operation.method == "GET")
def test_what_another_project_has_is_in_no_list(world: World, endpoint: Endpoint) -> None:
    answer = world.clients["admin"].get(endpoint.path)
    assert answer.status_code in {200, 403}, answer.text
    assert SECRET_NAME not in answer.text
    for (_, name), thing in world.ids.items():
        assert name in {"taskId", "worker_id"} or thing not in answer.text


@each(lambda one: one.operation.path not in OPEN)
def test_nobody_without_a_credential_gets_anywhere(world: World, endpoint: Endpoint) -> None:
    for headers in ({}, {"authorization": "ApiKey fol_wrong"}, {"authorization": "Bearer x.y.z"}):
        answer = httpx.request(
            endpoint.operation.method, world.url + world.red_path(endpoint), headers=headers, **body_of(endpoint)
        )
        assert answer.status_code == 401, answer.text
        assert "www-authenticate" in answer.headers
        assert SECRET_NAME not in answer.text.replace(world.red_path(endpoint), "")


@each(lambda one: one.operation.method != "GET")
def test_a_viewer_changes_nothing(world: World, endpoint: Endpoint) -> None:
    body = (
        {"json": {"job_ids": [world.ids["queue", "id"]]}}
        if endpoint.operation.path.endswith("bulk/cancel")
        else body_of(endpoint)
    )
    answer = world.lesser["viewer"].request(endpoint.operation.method, world.red_path(endpoint), **body)
    assert answer.status_code == 403, answer.text


@each(lambda one: one.operation.path not in OPEN)
def test_a_worker_does_nothing_but_work(world: World, endpoint: Endpoint) -> None:
    answer = world.lesser["worker"].request(endpoint.operation.method, world.red_path(endpoint), **body_of(endpoint))
    if EXECUTOR.fullmatch(endpoint.operation.path) and endpoint.api.name == "queue":
        assert answer.status_code in {204, 400, 404}, answer.text
    else:
        assert answer.status_code == 403, answer.text


@each(lambda one: ADMIN.match(one.operation.path) is not None)
def test_webhooks_are_for_admins(world: World, endpoint: Endpoint) -> None:
    for role in ("operator", "viewer"):
        answer = world.lesser[role].request(endpoint.operation.method, world.red_path(endpoint), **body_of(endpoint))
        assert answer.status_code == 403, answer.text


def test_the_same_idempotency_key_means_something_else_in_another_project(world: World) -> None:
    headers = {"idempotency-key": "one-key"}
    body = {"name": "keyed", "command": "true"}
    red = world.red.post("/api/tasks", json=body, headers=headers).json()["data"]["id"]
    blue = world.clients["operator"].post("/api/tasks", json={**body, "name": "other"}, headers=headers)
    assert blue.status_code == 201
    assert blue.json()["data"]["id"] != red
    assert world.red.post("/api/tasks", json=body, headers=headers).json()["data"]["id"] == red


def test_a_task_cannot_wait_for_another_projects(world: World) -> None:
    body = {"name": "waits", "command": "true", "dependencies": [world.ids["tasks", "id"]]}
    assert world.clients["operator"].post("/api/tasks", json=body).status_code == 422


def test_what_others_tried_has_changed_nothing(world: World) -> None:
    for api, name, path in (
        ("dag_jobs", "id", "/jobs/"),
        ("tasks", "id", "/api/tasks/"),
        ("tasks", "webhook_id", "/api/webhooks/"),
        ("chadburn", "id", "/chadburn/api/v1/jobs/"),
        ("schedules", "schedule_id", "/v1/schedules/"),
        ("queue", "id", "/api/v1/jobs/"),
    ):
        answer = world.red.get(path + world.ids[api, name])
        assert answer.status_code == 200
        assert SECRET_NAME in answer.text
