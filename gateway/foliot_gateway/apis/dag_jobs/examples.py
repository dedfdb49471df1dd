"""The examples of the OpenAPI document: a small pipeline, as it is created and as it is answered."""

from __future__ import annotations

JOB_ID = "job-0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"
EXECUTION_ID = "exec-0192f0c2-1b2c-7d3e-9f40-1a2b3c4d5e6f"
_CREATED_AT = "2026-03-01T08:00:00Z"
_NEXT_RUN_AT = "2026-03-02T05:00:00Z"

RETRY_POLICY: dict[str, object] = {
    "type": "ON_FAILURE",
    "maxRetries": 2,
    "backoffSeconds": 5.0,
    "backoffMultiplier": 2.0,
    "maxBackoffSeconds": 60.0,
}
NEW_JOB: dict[str, object] = {
    "name": "daily-report",
    "description": "Counts yesterday's orders and mails the report.",
    "schedule": "0 6 * * *",
    "timezone": "Europe/Vienna",
    "retryPolicy": {"type": "ON_FAILURE", "maxRetries": 2, "backoffSeconds": 5},
    "tasks": [
        {"id": "extract", "command": "python extract.py"},
        {
            "id": "report",
            "name": "Write the report",
            "dependencies": ["extract"],
            "function": {"name": "write_report", "input": {"format": "pdf"}},
            "timeoutSeconds": 600,
            "priority": 8,
        },
    ],
    "metadata": {"team": "orders"},
}
_EXTRACT: dict[str, object] = {
    "id": "extract",
    "name": "extract",
    "dependencies": [],
    "command": "python extract.py",
    "retryPolicy": None,
    "timeoutSeconds": 3600.0,
    "priority": 5,
    "triggerRule": "ALL_SUCCESS",
}
_REPORT: dict[str, object] = {
    "id": "report",
    "name": "Write the report",
    "dependencies": ["extract"],
    "function": {"name": "write_report", "input": {"format": "pdf"}},
    "retryPolicy": None,
    "timeoutSeconds": 600.0,
    "priority": 8,
    "triggerRule": "ALL_SUCCESS",
}
_COMMON: dict[str, object] = {
    "id": JOB_ID,
    "name": "daily-report",
    "description": "Counts yesterday's orders and mails the report.",
    "status": "ACTIVE",
    "schedule": "0 6 * * *",
    "timezone": "Europe/Vienna",
    "nextRunAt": _NEXT_RUN_AT,
    "version": 1,
    "createdAt": _CREATED_AT,
    "updatedAt": _CREATED_AT,
}
JOB: dict[str, object] = {
    **_COMMON,
    "retryPolicy": RETRY_POLICY,
    "tasks": [_EXTRACT, _REPORT],
    "dag": {
        "nodes": ["extract", "report"],
        "edges": [["extract", "report"]],
        "levels": [["extract"], ["report"]],
    },
    "metadata": {"team": "orders"},
}
JOBS: list[object] = [{**_COMMON, "taskCount": 2}]
JOB_CHANGE: dict[str, object] = {"schedule": "30 6 * * *", "version": 1}
TASKS: list[object] = [{**_EXTRACT, "dependents": ["report"]}, {**_REPORT, "dependents": []}]
NEW_TASK: dict[str, object] = {
    "id": "mail",
    "name": "Mail the report",
    "dependencies": ["report"],
    "http": {"url": "https://mail.example.com/send", "method": "POST", "body": {"to": "orders@example.com"}},
}
TASK_CHANGE: dict[str, object] = {"timeoutSeconds": 900, "priority": 10}
EXECUTION: dict[str, object] = {
    "executionId": EXECUTION_ID,
    "status": "RUNNING",
    "startedAt": "2026-03-01T08:05:00.120Z",
    "finishedAt": None,
    "tasks": [
        {"id": "extract", "status": "SUCCEEDED", "attempts": 1, "error": None},
        {"id": "report", "status": "RUNNING", "attempts": 2, "error": "exit status 1"},
    ],
}
HISTORY: list[object] = [
    {
        "executionId": EXECUTION_ID,
        "status": "SUCCEEDED",
        "trigger": "SCHEDULE",
        "startedAt": "2026-03-01T05:00:00.031Z",
        "finishedAt": "2026-03-01T05:00:42.500Z",
        "durationMs": 42_469,
    }
]
