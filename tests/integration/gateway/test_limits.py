"""Rate limits as callers meet them: real gateways, real sockets, a real Redis, and time that the test controls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from foliot.client import Client
from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError, abort
from foliot.kit.settings import HostPort, SettingsError
from foliot.v1 import access_pb2, access_pb2_grpc, system_pb2_grpc
from foliot_gateway.app import GatewayApp
from foliot_gateway.http import redis_link
from foliot_gateway.settings import GatewaySettings
from tests.integration.gateway.test_app import FakeSystem
from tests.redis_server import RedisServer, found_again

FREE = HostPort("127.0.0.1", 0)
FREE_OF_CHARGE = "/api/v1/health"
ANY = "/docs"


class FakeAccess(access_pb2_grpc.AccessServiceServicer):
    """Knows the callers it is told of, and counts how often it was asked."""

    def __init__(self) -> None:
        self.callers: dict[str, access_pb2.GetCallerResponse] = {}
        self.asked: Counter[str] = Counter()

    def know(self, authorization: str, subject: str, requests_per_minute: int = 0, project: str = "default") -> None:
        self.callers[authorization] = access_pb2.GetCallerResponse(
            authenticated=True, subject=subject, project=project, requests_per_minute=requests_per_minute
        )

    async def GetCaller(self, request: access_pb2.GetCallerRequest, context: Any) -> access_pb2.GetCallerResponse:  # noqa: N802 - gRPC's
        authorization = str(dict(context.invocation_metadata()).get("authorization", ""))
        self.asked[authorization] += 1
        if authorization not in self.callers:
            await abort(context, FoliotError(ErrorReason.UNAUTHENTICATED, "nobody knows you"))
        return self.callers[authorization]

    async def CreateApiKey(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's
        raise AssertionError

    ListApiKeys = RevokeApiKey = ListAuditRecords = CreateApiKey


@pytest.fixture
async def access() -> FakeAccess:
    return FakeAccess()


@pytest.fixture
async def scheduler(access: FakeAccess) -> AsyncIterator[str]:
    server = grpc.aio.server()
    system_pb2_grpc.add_SystemServiceServicer_to_server(FakeSystem(), server)
    access_pb2_grpc.add_AccessServiceServicer_to_server(access, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def gateway(scheduler: str, clock: ManualClock, **settings: Any) -> AsyncIterator[tuple[GatewayApp, httpx.AsyncClient]]:
    host, _, port = scheduler.rpartition(":")
    given = GatewaySettings(scheduler=(HostPort(host, int(port)),), http=FREE, chadburn_http=FREE, **settings)
    async with (
        Client(scheduler) as client,
        GatewayApp(given, client, clock=clock) as app,
        httpx.AsyncClient(base_url=f"http://{app.http_address}", timeout=30) as http,
    ):
        yield app, http


async def statuses(requests: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*requests))


# ---- what a response says


async def test_each_response_tells_of_the_limit(scheduler: str, clock: ManualClock) -> None:
    async with gateway(scheduler, clock, rate_limit=100) as (_, http):
        for path, status in ((ANY, 200), ("/jobs/nonsense/nothing", 404), ("/openapi.yaml?x=1", 400), ("/%ff", 404)):
            answer = await http.get(path)
            assert answer.status_code == status
        clock.advance(30)
        answer = await http.get(ANY)
        now_s = round(clock.now().timestamp())
        assert answer.headers["x-ratelimit-limit"] == "100"
        assert answer.headers["x-ratelimit-remaining"] == "99"
        # Its own share of the minute is six tenths of a second.
        assert answer.headers["x-ratelimit-reset"] == str(now_s + 1)
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=60'
        assert answer.headers["ratelimit"] == '"default";r=99;t=1'


async def test_over_the_limit_is_429_in_the_apis_own_shape_and_says_when_to_come_back(scheduler: str, clock: ManualClock) -> None:
    async with gateway(scheduler, clock, rate_limit=2) as (_, http):
        for _ in range(2):
            assert (await http.get(ANY)).status_code == 200
        answer = await http.post("/jobs", json={"name": "never read"})
        assert answer.status_code == 429
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:foliot:problem:rate-limited"
        assert answer.headers["retry-after"] == "30"
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert answer.headers["x-ratelimit-reset"] == str(round(clock.now().timestamp()) + 30)
        assert answer.headers["ratelimit"] == '"default";r=0;t=30'
        clock.advance(29.9)
        late = await http.get(ANY)
        assert (late.status_code, late.headers["retry-after"]) == (429, "1")
        clock.advance(0.1)
        assert (await http.get(ANY)).status_code == 200


async def test_health_is_never_limited_and_counts_nothing(scheduler: str, clock: ManualClock) -> None:
    async with gateway(scheduler, clock, rate_limit=1) as (_, http):
        for _ in range(3):
            answer = await http.get(FREE_OF_CHARGE)
            assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (200, "1")
        assert (await http.get(ANY)).status_code == 200
        assert (await http.get(ANY)).status_code == 429
        answer = await http.get(FREE_OF_CHARGE)
        assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (200, "0")


async def test_no_limit_is_no_fields(scheduler: str, clock: ManualClock) -> None:
    async with gateway(scheduler, clock, rate_limit=0) as (_, http):
        answer = await http.get(ANY)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if "ratelimit" in name]


async def test_both_listeners_count_together(scheduler: str, clock: ManualClock) -> None:
    async with gateway(scheduler, clock, rate_limit=2) as (app, http):
        assert (await http.get(ANY)).status_code == 200
        assert (await http.get(f"http://{app.chadburn_http_address}{ANY}")).status_code == 200
        assert (await http.get(ANY)).status_code == 429


# ---- who is charged


async def test_each_credential_has_its_own_limit(scheduler: str, clock: ManualClock, access: FakeAccess) -> None:
    access.know("ApiKey a", "key-a")
    access.know("ApiKey b", "key-b", requests_per_minute=5)
    access.know("Bearer also-b", "key-b", requests_per_minute=5)
    access.know("Bearer namesake", "key-b", project="another")
    async with gateway(scheduler, clock, rate_limit=2) as (_, http):

        async def ask(authorization: str) -> tuple[int, str]:
            answer = await http.get(ANY, headers={"authorization": authorization})
            return answer.status_code, answer.headers["x-ratelimit-remaining"]

        assert [await ask("ApiKey a") for _ in range(3)] == [(200, "1"), (200, "0"), (429, "0")]
        assert [await ask("ApiKey b") for _ in range(3)] == [(200, "4"), (200, "3"), (200, "2")]
        assert await ask("Bearer also-b") == (200, "1")
        assert await ask("Bearer namesake") == (200, "1")
        # And none of it is charged to the address.
        assert (await http.get(ANY)).headers["x-ratelimit-remaining"] == "1"


async def test_made_up_credentials_are_charged_to_the_address(scheduler: str, clock: ManualClock, access: FakeAccess) -> None:
    access.know("ApiKey a", "key-a")
    async with gateway(scheduler, clock, rate_limit=3) as (_, http):
        assert (await http.get(ANY)).status_code == 200
        found = [(await http.get(ANY, headers={"authorization": f"ApiKey guess-{i}"})).status_code for i in range(4)]
        assert found == [200, 200, 429, 429]
        # Those past the limit were not even asked about.
        assert set(access.asked) == {"ApiKey guess-0", "ApiKey guess-1"}
        clock.advance(20)
        assert (await http.get(ANY, headers={"authorization": "ApiKey a"})).status_code == 200


async def test_the_scheduler_is_asked_once_a_minute(scheduler: str, clock: ManualClock, access: FakeAccess) -> None:
    access.know("ApiKey a", "key-a")
    headers = {"authorization": "ApiKey a"}
    async with gateway(scheduler, clock) as (_, http):
        assert await statuses([http.get(ANY, headers=headers) for _ in range(20)]) == {200: 20}
        assert access.asked["ApiKey a"] == 1
        clock.advance(59)
        await http.get(ANY, headers=headers)
        assert access.asked["ApiKey a"] == 1
        clock.advance(1)
        await http.get(ANY, headers=headers)
        assert access.asked["ApiKey a"] == 2


async def test_a_credential_is_not_believed_past_its_end(scheduler: str, clock: ManualClock, access: FakeAccess) -> None:
    access.know("Bearer short", "somebody", requests_per_minute=7)
    access.callers["Bearer short"].expires_at.FromMicroseconds(clock.now_us() + 10_000_000)
    headers = {"authorization": "Bearer short"}
    async with gateway(scheduler, clock, rate_limit=9) as (_, http):
        assert (await http.get(ANY, headers=headers)).headers["x-ratelimit-limit"] == "7"
        del access.callers["Bearer short"]
        clock.advance(10)
        assert (await http.get(ANY, headers=headers)).headers["x-ratelimit-limit"] == "9"


async def test_a_key_that_was_refused_works_soon_after_it_is_made(scheduler: str, clock: ManualClock, access: FakeAccess) -> None:
    headers = {"authorization": "ApiKey a"}
    async with gateway(scheduler, clock, rate_limit=10) as (_, http):
        assert (await http.get(ANY, headers=headers)).headers["x-ratelimit-limit"] == "10"
        access.know("ApiKey a", "key-a", requests_per_minute=7)
        clock.advance(5)
        assert (await http.get(ANY, headers=headers)).headers["x-ratelimit-limit"] == "7"


async def test_behind_a_trusted_proxy_its_clients_are_told_apart(scheduler: str, clock: ManualClock) -> None:
    trusted = GatewaySettings.__dataclass_fields__["trusted_proxies"].metadata["foliot.option"].parse("127.0.0.0/8")
    async with gateway(scheduler, clock, rate_limit=1, trusted_proxies=trusted) as (_, http):
        for client in ("198.51.100.1", "198.51.100.2"):
            headers = {"x-forwarded-for": client}
            assert (await http.get(ANY, headers=headers)).status_code == 200
            assert (await http.get(ANY, headers=headers)).status_code == 429
    async with gateway(scheduler, clock, rate_limit=1) as (_, http):
        assert (await http.get(ANY, headers={"x-forwarded-for": "198.51.100.1"})).status_code == 200
        assert (await http.get(ANY, headers={"x-forwarded-for": "198.51.100.2"})).status_code == 429


# ---- several gateways, one Redis


async def test_100_a_minute_are_100_over_two_gateways(scheduler: str, clock: ManualClock, redis_url: str) -> None:
    settings = {"rate_limit": 100, "redis_url": redis_url}
    async with gateway(scheduler, clock, **settings) as (_, one), gateway(scheduler, clock, **settings) as (_, other):
        assert await statuses([http.get(ANY) for http in (one, other) for _ in range(75)]) == {200: 100, 429: 50}
        # A minute's tenth later there are ten more, whoever is asked.
        clock.advance(6)
        assert await statuses([http.get(ANY) for http in (one, other) for _ in range(10)]) == {200: 10, 429: 10}


async def test_redis_killed_in_between_fails_no_request(scheduler: str, clock: ManualClock, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        settings = {"rate_limit": 1000, "redis_url": redis.url}
        async with gateway(scheduler, clock, **settings) as (app, one), gateway(scheduler, clock, **settings) as (_, other):
            assert await statuses([http.get(ANY) for http in (one, other) for _ in range(25)]) == {200: 50}
            under_way = [asyncio.ensure_future(http.get(ANY)) for http in (one, other) for _ in range(25)]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            redis.kill()
            assert await statuses(list(under_way)) == {200: 50}
            assert await statuses([http.get(ANY) for http in (one, other) for _ in range(25)]) == {200: 50}
            # Each went on from what it knew of the shared count.
            assert int((await one.get(ANY)).headers["x-ratelimit-remaining"]) < 1000 - 25
            redis.start()
            assert app._shared is not None
            await found_again(app._shared.buckets, clock)
            assert (await one.get(ANY)).status_code == 200


@pytest.mark.parametrize("trouble", ["frozen", "full"])
async def test_redis_in_trouble_fails_no_request(
    scheduler: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    with RedisServer(tmp_path) as redis:
        async with gateway(scheduler, clock, rate_limit=10, redis_url=redis.url) as (app, http):
            assert await statuses([http.get(ANY) for _ in range(5)]) == {200: 5}
            monkeypatch.setattr(redis_link, "TIMEOUT_S", 0.1)
            if trouble == "full":
                with redis.client() as admin:
                    admin.config_set("maxmemory", "1")
            else:
                redis.freeze()
            # The limit holds all the same, from what was known of the shared count.
            assert await statuses([http.get(ANY) for _ in range(10)]) == {200: 5, 429: 5}
            assert app._shared is not None
            assert not app._shared.buckets.connected
            redis.thaw()


async def test_who_has_used_up_the_limit_gets_no_second_one_by_redis_going_away(
    scheduler: str, clock: ManualClock, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        async with gateway(scheduler, clock, rate_limit=3, redis_url=redis.url) as (_, http):
            assert await statuses([http.get(ANY) for _ in range(5)]) == {200: 3, 429: 2}
            redis.kill()
            assert await statuses([http.get(ANY) for _ in range(5)]) == {429: 5}
            clock.advance(20)
            assert await statuses([http.get(ANY) for _ in range(5)]) == {200: 1, 429: 4}


async def test_a_url_that_is_none_of_redis_is_refused_without_its_password(scheduler: str) -> None:
    given = GatewaySettings(scheduler=(HostPort("127.0.0.1", 1),), redis_url="redis://:hunter2@127.0.0.1:1?db=nonsense")
    assert "hunter2" not in repr(given)
    async with Client(scheduler) as client:
        with pytest.raises(SettingsError) as raised:
            GatewayApp(given, client)
    assert raised.value.option == "--redis-url"
    assert "hunter2" not in str(raised.value)
