"""The examples of the OpenAPI document, which are the document's own."""

from __future__ import annotations

JOB_ID = "550e8400-e29b-41d4-a716-446655440000"
OTHER_ID = "660e8400-e29b-41d4-a716-446655440001"
EXECUTOR_ID = "worker-1-abc123"
_EXECUTOR_IP = "192.168.1.100"
_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_CREATED_AT, _STARTED_AT, _ENDED_AT = "2024-01-01T12:00:00Z", "2024-01-01T12:01:00Z", "2024-01-01T12:02:00Z"

NEW_JOB: dict[str, object] = {
    "type": "data-processing",
    "binary_url": "https://example.com/binary",
    "binary_sha256": _SHA256,
    "arguments": ["arg1", "arg2"],
    "env_variables": {"KEY1": "value1", "KEY2": "value2"},
    "priority": "background",
}
SUBMITTED: dict[str, object] = {
    "id": JOB_ID,
    "type": "data-processing",
    "status": "pending",
    "created_at": _CREATED_AT,
}
JOBS: list[object] = [
    {
        "id": JOB_ID,
        "type": "data-processing",
        "status": "running",
        "priority": "background",
        "executor_id": EXECUTOR_ID,
        "created_at": _CREATED_AT,
        "started_at": _STARTED_AT,
    }
]
JOB: dict[str, object] = {
    "id": JOB_ID,
    "type": "data-processing",
    "binary_url": "https://example.com/binary",
    "binary_sha256": _SHA256,
    "arguments": ["arg1", "arg2"],
    "env_variables": {"KEY1": "******"},
    "priority": "background",
    "status": "completed",
    "executor_id": EXECUTOR_ID,
    "stdout": "Job output...",
    "stderr": "",
    "exit_code": 0,
    "created_at": _CREATED_AT,
    "started_at": _STARTED_AT,
    "completed_at": _ENDED_AT,
    "attempts": [
        {
            "executor_id": EXECUTOR_ID,
            "executor_ip": _EXECUTOR_IP,
            "started_at": _STARTED_AT,
            "ended_at": _ENDED_AT,
            "status": "completed",
        }
    ],
}
TOKEN = "4294967341"  # noqa: S105 - no secret: it names a claim
CLAIM: dict[str, object] = {"executor_id": EXECUTOR_ID, "executor_ip": _EXECUTOR_IP}
CLAIMED: dict[str, object] = {
    **JOB,
    "env_variables": {"KEY1": "value1"},
    "status": "running",
    "stdout": "",
    "exit_code": None,
    "completed_at": None,
    "attempts": [
        {
            "executor_id": EXECUTOR_ID,
            "executor_ip": _EXECUTOR_IP,
            "started_at": _STARTED_AT,
            "ended_at": None,
            "status": "running",
        }
    ],
    "token": TOKEN,
}
HEARTBEAT: dict[str, object] = {"executor_id": EXECUTOR_ID}
COMPLETE: dict[str, object] = {"executor_id": EXECUTOR_ID, "stdout": "Job output...", "stderr": "", "exit_code": 0}
FAIL: dict[str, object] = {
    "executor_id": EXECUTOR_ID,
    "stdout": "Partial output...",
    "stderr": "Error messages...",
    "exit_code": 1,
    "error_message": "Binary execution failed",
}
STATS: dict[str, object] = {
    "jobs_by_status": {"pending": 10, "running": 5, "completed": 100, "failed": 2, "cancelled": 1},
    "pending_by_priority": {"foreground": 2, "background": 5, "best_effort": 3},
    "active_executors": 3,
}
EXECUTORS: list[object] = [
    {
        "executor_id": EXECUTOR_ID,
        "current_job_id": JOB_ID,
        "job_type": "data-processing",
        "last_heartbeat": "2024-01-01T12:01:30Z",
        "jobs_completed": 42,
    }
]
NEW_JOBS: list[object] = [
    {"type": "job-1", "binary_url": "https://example.com/binary1", "binary_sha256": _SHA256, "priority": "background"},
    {"type": "job-2", "binary_url": "https://example.com/binary2", "binary_sha256": _SHA256, "priority": "foreground"},
]
SUBMITTED_JOBS: list[object] = [{"id": JOB_ID, "status": "pending"}, {"id": OTHER_ID, "status": "pending"}]
CANCEL_JOBS: dict[str, object] = {"job_ids": [JOB_ID, OTHER_ID]}
CANCELLED_JOBS: dict[str, object] = {"cancelled": 2, "failed": 0, "errors": []}
METRICS = """\
# HELP foliot_leases_open Leases that workers hold. Unit: leases.
# TYPE foliot_leases_open gauge
foliot_leases_open{component="scheduler"} 3
"""
