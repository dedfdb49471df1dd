"""The scheduler as one request sees it: reached with the caller's credentials, within the request's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from foliot.client import Client
from foliot_gateway.http.fault import refuse

if TYPE_CHECKING:
    import grpc.aio

    from foliot.v1 import job_pb2_grpc, run_pb2_grpc, system_pb2_grpc, task_pb2_grpc, worker_pb2_grpc

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class Backend:
    """The scheduler, for one request: `await backend.ask(backend.jobs.GetJob, GetJobRequest(...))`."""

    client: Client
    timeout_s: float
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, client: Client, *, authorization: str, timeout_s: float) -> Backend:
        """Return the scheduler for a caller with this Authorization header, which is passed on as it is.

        Who the caller is, is the scheduler's to say; the gateway only refuses what gRPC could not carry: raises
        FaultError 401.
        """
        if not authorization:
            return cls(client, timeout_s)
        if not (authorization.isascii() and authorization.isprintable()):
            raise refuse(401, "unauthenticated", "The Authorization header cannot be read.")
        return cls(client, timeout_s, (("authorization", authorization),))

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
