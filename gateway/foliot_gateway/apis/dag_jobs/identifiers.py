"""Identifiers as `dag_jobs` shows them: a prefix and a UUID. What does not look like one names nothing: 404."""

from __future__ import annotations

from foliot.kit.ids import format_uuid, parse_uuid
from foliot_gateway.http.fault import refuse

JOB_PREFIX = "job-"
EXECUTION_PREFIX = "exec-"


def job_uuid(shown: str) -> str:
    """Return the UUID in a job's id; raises FaultError 404."""
    bare = shown.removeprefix(JOB_PREFIX)
    try:
        # An id has one spelling: one that is written otherwise is another, and names nothing.
        if bare != shown and format_uuid(parse_uuid(bare)) == bare:
            return bare
    except ValueError:
        pass
    raise refuse(404, "not_found", "No job has this id.")


def shown_job(uuid: str) -> str:
    """Return a job's id as it is shown."""
    return JOB_PREFIX + uuid


def shown_execution(uuid: str) -> str:
    """Return an execution's id as it is shown."""
    return EXECUTION_PREFIX + uuid
