"""The gateway's own paths: health, the OpenAPI document, its page."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import yaml

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
