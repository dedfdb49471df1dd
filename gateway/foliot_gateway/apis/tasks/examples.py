"""The examples of the OpenAPI document: those of the documentation, with ids as they look here."""

from __future__ import annotations

TASK_ID = "task-0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"
_FIRST_ID = "task-0192f0c0-11a2-7d10-b3c4-2f6e8d9a0b1c"
_SECOND_ID = "task-0192f0c0-5e21-7f9a-9d03-6a7b8c9d0e1f"

NEW_TASK: dict[str, object] = {
    "name": "Example Task",
    "description": "This is an example task",
    "command": "echo 'Hello World'",
    "priority": 5,
    "max_retries": 3,
    "scheduled_at": "2026-06-15T12:00:00Z",
    "timeout_seconds": 3600,
    "tags": ["example", "demo"],
    "dependencies": [_FIRST_ID, _SECOND_ID],
    "checkpoint_enabled": True,
}
TASK: dict[str, object] = {
    "id": TASK_ID,
    "name": "Example Task",
    "description": "This is an example task",
    "command": "echo 'Hello World'",
    "status": "pending",
    "priority": 5,
    "retry_count": 0,
    "max_retries": 3,
    "created_at": "2026-06-15T10:00:00Z",
    "updated_at": "2026-06-15T10:00:00Z",
    "scheduled_at": "2026-06-15T12:00:00Z",
    "started_at": None,
    "completed_at": None,
    "timeout_seconds": 3600,
    "tags": ["example", "demo"],
    "dependencies": [_FIRST_ID, _SECOND_ID],
    "worker_id": None,
    "result": None,
    "error": None,
    "checkpoint_data": None,
    "checkpoint_enabled": True,
}
TASK_CHANGE: dict[str, object] = {
    "name": "Updated Task Name",
    "description": "Updated task description",
    "priority": 8,
    "max_retries": 5,
    "scheduled_at": "2026-06-16T12:00:00Z",
    "timeout_seconds": 7200,
    "tags": ["updated", "example"],
}
CHANGED_TASK: dict[str, object] = {**TASK, **TASK_CHANGE, "updated_at": "2026-06-15T11:30:00Z"}
TASKS: dict[str, object] = {"data": [TASK], "meta": {"page": 1, "limit": 20, "total": 1, "pages": 1}}
DELETED: dict[str, object] = {"data": {"success": True, "message": "Task deleted successfully"}}
CANCELLED: dict[str, object] = {"data": {"id": TASK_ID, "status": "cancelled", "updated_at": "2026-06-15T11:45:00Z"}}
RETRIED: dict[str, object] = {
    "data": {"id": TASK_ID, "status": "pending", "retry_count": 1, "updated_at": "2026-06-15T11:50:00Z"}
}
LOGS: dict[str, object] = {
    "data": [
        {"timestamp": "2026-06-15T12:01:05Z", "level": "info", "message": "Processing step 1"},
        {"timestamp": "2026-06-15T12:01:10Z", "level": "error", "message": "Error in step 2: File not found"},
    ],
    "meta": {"limit": 100, "offset": 0, "total": 2},
}
CHECKPOINT: dict[str, object] = {
    "checkpoint_data": {
        "current_step": 3,
        "processed_items": 150,
        "last_processed_id": "item-789",
        "custom_data": {"key1": "value1", "key2": "value2"},
    }
}
CHECKPOINTED: dict[str, object] = {"data": {"id": TASK_ID, **CHECKPOINT, "updated_at": "2026-06-15T12:15:00Z"}}

