"""The gRPC server of a replica: its port, its limits, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from foliot.kit.lifecycle import Part, run_forever
from foliot.kit.logs import get_logger
from foliot.kit.setting_values import HostPort
from foliot.kit.settings import SettingsError
from foliot.kit.tls import ServerTls
from foliot_scheduler.api.forwarding import Forwarder
from foliot_scheduler.api.interceptors import Passage, Service

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest request taken, as the contract's client sends: a job of 100,000 tasks fits, a mistake does not fill the memory."""

PING_INTERVAL_S_MIN: Final = 5
"""How often clients may ping without being thought abusive; ours do every 10 s."""

STOP_GRACE_S: Final = 5.0
"""What calls still under way are given when the server stops: longer than writes wait for the next leader. Streams are not waited
for; whoever reads one takes it up again elsewhere."""

LAST_CALLS_S: Final = 0.1
"""What calls are given that had come in and not begun when the last other one ended."""

log = get_logger(__name__)


def server_options() -> list[tuple[str, int]]:
    """The gRPC options of a replica's server."""
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_S_MIN * 1_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_S_MIN * 1_000),
        # A worker's host that dies without a word is noticed within three pings.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        # Two replicas on one port would take turns answering; that is a mistake to be told of.
        ("grpc.so_reuseport", 0),
    ]


class GrpcServer(Part):
    """Serves the services on one port, with the standard health service, and reflection if wanted, beside them."""

    def __init__(
        self,
        *,
        listen: HostPort,
        services: Sequence[Service],
        passage: Passage,
        forwarder: Forwarder,
        option: str = "grpc",
        reflects: bool = True,
        tls: ServerTls | None = None,
    ) -> None:
        """Take the address to listen on (port 0: any free one) and the name of the option that it came from.

        `reflects` says whether anybody may ask what services there are: gRPC's reflection checks no credentials.
        Without `tls` everything is in clear.
        """
        super().__init__("api.server")
        self._listen = listen
        self._services = services
        self._passage = passage
        self._forwarder = forwarder
        self._option = option
        self._reflects = reflects
        self._tls = tls
        self._names = ["", *(service.DESCRIPTOR.full_name for service in services)]
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # behind a try, which mypy does not follow
        self._server: grpc.aio.Server | None = None
        self._bound_port = 0

    @property
    def bound_port(self) -> int:
        """The port it listens on, once started."""
        return self._bound_port

    async def on_start(self) -> None:
        """Open the port. Raises SettingsError naming the option when that cannot be done."""
        server = grpc.aio.server(options=server_options(), compression=grpc.Compression.NoCompression)
        server.add_generic_rpc_handlers([self._passage.handlers(service) for service in self._services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._reflects:
            reflection.enable_server_reflection([*self._names[1:], health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        try:
            self._bound_port = _add_port(server, str(self._listen), self._tls)
        except RuntimeError as error:
            raise SettingsError(self._option, f"cannot listen on {self._listen}: is the port in use?") from error
        await server.start()
        self._server = server
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("api.listening", address=str(self._listen), port=self._bound_port)

    async def run(self) -> None:
        """Wait: gRPC's own threads and tasks do the work."""
        await run_forever()

    async def stop_intake(self) -> None:
        """Tell health checks that other replicas are to be called."""
        await self._health.enter_graceful_shutdown()

    async def on_stop(self) -> None:
        """Close the port, let the calls end that are under way, and end what streams there are."""
        if self._server is not None:
            stopping = asyncio.ensure_future(self._server.stop(STOP_GRACE_S))
            idle = asyncio.ensure_future(self._passage.wait_idle())
            try:
                await asyncio.wait({stopping, idle}, return_when=asyncio.FIRST_COMPLETED)
                await self._server.stop(LAST_CALLS_S)
                await stopping
            finally:
                idle.cancel()
        await self._forwarder.close()


def _add_port(server: grpc.aio.Server, address: str, tls: ServerTls | None) -> int:
    """Open a port and answer its number. Raises RuntimeError."""
    if tls is None:
        return server.add_insecure_port(address)
    credentials = grpc.ssl_server_credentials(
        [(tls.identity.key, tls.identity.certificate)],
        root_certificates=tls.client_ca,
        require_client_auth=tls.client_ca is not None,
    )
    return server.add_secure_port(address, credentials)
