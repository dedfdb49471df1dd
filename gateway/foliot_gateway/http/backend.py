"""The scheduler as one request sees it: reached with the caller's credentials, within the request's time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from foliot.client import Client
from foliot_gateway.http.fault import FieldFault, refuse

if TYPE_CHECKING:
    import grpc.aio

    from foliot.v1 import (
        access_pb2_grpc,
        job_pb2_grpc,
        run_pb2_grpc,
        system_pb2_grpc,
        task_pb2_grpc,
        webhook_pb2_grpc,
        worker_pb2_grpc,
    )

Request = TypeVar("Request")
Response = TypeVar("Response")

AUTHORIZATION_CHARS_MAX: Final = 6_000
"""What surely fits into a call's metadata beside the rest: gRPC drops some calls of over 8 KiB, and all of over 16."""

_PROJECT_NAME: Final = re.compile(r"[A-Za-z0-9._~@-]{1,100}")
"""The contract's rule for the name of a project."""

_PROJECT_FAULT: Final = FieldFault("Foliot-Project", "must name one project: 1 to 100 letters, digits and . _ ~ @ -")


@dataclass(frozen=True, slots=True)
class Backend:
    """The scheduler, for one request: `await backend.ask(backend.jobs.GetJob, GetJobRequest(...))`."""

    client: Client
    timeout_s: float
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, client: Client, *, authorization: str, timeout_s: float, project: str = "", request_id: str = "") -> Backend:
        """Return the scheduler for a caller with this Authorization header, which is passed on as it is.

        `project` is what the Foliot-Project header names, if there is one; `request_id` names the request in audit records.

        Who the caller is, is the scheduler's to say; the gateway only refuses what gRPC could not carry: raises
        FaultError 401.
        """
        told = (("foliot-request-id", request_id),) if request_id else ()
        if not authorization:
            return cls(client, timeout_s, told).in_project(_named(project))
        if not (authorization.isascii() and authorization.isprintable()):
            raise refuse(401, "unauthenticated", "The Authorization header cannot be read.")
        if len(authorization) > AUTHORIZATION_CHARS_MAX:
            detail = f"The Authorization header is longer than {AUTHORIZATION_CHARS_MAX} characters."
            raise refuse(401, "unauthenticated", detail)
        return cls(client, timeout_s, (("authorization", authorization), *told)).in_project(_named(project))

    def in_project(self, project: str) -> Backend:
        """Return the scheduler for the same caller in the named project; empty: the caller's own.

        The name must be printable ASCII. Whether the caller may work there is the scheduler's to say.
        """
        if not project:
            return self
        return replace(self, metadata=(*self.metadata, ("foliot-project", project)))

    async def ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None = None,
    ) -> Response:
        """Return the scheduler's answer; raises FoliotError."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        return await method(request, timeout=limit_s, metadata=self.metadata)

    @property
    def jobs(self) -> job_pb2_grpc.JobServiceAsyncStub:
        """The JobService."""
        return self.client.jobs

    @property
    def runs(self) -> run_pb2_grpc.RunServiceAsyncStub:
        """The RunService."""
        return self.client.runs

    @property
    def tasks(self) -> task_pb2_grpc.TaskServiceAsyncStub:
        """The TaskService."""
        return self.client.tasks

    @property
    def workers(self) -> worker_pb2_grpc.WorkerServiceAsyncStub:
        """The WorkerService."""
        return self.client.workers

    @property
    def system(self) -> system_pb2_grpc.SystemServiceAsyncStub:
        """The SystemService."""
        return self.client.system

    @property
    def access(self) -> access_pb2_grpc.AccessServiceAsyncStub:
        """The AccessService."""
        return self.client.access

    @property
    def webhooks(self) -> webhook_pb2_grpc.WebhookServiceAsyncStub:
        """The WebhookService."""
        return self.client.webhooks


def _named(project: str) -> str:
    """Return the project of a Foliot-Project header, empty if there is none; raises FaultError 400 for what names no project."""
    if project and not _PROJECT_NAME.fullmatch(project):
        raise refuse(400, "invalid_header", f"The header Foliot-Project {_PROJECT_FAULT.rule}.", _PROJECT_FAULT)
    return project
