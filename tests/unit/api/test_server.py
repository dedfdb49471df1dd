"""The gRPC server: its port, health and reflection."""

from __future__ import annotations

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from foliot.kit.setting_values import HostPort
from foliot.kit.settings import SettingsError
from foliot_scheduler.api.server import GrpcServer
from tests.unit.api.api_support import ScriptedLeader, passage_of, replica
from tests.unit.api.test_interceptors import GET, EchoRuns


async def test_health_answers_for_the_server_and_each_service() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        for name in ("", "foliot.v1.RunService"):
            raw = await here.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=name))
            assert health_pb2.HealthCheckResponse.FromString(raw).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_server_that_takes_no_more_says_so() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        await here.server.stop_intake()
        raw = await here.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())
    assert health_pb2.HealthCheckResponse.FromString(raw).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_lists_the_services() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        stub = reflection_pb2_grpc.ServerReflectionStub(here.channel)
        stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = [service.name async for answer in stream for service in answer.list_services_response.service]
    assert {"foliot.v1.RunService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= set(names)


async def test_a_port_in_use_names_the_option_and_the_address() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        listen = HostPort("127.0.0.1", here.server.bound_port)
        passage, forwarder = passage_of(ScriptedLeader())
        server = GrpcServer(listen=listen, services=[EchoRuns()], passage=passage, forwarder=forwarder)
        with pytest.raises(SettingsError, match=f"grpc: cannot listen on {here.address}") as caught:
            await server.start()
    assert caught.value.option == "grpc"


async def test_a_request_over_the_limit_is_refused() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        error = await here.refused(GET, b"\0" * (16 * 1024 * 1024 + 1))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stopped_server_frees_its_port() -> None:
    async with replica([EchoRuns()], ScriptedLeader()) as here:
        port = here.server.bound_port
    passage, forwarder = passage_of(ScriptedLeader())
    listen = HostPort("127.0.0.1", port)
    async with GrpcServer(listen=listen, services=[EchoRuns()], passage=passage, forwarder=forwarder) as again:
        assert again.bound_port == port
