"""The gateway's own paths: health, the OpenAPI document, its page."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml

from tests.processes import Stack

DOCUMENT = Path(__file__).parents[2] / "gateway" / "openapi.yaml"


def test_health(stack_url: str) -> None:
    answer = httpx.get(f"{stack_url}/api/v1/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy", "database": "connected"}


def test_the_document_is_served_as_committed(stack_url: str) -> None:
    answer = httpx.get(f"{stack_url}/openapi.yaml")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.text == DOCUMENT.read_text("utf-8")
    assert httpx.get(f"{stack_url}/openapi.json").json() == yaml.safe_load(answer.text)


def test_the_page_loads_nothing_from_elsewhere(stack_url: str) -> None:
    page = httpx.get(f"{stack_url}/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|unsafe|\*", policy)
    assert page.headers["x-content-type-options"] == "nosniff"
    for linked in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert linked.startswith("/"), linked
        assert httpx.get(stack_url + linked).status_code == 200
    script = httpx.get(f"{stack_url}/docs/docs.js").text
    assert "http://" not in script
    assert "https://" not in script
    assert "innerHTML" not in script


@pytest.mark.parametrize("path", ["/jobs", "/docs", "/openapi.yaml"])
def test_a_page_of_another_name_reaches_nothing_while_nobody_has_to_say_who_they_are(stack_url: str, path: str) -> None:
    answer = httpx.get(stack_url + path, headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "--trusted-hosts" in answer.text
    assert httpx.get(f"{stack_url}/api/v1/health", headers={"host": "evil.example"}).status_code == 200


def test_where_credentials_are_asked_for_names_do_not_matter(secured_stack: Stack) -> None:
    headers = {"host": "tasks.example.com"}
    assert httpx.get(f"{secured_stack.http_url}/jobs", headers=headers).status_code == 401
    headers["authorization"] = f"ApiKey {secured_stack.admin_key}"
    assert httpx.get(f"{secured_stack.http_url}/jobs", headers=headers).status_code == 200
