"""The examples of the OpenAPI document: those of the document that this API follows."""

from __future__ import annotations

SCHEDULE_ID = "sch_0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b.p_1"
RUN_ID = "run_0192f0c2-1b2c-7d3e-9f40-1a2b3c4d5e6f.p_1"
NEXT_RUN_ID = "run_0192f0c3-2c3d-7e4f-a051-2b3c4d5e6f70.p_1"
CURSOR = "Zm9saW90LWN1cnNvcg"

TARGET: dict[str, object] = {
    "type": "http",
    "url": "https://internal.api/jobs/invoice",
    "method": "POST",
    "headers": {"X-Job": "invoice"},
    "body": {"mode": "daily"},
    "timeout_ms": 5000,
    "auth": {"type": "service_token", "ref": "secret://invoice-token"},
}
RETRY: dict[str, object] = {"max_attempts": 5, "backoff_ms": 500, "max_backoff_ms": 60000}
NEW_SCHEDULE: dict[str, object] = {
    "project_id": "p_1",
    "name": "daily-invoice",
    "cron": "0 9 * * *",
    "timezone": "Europe/Belgrade",
    "enabled": True,
    "concurrency_policy": "forbid",
    "misfire_policy": "skip",
    "max_jitter_ms": 1000,
    "target": TARGET,
    "retry": RETRY,
}
STATUS: dict[str, object] = {
    "schedule_id": SCHEDULE_ID,
    "status": "enabled",
    "next_run_at_ms": 1735200000000,
    "version": 1,
}
SCHEDULE: dict[str, object] = {
    **STATUS,
    **NEW_SCHEDULE,
    "created_at_ms": 1735100000000,
    "updated_at_ms": 1735100000000,
}
CHANGE: dict[str, object] = {"version": 1, "enabled": False}
CHANGED: dict[str, object] = {
    **SCHEDULE,
    "status": "disabled",
    "enabled": False,
    "next_run_at_ms": None,
    "version": 2,
    "updated_at_ms": 1735100060000,
}
DELETED: dict[str, object] = {**STATUS, "status": "deleted", "next_run_at_ms": None, "version": 3}
RUN: dict[str, object] = {
    "run_id": RUN_ID,
    "schedule_id": SCHEDULE_ID,
    "due_at_ms": 1735200000000,
    "started_at_ms": 1735200000500,
    "finished_at_ms": 1735200001200,
    "status": "succeeded",
    "attempt": 1,
    "trigger": "schedule",
    "last_error": None,
    "redrive_of": None,
    "redriven_by": None,
}
RUN_DETAILS: dict[str, object] = {
    **RUN,
    "attempts": [
        {
            "attempt": 1,
            "status": "succeeded",
            "started_at_ms": 1735200000500,
            "finished_at_ms": 1735200001200,
            "error": None,
        }
    ],
}
DEAD_LETTER: dict[str, object] = {
    **RUN,
    "status": "failed",
    "attempt": 5,
    "last_error": "HTTP status 503 Service Unavailable",
}
