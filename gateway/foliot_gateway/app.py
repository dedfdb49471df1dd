"""The gateway's composition root: settings and a client in, listeners out."""

from __future__ import annotations

import asyncio
import socket

from foliot.client import Client
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.settings import HostPort, SettingsError
from foliot_gateway.apis import APIS
from foliot_gateway.http.listener import Server, bind, bound_address, make_server
from foliot_gateway.http.mounting import CHADBURN_HTTP, HTTP, mounts_at, sites
from foliot_gateway.http.router import Service, build_app
from foliot_gateway.settings import GatewaySettings

_LOG = get_logger("gateway")


class GatewayApp(Part):
    """The HTTP listeners of one gateway.

    It does not own the client: whoever made it closes it after the gateway has stopped.
    """

    def __init__(self, settings: GatewaySettings, client: Client, *, clock: Clock | None = None) -> None:
        """Take what to serve and the way to the scheduler; raises SettingsError for mounts that do not fit together."""
        super().__init__("gateway")
        self._addresses_wanted = {HTTP: settings.http, CHADBURN_HTTP: settings.chadburn_http}
        service = Service(
            client=client,
            clock=clock or SystemClock(),
            body_bytes_max=settings.body_bytes_max,
            body_timeout_s=settings.body_timeout.total_seconds(),
            request_timeout_s=settings.request_timeout.total_seconds(),
        )
        try:
            mounts = mounts_at(settings.mounts, APIS)
        except ValueError as error:
            raise SettingsError("--mounts", str(error)) from error
        self._servers: dict[str, Server] = {
            listener: make_server(build_app(site, service)) for listener, site in sites(mounts).items()
        }
        self._sockets: dict[str, socket.socket] = {}
        self._addresses: dict[str, HostPort] = {}

    @property
    def http_address(self) -> HostPort:
        """Where the main listener is, once started."""
        return self._addresses[HTTP]

    @property
    def chadburn_http_address(self) -> HostPort:
        """Where Chadburn's own listener is, once started."""
        return self._addresses[CHADBURN_HTTP]

    async def on_start(self) -> None:
        """Take the ports; raises SettingsError naming the option of one that cannot be had."""
        try:
            for listener, address in self._addresses_wanted.items():
                self._sockets[listener] = bind(f"--{listener}", address)
        except SettingsError:
            self._close_sockets()
            raise
        self._addresses = {listener: bound_address(bound) for listener, bound in self._sockets.items()}
        for listener, server in self._servers.items():
            # Here and not in `run`, so that a started gateway already answers.
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup(sockets=[self._sockets[listener]])
        _LOG.info("gateway.started", http=str(self.http_address), chadburn_http=str(self.chadburn_http_address))

    async def run(self) -> None:
        """Keep the servers going; ends only when one of them does."""
        async with asyncio.TaskGroup() as group:
            for listener, server in self._servers.items():
                group.create_task(server.main_loop(), name=f"gateway.{listener}")

    async def stop_intake(self) -> None:
        """Take no more connections; open ones go on."""
        for server in self._servers.values():
            for accepting in server.servers:
                accepting.close()

    async def drain(self) -> None:
        """Let open requests end, and close what is idle."""
        async with asyncio.TaskGroup() as group:
            for listener, server in self._servers.items():
                group.create_task(server.shutdown(), name=f"gateway.{listener}.drain")

    async def on_stop(self) -> None:
        """Close what is left, without waiting."""
        for server in self._servers.values():
            for accepting in server.servers:
                accepting.close()
            for connection in list(server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            for task in list(server.server_state.tasks):
                task.cancel()
        self._close_sockets()
        _LOG.info("gateway.stopped")

    def _close_sockets(self) -> None:
        for bound in self._sockets.values():
            bound.close()
        self._sockets.clear()
