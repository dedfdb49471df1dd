"""Clients of both places where Chadburn is, and jobs of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.processes import Stack

Json = dict[str, Any]
NewJob = Callable[..., Json]

NEVER = "0 0 29 2 *"
"""A schedule that does not fire while a test runs."""


@pytest.fixture
def chadburn(stack: Stack) -> Iterator[httpx.Client]:
    """A client of Chadburn's own listener, where it is at its documented paths."""
    with httpx.Client(base_url=stack.chadburn_url, timeout=30) as client:
        yield client


@pytest.fixture
def main(stack_url: str) -> Iterator[httpx.Client]:
    """A client of the main listener, where Chadburn is below a prefix."""
    with httpx.Client(base_url=stack_url, timeout=30) as client:
        yield client


@pytest.fixture
def new_job(chadburn: httpx.Client) -> NewJob:
    """Creates a job and answers it; keyword arguments are the body's fields."""

    def create(**fields: object) -> Json:
        answer = chadburn.post("/api/v1/jobs", json={"name": "of a test", "schedule": NEVER, "command": "true", **fields})
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()["data"]
        return created

    return create
