"""The gateway's composition root: settings and a client in, listeners out."""

from __future__ import annotations

import asyncio
import socket

from foliot.client import Client
from foliot.kit.clock import Clock, SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot.kit.settings import HostPort, SettingsError
from foliot.kit.tls import server_tls
from foliot.v1 import access_pb2
from foliot_gateway.announcer import Announcer
from foliot_gateway.apis import APIS
from foliot_gateway.apis.queue import QUEUE, queue_api
from foliot_gateway.http.callers import Callers
from foliot_gateway.http.hosts import HostGuard
from foliot_gateway.http.in_flight import InFlight
from foliot_gateway.http.limits.gate import Gate
from foliot_gateway.http.limits.limiter import Limiter
from foliot_gateway.http.limits.local import LocalBuckets
from foliot_gateway.http.listener import Server, bind, bound_address, make_server
from foliot_gateway.http.mounting import CHADBURN_HTTP, HTTP, mounts_at, sites
from foliot_gateway.http.redis_health import RedisHealth
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
        self._client = client
        self._insecure = settings.insecure
        self._addresses_wanted = {HTTP: settings.http, CHADBURN_HTTP: settings.chadburn_http}
        clock_here = clock or SystemClock()
        self._shared = None if settings.redis_url is None else _Shared(settings.redis_url, clock)
        self._announcer = Announcer(client.acting_as(credentials=settings.api_key), clock_here)
        callers = Callers(client, clock_here)
        service = Service(
            client=client,
            callers=callers,
            gate=Gate(
                Limiter(LocalBuckets(clock_here), None if self._shared is None else self._shared.buckets),
                callers,
                clock_here,
                limit=settings.rate_limit,
                trusted_proxies=settings.trusted_proxies,
            ),
            redis=RedisHealth(None if self._shared is None else self._shared.memory),
            clock=clock_here,
            body_bytes_max=settings.body_bytes_max,
            body_timeout_s=settings.body_timeout.total_seconds(),
            request_timeout_s=settings.request_timeout.total_seconds(),
            in_flight=InFlight(requests_max=settings.requests_max),
        )
        hosts = HostGuard(callers, settings.trusted_hosts)
        try:
            mounts = mounts_at(settings.mounts, {**APIS, QUEUE.name: queue_api(push=settings.queue_push)})
        except ValueError as error:
            raise SettingsError("--mounts", str(error)) from error
        self._servers: dict[str, Server] = {
            # Who listens on other addresses has decided who may reach them.
            listener: make_server(build_app(site, service, hosts=hosts if self._addresses_wanted[listener].is_loopback else None))
            for listener, site in sites(mounts).items()
        }
        self._tls = server_tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
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
        """Take the ports; raises SettingsError naming the option of one that cannot be had, or that is open to everybody."""
        if not (self._insecure or (self._tls is not None and self._tls.client_ca is not None)):
            for listener, address in self._addresses_wanted.items():
                if not address.is_loopback:
                    await require_credentials(self._client, f"--{listener}", address)
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
            server.config.ssl = None if self._tls is None else self._tls.context
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup(sockets=[self._sockets[listener]])
        if self._shared is not None:
            await self._shared.buckets.start()
        await self._announcer.start()
        _LOG.info("gateway.started", http=str(self.http_address), chadburn_http=str(self.chadburn_http_address))

    async def run(self) -> None:
        """Keep the servers going; ends only when one of them does."""
        async with asyncio.TaskGroup() as group:
            for listener, server in self._servers.items():
                group.create_task(server.main_loop(), name=f"gateway.{listener}")
            if self._shared is not None:
                group.create_task(self._shared.buckets.wait_ended(), name="gateway.shared_limits.wait")
            group.create_task(self._announcer.wait_ended(), name="gateway.announcer.wait")

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
        await self._announcer.stop()
        for server in self._servers.values():
            for accepting in server.servers:
                accepting.close()
            for connection in list(server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            for task in list(server.server_state.tasks):
                task.cancel()
        self._close_sockets()
        if self._shared is not None:
            await self._shared.buckets.stop()
            await self._shared.redis.aclose()
        _LOG.info("gateway.stopped")

    def _close_sockets(self) -> None:
        for bound in self._sockets.values():
            bound.close()
        self._sockets.clear()


async def require_credentials(client: Client, option: str, address: HostPort) -> None:
    """Make sure that the scheduler asks who its callers are, before others can reach it through this gateway.

    Asked without credentials, as anybody might. Raises SettingsError naming the option of the address.
    """
    try:
        await client.acting_as().access.GetCaller(access_pb2.GetCallerRequest())
    except FoliotError as error:
        if error.reason is ErrorReason.UNAUTHENTICATED:
            return
        message = f"no scheduler says whether it checks credentials ({error.message}), and {address} is open to others"
        raise SettingsError("--scheduler", message) from error
    message = f"{address} is open to others, and the scheduler checks no credentials; say --insecure to allow it"
    raise SettingsError(option, message)


class _Shared:
    """What the gateway has in Redis."""

    def __init__(self, url: str, clock: Clock | None) -> None:
        # Loading the library costs a quarter of a second that only those who use Redis should wait for.
        from foliot_gateway.http.limits.shared import SharedBuckets  # noqa: PLC0415
        from foliot_gateway.http.redis_link import RedisMemory, open_redis  # noqa: PLC0415

        self.redis = open_redis(url)
        # Redis's own time counts there, so that the clocks of the gateways need not agree, unless the caller controls the time.
        self.buckets = SharedBuckets(self.redis, clock=clock)
        self.memory = RedisMemory(self.redis)
