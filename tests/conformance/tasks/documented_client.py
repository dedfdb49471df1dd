"""A client of the tasks API, written from its documentation alone: what it relies on is what is documented."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]


class ApiError(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, body: Json) -> None:
        error = body["error"]
        super().__init__(error["message"])
        self.status = status
        self.code: str = error["code"]
        self.details: Json = error.get("details") or {}


class TasksClient:
    """The documented endpoints, one method each; each returns the answer's `data`, lists also its `meta`."""

    def __init__(self, base_url: str, api_key: str = "your-api-key") -> None:
        headers = {"Authorization": f"ApiKey {api_key}", "Accept": "application/json; version=1.0"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def list_tasks(self, **params: Any) -> tuple[list[Json], Json]:
        return self._list("/tasks", params)

    def get_task(self, task_id: str) -> Json:
        return self._one("GET", f"/tasks/{task_id}")

    def create_task(self, **fields: Any) -> Json:
        return self._one("POST", "/tasks", fields)

    def update_task(self, task_id: str, **fields: Any) -> Json:
        return self._one("PUT", f"/tasks/{task_id}", fields)

    def delete_task(self, task_id: str) -> Json:
        return self._one("DELETE", f"/tasks/{task_id}")

    def cancel_task(self, task_id: str) -> Json:
        return self._one("POST", f"/tasks/{task_id}/cancel")

    def retry_task(self, task_id: str) -> Json:
        return self._one("POST", f"/tasks/{task_id}/retry")

    def get_logs(self, task_id: str, **params: Any) -> tuple[list[Json], Json]:
        return self._list(f"/tasks/{task_id}/logs", params)

    def save_checkpoint(self, task_id: str, data: Json) -> Json:
        return self._one("POST", f"/tasks/{task_id}/checkpoint", {"checkpoint_data": data})

    def list_workers(self, **params: Any) -> tuple[list[Json], Json]:
        return self._list("/workers", params)

    def get_worker(self, worker_id: str) -> Json:
        return self._one("GET", f"/workers/{worker_id}")

    def get_worker_tasks(self, worker_id: str, **params: Any) -> tuple[list[Json], Json]:
        return self._list(f"/workers/{worker_id}/tasks", params)

    def get_status(self) -> Json:
        return self._one("GET", "/system/status")

    def get_metrics(self, **params: Any) -> tuple[Json, Json]:
        body = self._call("GET", "/system/metrics", params=params)
        return body["data"], body["meta"]

    def _one(self, method: str, path: str, body: Json | None = None) -> Json:
        data: Json = self._call(method, path, **({} if body is None else {"json": body}))["data"]
        return data

    def _list(self, path: str, params: Json) -> tuple[list[Json], Json]:
        body = self._call("GET", path, params=params)
        return body["data"], body["meta"]

    def _call(self, method: str, path: str, **options: Any) -> Json:
        answer = self._http.request(method, path, **options)
        body: Json = answer.json()
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, body)
        return body
