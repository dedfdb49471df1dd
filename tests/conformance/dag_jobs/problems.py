"""What every error of `dag_jobs` must look like."""

from __future__ import annotations

from typing import Any

import httpx


def check_problem(answer: httpx.Response, status: int, *fields: str) -> dict[str, Any]:
    """Assert that the answer is an RFC 9457 problem of this status that names these fields, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:foliot:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    assert problem["requestId"] == answer.headers["x-request-id"]
    named = [error["field"] for error in problem.get("errors", [])]
    assert set(fields) <= set(named), problem
    assert all(error["rule"] for error in problem.get("errors", []))
    return problem
