"""What every error of `chadburn` must look like."""

from __future__ import annotations

from typing import Any

import httpx


def check_error(answer: httpx.Response, status: int, *fields: str) -> dict[str, Any]:
    """Assert that the answer is an error of this status that names these fields, and return what is inside of `error`."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) <= {"code", "message", "details"}
    assert error["code"]
    assert error["message"]
    named = error.get("details", {}).get("fields", [])
    assert set(fields) <= {one["field"] for one in named}, error
    assert all(one["rule"] for one in named)
    return error
