"""The identifiers that `dag_jobs` shows."""

from __future__ import annotations

from typing import Final

from foliot_gateway.http.identifiers import IdKind

JOB: Final = IdKind(prefix="job-", noun="job")
EXECUTION: Final = IdKind(prefix="exec-", noun="execution")
