"""The client of a Foliot cluster: one object, any number of replicas behind it.

    async with Client(["10.0.0.1:7070", "10.0.0.2:7070"]) as client:
        answer = await client.tasks.SubmitTask(SubmitTaskRequest(task=task))

The services are the generated stubs, set on a channel of our own (`Following`) that finds a replica that answers,
beginning with one drawn at random. A call that fails because none leads, or because the connection broke, goes to the
next address after a pause drawn at random, until its deadline. That is safe: a creating request without an idempotency
key gets one, and every repetition carries the same; other requests have the same effect when repeated. Their answer may
differ, though (a deletion repeated after an answer was lost finds nothing to delete): an error of a repeated call has
the metadata entry `repeated`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import grpc
import grpc.aio

from foliot.kit.clock import Clock, SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.following import Following, MetadataEntries, Replicas
from foliot.kit.tls import ClientTls
from foliot.v1 import (
    access_pb2_grpc,
    job_pb2_grpc,
    run_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    task_pb2_grpc,
    webhook_pb2_grpc,
    worker_pb2_grpc,
)

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest message either side takes: a job of 100,000 tasks fits, and a mistake does not fill the memory."""

DEFAULT_TIMEOUT_S: Final = 30.0
"""Deadline of a call that names none; longer than a fail-over, shorter than a caller's patience."""

KEEPALIVE_TIME_S: Final = 10
KEEPALIVE_TIMEOUT_S: Final = 5
"""A silent peer is found dead after both together, well within a lease. Servers must be told to allow such pings."""

# A host that does not answer must not cost a call its whole deadline (gRPC's own figure is 20 s), and one that came
# back must be found soon (gRPC would wait up to two minutes).
_CONNECT_TIMEOUT_S: Final = 2
_RECONNECT_PAUSE_MAX_S: Final = 2


def channel_options() -> list[tuple[str, int]]:
    """Answer the gRPC options of every channel to a scheduler."""
    return [
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1_000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1_000),
        # Without it a ping that nobody answers ends nothing (seen with grpcio 1.85): calls to a frozen peer would hang.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_S * 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_S * 1_000),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_PAUSE_MAX_S * 1_000),
    ]


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the scheduler, with a client certificate for mTLS; contents in PEM, never shown."""

    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    @classmethod
    def of(cls, given: ClientTls | None) -> Tls | None:
        """Answer what settings say; None where they say nothing of TLS."""
        if given is None:
            return None
        identity = given.identity
        return cls(given.ca) if identity is None else cls(given.ca, identity.certificate, identity.key)

    @classmethod
    def from_files(cls, *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> Tls:
        """Read the files. Raises OSError."""
        return cls(*(None if path is None else path.read_bytes() for path in (ca, certificate, key)))

    def __repr__(self) -> str:
        return "Tls(…)"

    def credentials(self) -> grpc.ChannelCredentials:
        """Answer gRPC's form of it."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


