"""Secrets of specs: masked on the way out, kept when the mask comes back.

What counts as secret: every environment value, the value of a header that carries credentials, and the password
inside a URL. A `secret://name` is a reference, not a secret, and is shown.

Both directions work on the field's own place: the mask sent for an entry keeps the stored value of the entry with
that name.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Final

from foliot.v1 import job_pb2, spec_pb2

MASK: Final = "******"
"""What a caller sees of a secret, and what it sends back to keep it."""

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token"}
)
_REFERENCE: Final = "secret://"
_URL_PASSWORD: Final = re.compile(r"^([A-Za-z]+://[^\s/?#@:]*:)([^\s/?#@]+)(?=@)")


def mask_task_spec(spec: spec_pb2.TaskSpec) -> None:
    """Replace every secret of the spec, in place."""
    match spec.WhichOneof("work"):
        case "command":
            _mask_all(spec.command.environment)
        case "binary":
            _mask_all(spec.binary.environment)
            spec.binary.url = _mask_url(spec.binary.url)
        case "http":
            headers = spec.http.headers
            for name, value in list(headers.items()):
                if _is_secret_header(name, value):
                    headers[name] = MASK
            spec.http.url = _mask_url(spec.http.url)
        case "function" | None:
            pass


def mask_job_spec(spec: job_pb2.JobSpec) -> None:
    """Replace every secret of the job's tasks, in place."""
    for task in spec.tasks:
        mask_task_spec(task.spec)


def unmask_task_spec(spec: spec_pb2.TaskSpec, stored: spec_pb2.TaskSpec) -> None:
    """Put the stored values back where the new spec holds masks, in place.

    A mask without a stored value stays, for the rules to refuse.
    """
    match spec.WhichOneof("work"):
        case "command":
            _unmask(spec.command.environment, stored.command.environment)
        case "binary":
            _unmask(spec.binary.environment, stored.binary.environment)
            spec.binary.url = _unmask_url(spec.binary.url, stored.binary.url)
        case "http":
            _unmask(spec.http.headers, stored.http.headers)
            spec.http.url = _unmask_url(spec.http.url, stored.http.url)
        case "function" | None:
            pass


def unmask_job_spec(spec: job_pb2.JobSpec, stored: job_pb2.JobSpec) -> None:
    """Put the stored values of each task back by the task's key, in place."""
    by_key = {task.key: task.spec for task in stored.tasks}
    for task in spec.tasks:
        before = by_key.get(task.key)
        if before is not None:
            unmask_task_spec(task.spec, before)


def _mask_all(values: MutableMapping[str, str]) -> None:
    for name in list(values):
        values[name] = MASK


def _is_secret_header(name: str, value: str) -> bool:
    return name.lower() in _SECRET_HEADERS and not value.startswith(_REFERENCE)


def _mask_url(url: str) -> str:
    return _URL_PASSWORD.sub(rf"\g<1>{MASK}", url)


def _unmask(values: MutableMapping[str, str], stored: MutableMapping[str, str]) -> None:
    for name, value in list(values.items()):
        if value == MASK and name in stored:
            values[name] = stored[name]


def _unmask_url(url: str, stored: str) -> str:
    return stored if MASK in url and url == _mask_url(stored) else url
