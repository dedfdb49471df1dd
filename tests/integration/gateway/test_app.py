"""The gateway on real sockets, in front of a scheduler of the test's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio
import httpx
import pytest

from foliot.client import Client
from foliot.kit.errors import ErrorReason, FoliotError, abort
from foliot.kit.settings import HostPort, SettingsError
from foliot.v1 import system_pb2, system_pb2_grpc
from foliot_gateway.app import GatewayApp
from foliot_gateway.settings import GatewaySettings

FREE = HostPort("127.0.0.1", 0)


class FakeSystem(system_pb2_grpc.SystemServiceServicer):
    """Answers what it is told to, when it is told to, and remembers the metadata of calls."""

    def __init__(self) -> None:
        self.answer = system_pb2.GetStatusResponse(leader="scheduler-0", database="connected")
        self.error: FoliotError | None = None
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()
        self.metadata: Mapping[str, Any] = {}

    async def GetStatus(self, request: system_pb2.GetStatusRequest, context: Any) -> system_pb2.GetStatusResponse:  # noqa: N802 - gRPC's
        self.metadata = dict(context.invocation_metadata())
        self.asked.set()
        await self.released.wait()
        if self.error is not None:
            await abort(context, self.error)
        return self.answer

    async def GetStats(self, request: system_pb2.GetStatsRequest, context: Any) -> system_pb2.GetStatsResponse:  # noqa: N802 - gRPC's
        return system_pb2.GetStatsResponse()

    async def GetMetrics(self, request: system_pb2.GetMetricsRequest, context: Any) -> system_pb2.GetMetricsResponse:  # noqa: N802 - gRPC's
        return system_pb2.GetMetricsResponse()

    async def GetRollups(self, request: system_pb2.GetRollupsRequest, context: Any) -> system_pb2.GetRollupsResponse:  # noqa: N802 - gRPC's
        return system_pb2.GetRollupsResponse()

    async def AnnounceGateway(  # noqa: N802 - gRPC's
        self, request: system_pb2.AnnounceGatewayRequest, context: Any
    ) -> system_pb2.AnnounceGatewayResponse:
        return system_pb2.AnnounceGatewayResponse()


@pytest.fixture
async def system() -> FakeSystem:
    return FakeSystem()


@pytest.fixture
async def scheduler(system: FakeSystem) -> AsyncIterator[str]:
    server = grpc.aio.server()
    system_pb2_grpc.add_SystemServiceServicer_to_server(system, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def gateway(scheduler: str, **settings: Any) -> AsyncIterator[GatewayApp]:
    host, _, port = scheduler.rpartition(":")
    given = GatewaySettings(
        scheduler=(HostPort(host, int(port)),),
        http=settings.pop("http", FREE),
        chadburn_http=settings.pop("chadburn_http", FREE),
        **settings,
    )
    async with Client(scheduler) as client, GatewayApp(given, client) as app:
        yield app


async def get(app: GatewayApp, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://{app.http_address}") as http:
        return await http.get(path, **more)


async def test_health_is_what_the_scheduler_says(scheduler: str, system: FakeSystem) -> None:
    async with gateway(scheduler) as app:
        assert (await get(app, "/api/v1/health")).status_code == 200
        system.answer.leader = ""
        answer = await get(app, "/api/v1/health")
        assert answer.status_code == 503
        assert (answer.json()["status"], answer.json()["database"]) == ("unhealthy", "connected")
        assert int(answer.headers["retry-after"]) >= 1
        system.answer.database = "disconnected"
        assert (await get(app, "/api/v1/health")).json()["database"] == "disconnected"
        system.error = FoliotError(ErrorReason.DATABASE_UNAVAILABLE, "away", retry_after_s=60)
        assert (await get(app, "/api/v1/health")).json()["database"] == "disconnected"


async def test_both_listeners_serve(scheduler: str) -> None:
    async with gateway(scheduler) as app, httpx.AsyncClient() as http:
        for address in (app.http_address, app.chadburn_http_address):
            assert (await http.get(f"http://{address}/api/v1/health")).status_code == 200
        assert (await http.get(f"http://{app.chadburn_http_address}/jobs")).status_code == 404


async def test_no_scheduler_is_503_with_a_delay() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        async with gateway(address, request_timeout=timedelta(milliseconds=200)) as app:
            health = await get(app, "/api/v1/health")
            assert (health.status_code, health.json()["database"]) == (503, "unknown")
            answer = await get(app, "/jobs")
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("listener", ["http", "chadburn-http"])
async def test_a_port_in_use_is_named_by_its_option(listener: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = HostPort("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(SettingsError, match="in use") as raised:
            async with gateway("127.0.0.1:1", **{listener.replace("-", "_"): address}):
                pass
        assert raised.value.option == f"--{listener}"


async def test_credentials_and_trace_are_passed_on(scheduler: str, system: FakeSystem) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"authorization": "ApiKey abc.def", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    async with gateway(scheduler) as app:
        await get(app, "/api/system/status", headers=headers)
        assert system.metadata["authorization"] == "ApiKey abc.def"
        assert trace in system.metadata["traceparent"]
        await get(app, "/api/system/status")
        assert "authorization" not in system.metadata
        assert (await get(app, "/api/v1/health", headers=headers)).status_code == 200
        assert "authorization" not in system.metadata, "health is told to everybody, also with a credential that is not good"
        refused = await get(app, "/api/v1/health", headers={b"authorization": "ApiKey \u00e9".encode("latin-1")})
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"]


async def test_open_requests_end_before_the_gateway_does(scheduler: str, system: FakeSystem) -> None:
    system.released.clear()
    async with gateway(scheduler) as app:
        request = asyncio.ensure_future(get(app, "/api/v1/health"))
        await system.asked.wait()
        await app.stop_intake()
        draining = asyncio.ensure_future(app.drain())
        system.released.set()
        assert (await request).status_code == 200
        await draining


async def test_more_requests_than_a_gateway_serves_are_told_to_come_back(scheduler: str, system: FakeSystem) -> None:
    system.released.clear()
    async with gateway(scheduler, requests_max=1) as app:
        first = asyncio.ensure_future(get(app, "/api/v1/health"))
        await system.asked.wait()
        refused = await get(app, "/jobs")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "as many as it can" in refused.text, "in the shape of the API"
        system.asked.clear()
        watcher = asyncio.ensure_future(get(app, "/api/v1/health"))
        await system.asked.wait()
        system.released.set()
        assert ((await first).status_code, (await watcher).status_code) == (200, 200), "health has places of its own"
        assert (await get(app, "/api/v1/health")).status_code == 200


async def test_a_gateway_that_was_stopped_leaves_its_ports(scheduler: str) -> None:
    async with gateway(scheduler) as app:
        address = app.http_address
    async with gateway(scheduler, http=address) as app:
        assert app.http_address == address
        assert (await get(app, "/api/v1/health")).status_code == 200


async def test_a_refused_body_is_answered_before_it_was_sent(scheduler: str) -> None:
    async with gateway(scheduler) as app:
        reader, writer = await asyncio.open_connection(app.http_address.host, app.http_address.port)
        head = f"POST /jobs HTTP/1.1\r\nHost: {app.http_address}\r\nContent-Type: application/json\r\n"
        writer.write((head + "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n").encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        # And the connection is closed, as the rest of the body could not be told from another request.
        assert b"connection: close" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_garbage_is_400(scheduler: str) -> None:
    async with gateway(scheduler) as app:
        reader, writer = await asyncio.open_connection(app.http_address.host, app.http_address.port)
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()
