"""A client of the whole service, and jobs of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
NewJob = Callable[..., str]


@pytest.fixture
def http(stack_url: str) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with httpx.Client(base_url=stack_url, timeout=30) as client:
        yield client


@pytest.fixture
def new_job(http: httpx.Client) -> NewJob:
    """Creates a job and answers its id; keyword arguments are the body's fields."""

    def create(**fields: object) -> str:
        answer = http.post("/jobs", json={"name": "of a test", **fields})
        assert answer.status_code == 201, answer.text
        created = answer.json()["id"]
        assert isinstance(created, str)
        return created

    return create
