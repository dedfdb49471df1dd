"""The error shape of `queue`, `{"error", "context"}`, and its words for what the scheduler refuses."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.apis.queue.words import JOB, STATUS_OF_NAME
from foliot_gateway.http.fault import Fault, FieldFault
from foliot_gateway.http.foliot_fault import translate
from foliot_gateway.http.reading import sentence

RULE_STATUS: Final = 400
"""The status of a well-formed body that breaks a rule: the document knows no 422."""

_JOB_PATH: Final = re.compile(r"/jobs/(?P<id>[0-9a-f-]{36})(?:/|$)")
_TASK_OF_BULK: Final = re.compile(r"^tasks(?P<index>\[\d+\])(?:\.spec)?(?:\.|$)")
_STALE: Final = "This claim of the job counts no more: another executor has claimed it, or this one has again."
_NAMES: Final = {
    "name": "type",
    "binary.url": "binary_url",
    "binary.sha256": "binary_sha256",
    "binary.arguments": "arguments",
    "binary.environment": "env_variables",
    "error": "error_message",
    "executor_address": "executor_ip",
    "idempotency_key": "Idempotency-Key",
    "filter.name": "type",
    "page_size": "limit",
    "task_id": "id",
    "task_ids": "job_ids",
    "tasks": "",
}


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """More about an error, for programs."""

    code: Annotated[str, Meta(description="The reason, stable, snake_case.")]
    field: Annotated[
        str, Meta(description="The first field at fault: `binary_url`, `[3].type` in a bulk call, a parameter or a header.")
    ] = ""
    fields: Annotated[list[FieldFault], Meta(description="All fields at fault, each with the rule it breaks.")] = []
    job_id: Annotated[str, Meta(description="The job that was asked for.")] = ""
    status: Annotated[str, Meta(description="For a job in the wrong state: its status.")] = ""
    error_id: Annotated[str, Meta(description="For an internal error: finds it in the log.")] = ""


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why the request was refused."""

    error: Annotated[str, Meta(description="What is wrong with this request, for people.")]
    context: ErrorContext


class ContextShape:
    """Writes faults as `{"error", "context"}`."""

    media_type = "application/json"
    struct = ErrorBody

    def render(self, fault: Fault, *, instance: str, request_id: str) -> ErrorBody:  # noqa: ARG002 - the shape has no place for it
        """Return the body for a fault of the request to path `instance`."""
        job = _JOB_PATH.search(instance)
        return ErrorBody(
            error=fault.detail,
            context=ErrorContext(
                code=fault.code,
                field=fault.fields[0].field if fault.fields else "",
                fields=list(fault.fields),
                job_id=job["id"] if job else "",
                status=str(fault.facts.get("status", "")),
                error_id=str(fault.facts.get("error_id", "")),
            ),
        )


def rename(path: str) -> str:
    """Return the name in this API of a field of the contract: `tasks[3].spec.binary.url` is `[3].binary_url`."""
    index = ""
    if found := _TASK_OF_BULK.match(path):
        index, path = found["index"], path[found.end() :]
    path = path.removeprefix("task.").removeprefix("spec.")
    name, bracket, rest = path.partition("[")
    shown = _NAMES.get(name, name) + bracket + rest
    return f"{index}.{shown}" if index and shown else index + shown


def translate_error(error: FoliotError) -> Fault:
    """Return what an error of the scheduler means: 400 for a state that does not allow it, in this API's words."""
    fault = translate(error, rule_status=RULE_STATUS, rename=rename)
    match error.reason:
        case ErrorReason.WRONG_STATE:
            status = STATUS_OF_NAME.get(error.metadata.get("state", ""), "")
            detail = f"The job's state does not allow it: it is {status}." if status else sentence(FieldFault("", error.message))
            facts = {"status": status} if status else {}
            return dataclasses.replace(fault, status=400, detail=detail, facts=facts)
        case ErrorReason.STALE_LEASE:
            return dataclasses.replace(fault, status=400, code="wrong_executor", detail=_STALE)
        case ErrorReason.NOT_FOUND:
            return JOB.not_found()
        case _:
            return fault