class Client:
    """A client of the cluster whose replicas listen on `addresses` ("host:port", one or several).

    `credentials` is an API key or a JWT, `project` the project to work in where authentication is off, `tls` secures
    the connection (without it, it is in clear). `timeout_s` is the deadline of calls that name none. Calls that an
    overloaded scheduler refuses are repeated, too, after the delay that it told and a while more, drawn at random;
    `waits_out_overload=False` has them raise `FoliotError` OVERLOADED at once.

    The services' methods take the request message and, as gRPC's do, `timeout` (seconds, all repetitions together) and
    further `metadata`; to await them gives the response message, or raises `FoliotError`. Methods that answer a
    stream (`WatchTask`, `WatchRun`) are iterated with `async for` and take up the watch again after a fail-over: the
    state may then come twice. Those that take a stream (`Work`, `PushLogs`) are gRPC's own: nothing is repeated, and
    they raise gRPC's errors (see `foliot.kit.errors.from_rpc_error`).
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        credentials: str | None = None,
        project: str | None = None,
        tls: Tls | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        waits_out_overload: bool = True,
        clock: Clock | None = None,
    ) -> None:
        given = [addresses] if isinstance(addresses, str) else list(addresses)
        if not given:
            raise ValueError("a client needs at least one address")
        self._channel_credentials = None if tls is None else tls.credentials()
        clock = SystemClock() if clock is None else clock
        self._replicas = Replicas(given, self.open_channel, clock)
        self._owns_replicas = True
        self._following = Following(
            self._replicas,
            _entries(credentials, project),
            timeout_s,
            clock,
            waits=waits_out_overload,
        )

    def acting_as(self, *, credentials: str | None = None, project: str | None = None) -> Client:
        """Answer a client with other credentials on the same connections, as a gateway needs for each caller.

        It costs a few microseconds and need not be closed.
        """
        other = object.__new__(Client)
        other._channel_credentials = self._channel_credentials
        other._replicas = self._replicas
        other._owns_replicas = False
        other._following = self._following.with_metadata(_entries(credentials, project))
        return other

    @functools.cached_property
    def jobs(self) -> job_pb2_grpc.JobServiceAsyncStub:
        """The JobService."""
        return job_pb2_grpc.JobServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def runs(self) -> run_pb2_grpc.RunServiceAsyncStub:
        """The RunService."""
        return run_pb2_grpc.RunServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def tasks(self) -> task_pb2_grpc.TaskServiceAsyncStub:
        """The TaskService."""
        return task_pb2_grpc.TaskServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def workers(self) -> worker_pb2_grpc.WorkerServiceAsyncStub:
        """The WorkerService."""
        return worker_pb2_grpc.WorkerServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def system(self) -> system_pb2_grpc.SystemServiceAsyncStub:
        """The SystemService."""
        return system_pb2_grpc.SystemServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def access(self) -> access_pb2_grpc.AccessServiceAsyncStub:
        """The AccessService."""
        return access_pb2_grpc.AccessServiceStub(cast("grpc.aio.Channel", self._following))

    @functools.cached_property
    def webhooks(self) -> webhook_pb2_grpc.WebhookServiceAsyncStub:
        """The WebhookService."""
        return webhook_pb2_grpc.WebhookServiceStub(cast("grpc.aio.Channel", self._following))

    @property
    def address(self) -> str:
        """The address that calls go to at present."""
        return self._replicas.current.address

    async def leader_address(self, *, timeout: float | None = None) -> str:  # noqa: ASYNC109 -- as the methods of the stubs
        """Ask a replica for the leader's host and port.

        Raises `FoliotError` NO_LEADER if it knows none; the next call then asks the next replica.
        """
        asked = self._replicas.current
        status = await self.system.GetStatus(system_pb2.GetStatusRequest(), timeout=timeout)
        if not status.leader_address:
            self._replicas.leave(asked)
            raise FoliotError(ErrorReason.NO_LEADER, f"the replica at {asked.address} knows no leader")
        return status.leader_address

    def open_channel(self, address: str) -> grpc.aio.Channel:
        """Open a channel of one's own to one replica, set up like the client's; the caller closes it."""
        options = channel_options()
        if self._channel_credentials is None:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, self._channel_credentials, options=options)

    def metadata(self) -> MetadataEntries:
        """Answer the entries that calls carry (credentials, project, trace), for those on a channel of one's own."""
        return self._following.metadata()

    async def close(self) -> None:
        """Close the connections, cancelling calls that go on. Closing again does nothing."""
        if self._owns_replicas:
            await self._replicas.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def _entries(credentials: str | None, project: str | None) -> MetadataEntries:
    found: list[tuple[str, str]] = []
    if credentials:
        found.append(("authorization", f"Bearer {credentials}"))
    if project:
        found.append(("foliot-project", project))
    return tuple(found)
