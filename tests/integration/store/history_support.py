"""Rows for tests about history: only what a test is about has to be named."""

from __future__ import annotations

from datetime import date
from typing import Any

from foliot_scheduler.store.partitions import day_bounds
from foliot_scheduler.store.pool import Connection, Pool

DAY_US = 86_400_000_000

_TASK = {
    "position": 0, "attempt": 1, "failed_attempts": 0, "lost_attempts": 0, "priority": 5, "project": "p", "kind": "command",
    "trigger_rule": "all_success", "queue": "default", "name": "t", "key": "", "error": "", "traceparent": "", "spec": b"",
}  # fmt: skip
_RUN = {"job_id": bytes(16), "job_version": 1, "cancelled": False, "project": "p", "trigger": "manual"}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "task": {**_TASK, "state": "ready", "created_at": 0, "updated_at": 0},
    "task_history": {
        **_TASK, "state": "succeeded", "created_at": 0, "updated_at": 0, "ended_at": 0, "output": b"", "error_output": b"",
    },
    "run": {**_RUN, "state": "running", "created_at": 0},
    "run_history": {**_RUN, "state": "succeeded", "created_at": 0, "ended_at": 0, "counts": "{}"},
    "attempt": {"number": 1, "ended_at": 0, "outcome": "failed", "worker_id": "w", "error": ""},
    "task_log": {"number": 1, "at": 0, "attempt": 1, "level": "info", "message": ""},
    "checkpoint": {"saved_at": 0, "attempt": 1, "checkpoint": "{}"},
    "job": {
        "version": 1, "created_at": 0, "updated_at": 0, "project": "p", "state": "active", "name": "j", "surface": "",
    },
    "job_version": {"version": 1, "created_at": 0, "spec": b""},
    "fire": {"skip_reason": "misfire"},
    "fire_span": {"cron": "@every 1s", "timezone": "UTC", "anchor": 0, "decided_at": 0, "skip_reason": "paused"},
    "audit_record": {"touched": 0, "project": "p", "actor": "", "role": "admin", "method": "m", "request_id": "", "ids": b""},
    "idempotency": {"project": "p", "digest": b"", "ids": b""},
    "api_key": {"created_at": 0, "requests_per_minute": 0, "project": "p", "role": "viewer", "name": "k", "hint": "fol_"},
    "webhook_delivery_history": {
        "webhook_id": bytes(16), "created_at": 0, "generation": 1, "attempts": 1, "status_code": 200, "state": "delivered",
        "event": "task.created", "error": "", "facts": "null",
    },
    "worker": {
        "registered_at": 0, "tasks_completed": 0, "tasks_failed": 0, "capacity": 1, "current_tasks": 0, "is_executor": False,
        "offline": True, "project": "", "hostname": "", "version": "", "queues": [], "kinds": [], "functions": [], "labels": "{}",
    },
}  # fmt: skip


async def insert(conn: Connection | Pool, table: str, **values: object) -> None:
    """Insert a row; ids are bytes and instants microseconds."""
    row = {**_DEFAULTS[table], **values}
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await conn.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())


def id_of(day: date, number: int = 0) -> bytes:
    """An id of a day: the first millisecond's, and so on."""
    first = int.from_bytes(day_bounds(day)[0], "big")
    return (first + (number << 80)).to_bytes(16, "big")
