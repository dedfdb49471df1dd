"""What every error of `tasks` must look like."""

from __future__ import annotations

import re
from typing import Any

import httpx


def check_error(answer: httpx.Response, status: int, *fields: str, code: str = "") -> dict[str, Any]:
    """Assert that the answer is a documented error of this status that names these fields, and return its details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert set(error) <= {"code", "message", "details"}
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error["code"])
    assert not code or error["code"] == code
    assert error["message"]
    details: dict[str, Any] = error.get("details", {})
    named = [fault["field"] for fault in details.get("fields", [])]
    assert set(fields) <= set(named), body
    assert all(set(fault) == {"field", "rule"} and fault["rule"] for fault in details.get("fields", []))
    return details
