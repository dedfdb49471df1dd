"""A gateway says that it is up, again and again, and takes no harm where it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from foliot.client import Client
from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError, abort
from foliot.v1 import system_pb2, system_pb2_grpc
from foliot_gateway.announcer import EVERY_S, Announcer
from tests.integration.gateway.test_app import FakeSystem


class Announced(FakeSystem):
    """Remembers who announced itself."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    async def AnnounceGateway(  # noqa: N802 - gRPC's
        self, request: system_pb2.AnnounceGatewayRequest, context: Any
    ) -> system_pb2.AnnounceGatewayResponse:
        self.names.append(request.gateway_id)
        if self.error is not None:
            await abort(context, self.error)
        return system_pb2.AnnounceGatewayResponse()


@pytest.fixture
def announced() -> Announced:
    return Announced()


@pytest.fixture
async def client(announced: Announced) -> AsyncIterator[Client]:
    server = grpc.aio.server()
    system_pb2_grpc.add_SystemServiceServicer_to_server(announced, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Client(f"127.0.0.1:{port}") as client:
        yield client
    await server.stop(None)


@pytest.mark.parametrize("error", [None, FoliotError(ErrorReason.UNAUTHENTICATED, "who are you?")])
async def test_a_gateway_announces_itself_under_one_name(announced: Announced, client: Client, error: FoliotError | None) -> None:
    clock = ManualClock()
    announced.error = error
    async with Announcer(client, clock) as announcer:
        for _ in range(3):
            await clock.wait_sleepers()
            clock.advance(EVERY_S)
        await clock.wait_sleepers()
        assert announcer.running
    assert len(announced.names) == 4
    assert len(set(announced.names)) == 1
    assert 0 < len(announced.names[0].encode()) <= 255
