"""The examples of the OpenAPI document: those of the document that this API follows."""

from __future__ import annotations

JOB_ID = "job-0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"
EXECUTION_ID = "exec-0192f0c2-1b2c-7d3e-9f40-1a2b3c4d5e6f"
_COMMAND = "pg_dump -U postgres mydb > /backups/mydb.sql"
_CREATED_AT = "2026-01-01T00:00:00Z"
_NEXT_RUN = "2026-01-03T00:00:00Z"

NEW_JOB: dict[str, object] = {
    "name": "backup-database",
    "schedule": "0 0 * * *",
    "command": _COMMAND,
    "tags": ["backup", "database"],
    "timeout": 3600,
    "retries": 3,
    "retry_delay": 300,
    "environment": {"PGPASSWORD": "secret"},
    "working_directory": "/opt/backups",
}
SUMMARY: dict[str, object] = {
    "id": JOB_ID,
    "name": "backup-database",
    "schedule": "0 0 * * *",
    "command": _COMMAND,
    "status": "active",
    "tags": ["backup", "database"],
    "created_at": _CREATED_AT,
    "updated_at": _CREATED_AT,
}
JOB: dict[str, object] = {
    **SUMMARY,
    "last_run": {
        "status": "success",
        "started_at": "2026-01-02T00:00:00.012Z",
        "finished_at": "2026-01-02T00:00:05.204Z",
        "exit_code": 0,
        "output": "Database backup completed successfully",
    },
    "next_run": _NEXT_RUN,
}
SETTINGS: dict[str, object] = {
    **SUMMARY,
    "timeout": 3600,
    "retries": 3,
    "retry_delay": 300,
    "environment": {"PGPASSWORD": "******"},
    "working_directory": "/opt/backups",
    "next_run": _NEXT_RUN,
}
CHANGE: dict[str, object] = {
    "name": "backup-database-daily",
    "schedule": "0 0 * * *",
    "command": "pg_dump -U postgres mydb > /backups/mydb-$(date +%Y%m%d).sql",
    "status": "paused",
    "tags": ["backup", "database", "daily"],
    "timeout": 7200,
}
CHANGED: dict[str, object] = {**SETTINGS, **CHANGE, "updated_at": "2026-01-03T12:34:56Z", "next_run": None}
EXECUTION: dict[str, object] = {
    "id": EXECUTION_ID,
    "job_id": JOB_ID,
    "status": "failure",
    "started_at": "2026-01-02T00:00:00.012Z",
    "finished_at": "2026-01-02T00:00:02.204Z",
    "duration": 2,
    "exit_code": 1,
    "output": "",
    "error": "pg_dump: could not connect to database",
    "retry_count": 3,
}
