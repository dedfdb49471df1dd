"""A gateway whose schedulers are all away: each operation says so in its API's own shape, and when to come back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import msgspec

from foliot.client import Client
from foliot.kit.settings import HostPort
from foliot_gateway.app import GatewayApp
from foliot_gateway.settings import GatewaySettings
from tests.conformance.endpoints import ENDPOINTS

FREE = HostPort("127.0.0.1", 0)
OF_ITS_OWN = ("/api/v1/health", "/api/v1/metrics")
"""What tells of it in other words: for those who watch over the service."""


async def test_every_operation_is_503_with_a_delay() -> None:
    nowhere = HostPort("127.0.0.1", 1)
    given = GatewaySettings(scheduler=(nowhere,), http=FREE, chadburn_http=FREE, request_timeout=timedelta(milliseconds=200))
    asked = [endpoint for endpoint in ENDPOINTS if endpoint.path not in OF_ITS_OWN]
    async with (
        Client(str(nowhere)) as client,
        GatewayApp(given, client) as app,
        httpx.AsyncClient(base_url=f"http://{app.http_address}", timeout=30) as http,
    ):
        requests = [http.request(one.operation.method, one.path, json=one.body if one.needs_body else None) for one in asked]
        for endpoint, answer in zip(asked, await asyncio.gather(*requests), strict=True):
            assert answer.status_code == 503, f"{answer.request.method} {answer.request.url}: {answer.text}"
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-ratelimit-remaining"]
            msgspec.json.decode(answer.content, type=endpoint.api.errors.struct)
