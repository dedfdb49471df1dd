"""The buckets in a real Redis: the same rule as in the process, and what happens when Redis goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliot.kit.clock import Clock, ManualClock
from foliot_gateway.http import redis_link
from foliot_gateway.http.limits import shared as shared_module
from foliot_gateway.http.limits.gcra import LIMIT_MAX, Bucket, decide
from foliot_gateway.http.limits.shared import SharedBuckets
from foliot_gateway.http.redis_health import RedisHealth
from foliot_gateway.http.redis_link import RedisMemory, open_redis
from tests.redis_server import RedisServer, found_again


@asynccontextmanager
async def shared(url: str, clock: Clock | None = None) -> AsyncIterator[SharedBuckets]:
    redis = open_redis(url)
    try:
        async with SharedBuckets(redis, clock=clock) as buckets:
            yield buckets
    finally:
        await redis.aclose()


@pytest.fixture
def mortal_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed."""
    with RedisServer(tmp_path) as server:
        yield server


@settings(max_examples=40)
@given(st.integers(1, 50) | st.integers(1, LIMIT_MAX), st.lists(st.integers(0, 20_000_000), min_size=1, max_size=60))
def test_the_script_decides_as_the_rule_does(redis_server: RedisServer, limit: int, gaps_us: list[int]) -> None:
    async def play() -> None:
        clock = ManualClock()
        bucket: Bucket | None = None
        async with shared(redis_server.url, clock) as buckets:
            for gap_us in gaps_us:
                clock.advance(gap_us / 1_000_000)
                expected = decide(bucket, now_us=clock.now_us(), limit=limit)
                bucket = Bucket(expected.level, clock.now_us())
                assert await buckets.take("same", limit) == expected

    with redis_server.client() as redis:
        redis.flushall()
    asyncio.run(play())


async def test_many_at_once_over_two_gateways_share_one_limit(redis_url: str) -> None:
    clock = ManualClock()
    async with shared(redis_url, clock) as one, shared(redis_url, clock) as other:
        decisions = await asyncio.gather(*(buckets.take("same", 700) for buckets in (one, other) for _ in range(500)))
        assert sum(decision is not None and decision.allowed for decision in decisions) == 700
        assert all(decision is not None for decision in decisions)


async def test_by_the_time_of_redis_itself_a_burst_is_bounded_too(redis_url: str) -> None:
    async with shared(redis_url) as buckets:
        decisions = await asyncio.gather(*(buckets.take("same", 2) for _ in range(20)))
        # Redis's clock goes on meanwhile, by far less than the half minute that a third one takes.
        assert sum(decision is not None and decision.allowed for decision in decisions) == 2


async def test_scripts_that_were_flushed_are_loaded_again(redis_url: str, redis_server: RedisServer) -> None:
    async with shared(redis_url) as buckets:
        with redis_server.client() as redis:
            redis.script_flush()
        decision = await buckets.take("same", 5)
        assert decision is not None
        assert decision.remaining == 4


async def test_a_key_that_somebody_broke_counts_as_empty(redis_url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as redis:
        redis.set("foliot:limit:same", "nonsense", ex=60)
    async with shared(redis_url) as buckets:
        decision = await buckets.take("same", 5)
        assert decision is not None
        assert decision.remaining == 4


async def test_killed_in_between_nobody_waits_and_it_is_found_again(mortal_redis: RedisServer) -> None:
    clock = ManualClock()
    async with shared(mortal_redis.url, clock) as buckets:
        assert await buckets.take("same", 5) is not None
        mortal_redis.kill()
        # What was under way, and all that comes, is left to the caller.
        assert await asyncio.gather(*(buckets.take("same", 5) for _ in range(50))) == [None] * 50
        assert not buckets.connected
        mortal_redis.start()
        await found_again(buckets, clock)
        assert await buckets.take("same", 5) is not None


async def test_frozen_it_is_given_up_and_costs_nothing_more(mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "TIMEOUT_S", 0.1)
    async with shared(mortal_redis.url, ManualClock()) as buckets:
        mortal_redis.freeze()
        try:
            assert await buckets.take("same", 5) is None
            assert not buckets.connected
            assert await buckets.take("same", 5) is None
        finally:
            mortal_redis.thaw()


async def test_late_it_keeps_nobody_waiting_and_is_used_again_when_it_answers(
    mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared(mortal_redis.url, ManualClock()) as buckets:
        assert await buckets.take("same", 5) is not None
        monkeypatch.setattr(shared_module, "PATIENCE_S", 0.01)
        mortal_redis.freeze()
        try:
            assert await buckets.take("same", 5) is None
            assert await buckets.take("same", 5) is None
        finally:
            mortal_redis.thaw()
        monkeypatch.undo()
        await buckets.wait_connected()
        # The late answer had counted its request all the same, and those decided elsewhere are not known.
        decision = await buckets.take("same", 5)
        assert decision is not None
        assert decision.remaining == 2


async def test_full_it_is_as_if_it_were_away(mortal_redis: RedisServer) -> None:
    clock = ManualClock()
    async with shared(mortal_redis.url, clock) as buckets:
        with mortal_redis.client() as admin:
            admin.config_set("maxmemory", "1")
            assert await asyncio.gather(*(buckets.take("same", 5) for _ in range(50))) == [None] * 50
            admin.config_set("maxmemory", "0")
        await found_again(buckets, clock)
        assert await buckets.take("same", 5) is not None


async def test_without_a_redis_it_starts_all_the_same() -> None:
    async with shared("redis://127.0.0.1:1/0", ManualClock()) as buckets:
        assert await buckets.take("same", 5) is None


async def test_a_wrong_password_is_as_if_it_were_away(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="right") as server:
        async with shared(server.url.replace("right", "wrong"), ManualClock()) as buckets:
            assert await buckets.take("same", 5) is None
        async with shared(server.url) as buckets:
            assert await buckets.take("same", 5) is not None


async def test_health_tells_of_memory(redis_url: str, redis_server: RedisServer) -> None:
    redis = open_redis(redis_url)
    health = RedisHealth(RedisMemory(redis))
    found = await asyncio.gather(*(health.status() for _ in range(20)))
    assert {one.status for one in found} == {"healthy"}
    assert found[0].memory_usage is not None
    assert 0 < found[0].memory_usage < 1
    with redis_server.client() as admin:
        admin.config_set("maxmemory", "1gb")
        limited = await health.status()
        admin.config_set("maxmemory", "0")
    assert limited.memory_usage is not None
    assert 0 < limited.memory_usage < 0.1
    await redis.aclose()


async def test_health_of_what_is_not_there() -> None:
    assert (await RedisHealth().status()).status == "disabled"
    redis = open_redis("redis://127.0.0.1:1/0")
    assert (await RedisHealth(RedisMemory(redis)).status()).status == "unhealthy"
    await redis.aclose()