WORKER_ID = "worker-001"
_WORKER: dict[str, object] = {
    "id": WORKER_ID,
    "hostname": "worker-pod-1",
    "status": "active",
    "tasks_completed": 42,
    "tasks_failed": 3,
    "current_tasks": 2,
}
_WORKER_REST: dict[str, object] = {
    "last_heartbeat": "2026-06-15T12:20:00Z",
    "registered_at": "2026-06-01T00:00:00Z",
    "version": "1.0.0",
    "tags": ["general"],
}
WORKERS: dict[str, object] = {
    "data": [{**_WORKER, **_WORKER_REST}],
    "meta": {"page": 1, "limit": 20, "total": 1, "pages": 1},
}
WORKER: dict[str, object] = {
    "data": {
        **_WORKER,
        "current_task_ids": [_FIRST_ID, _SECOND_ID],
        **_WORKER_REST,
        "resources": {"cpu_usage": 0.45, "memory_usage": 0.32, "disk_usage": 0.15},
    }
}
WORKER_TASKS: dict[str, object] = {
    "data": [
        {
            "id": _SECOND_ID,
            "name": "Example Task 2",
            "status": "running",
            "started_at": "2026-06-15T12:15:00Z",
            "priority": 8,
        }
    ],
    "meta": {"page": 1, "limit": 20, "total": 1, "pages": 1},
}
SYSTEM_STATUS: dict[str, object] = {
    "data": {
        "status": "healthy",
        "version": "1.0.0",
        "uptime": 1_209_600,
        "components": {
            "api_server": {"status": "healthy", "instance_count": 3},
            "scheduler": {"status": "healthy", "leader_id": "scheduler-0@127.0.0.1:7070", "instance_count": 2},
            "workers": {"status": "healthy", "active_count": 5, "idle_count": 2, "offline_count": 0},
            "database": {"status": "healthy", "connection_count": 25},
            "redis": {"status": "healthy", "memory_usage": 0.35},
        },
        "task_stats": {"pending": 15, "running": 8, "completed_today": 142, "failed_today": 3},
        "queue_depths": {"high_priority": 2, "normal_priority": 10, "low_priority": 3},
    }
}
METRICS: dict[str, object] = {
    "data": {
        "task_completion_rate": [
            {"timestamp": "2026-06-15T11:58:00Z", "value": 12},
            {"timestamp": "2026-06-15T11:59:00Z", "value": 15},
        ],
        "error_rate": [
            {"timestamp": "2026-06-15T11:58:00Z", "value": 0.02},
            {"timestamp": "2026-06-15T11:59:00Z", "value": 0.01},
        ],
        "average_execution_time": [
            {"timestamp": "2026-06-15T11:58:00Z", "value": 45.2},
            {"timestamp": "2026-06-15T11:59:00Z", "value": 42.8},
        ],
    },
    "meta": {"period": "hour", "start_time": "2026-06-15T11:00:00Z", "end_time": "2026-06-15T11:59:00Z"},
}

WEBHOOK_ID = "webhook-0192f0c4-3d4e-7f50-8162-3c4d5e6f7081"
DELIVERY_ID = "0192f0c5-4e5f-7061-9273-4d5e6f708192"
NEW_WEBHOOK: dict[str, object] = {"url": "https://hooks.example.com/foliot", "events": ["task.completed", "task.failed"]}
WEBHOOK: dict[str, object] = {
    "id": WEBHOOK_ID,
    "url": "https://hooks.example.com/foliot",
    "description": None,
    "events": ["task.completed", "task.failed"],
    "enabled": True,
    "disabled_reason": None,
    "created_at": "2026-06-15T10:00:00Z",
    "updated_at": "2026-06-15T10:00:00Z",
}
WEBHOOKS: dict[str, object] = {"data": [WEBHOOK], "meta": {"page": 1, "limit": 20, "total": 1, "pages": 1}}
CREATED_WEBHOOK: dict[str, object] = {"data": {**WEBHOOK, "secret": "whsec_c2VjcmV0IG9mIGFuIGV4YW1wbGUsIG5vdCBvZiBhbnlib2R5"}}
_DELIVERY: dict[str, object] = {
    "id": DELIVERY_ID,
    "webhook_id": WEBHOOK_ID,
    "event": "task.completed",
    "status": "delivered",
    "attempts": 1,
    "status_code": 204,
    "error": None,
    "created_at": "2026-06-15T12:30:00Z",
    "next_attempt_at": None,
    "completed_at": "2026-06-15T12:30:00.120Z",
    "payload": {
        "event": "task.completed",
        "timestamp": "2026-06-15T12:30:00Z",
        "task": {
            "id": TASK_ID,
            "name": "Example Task",
            "status": "completed",
            "result": "Task executed successfully",
            "started_at": "2026-06-15T12:00:00Z",
            "completed_at": "2026-06-15T12:30:00Z",
        },
    },
}
DELIVERIES: dict[str, object] = {"data": [_DELIVERY], "meta": {"page": 1, "limit": 20, "total": 1, "pages": 1}}
TEST_DELIVERY: dict[str, object] = {
    **_DELIVERY,
    "event": "webhook.test",
    "status": "pending",
    "attempts": 0,
    "status_code": None,
    "next_attempt_at": "2026-06-15T12:30:00Z",
    "completed_at": None,
    "payload": {"event": "webhook.test", "timestamp": "2026-06-15T12:30:00Z"},
}
