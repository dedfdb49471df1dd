"""Who is up, as GetStatus tells it: replicas and gateways that were heard of lately, by PostgreSQL's clock."""

from __future__ import annotations

import pytest

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.system_pb2 import AnnounceGatewayRequest, GetStatusRequest
from foliot_scheduler.actors.presence import EVERY_S, Presence
from foliot_scheduler.store import components
from foliot_scheduler.store.components import ComponentKind
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack

_AGE = "UPDATE component SET seen_at = seen_at - make_interval(secs => $2) WHERE name = $1"


async def gateways(stack: Stack) -> int:
    return (await stack.client.system.GetStatus(GetStatusRequest())).gateways


async def test_a_gateway_counts_for_thirty_seconds(stack: Stack, pool: Pool) -> None:
    assert await gateways(stack) == 0
    for name in ("a", "b", "a"):
        await stack.client.system.AnnounceGateway(AnnounceGatewayRequest(gateway_id=name))
    assert await gateways(stack) == 2
    await pool.execute(_AGE, "a", components.ALIVE_S)
    assert await gateways(stack) == 1
    await stack.client.system.AnnounceGateway(AnnounceGatewayRequest(gateway_id="a"))
    assert await gateways(stack) == 2


async def test_gateways_that_come_without_end_are_refused(stack: Stack, pool: Pool) -> None:
    many = "INSERT INTO component SELECT now(), 'gateway', 'g' || n FROM generate_series(1, $1::integer) AS n"
    await pool.execute(many, components.NAMES_MAX)
    with pytest.raises(FoliotError) as caught:
        await stack.client.system.AnnounceGateway(AnnounceGatewayRequest(gateway_id="one more"), timeout=1)
    assert caught.value.reason is ErrorReason.OVERLOADED
    await stack.client.system.AnnounceGateway(AnnounceGatewayRequest(gateway_id="g7"))
    assert await gateways(stack) == components.NAMES_MAX


@pytest.mark.parametrize(("name", "rule"), [("", "required"), ("x" * 256, "too_long")])
async def test_a_gateway_needs_a_name(stack: Stack, name: str, rule: str) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.system.AnnounceGateway(AnnounceGatewayRequest(gateway_id=name))
    assert [(violation.field, violation.rule) for violation in caught.value.fields] == [("gateway_id", rule)]


async def test_replicas_say_that_they_are_up_and_forget_who_is_gone(stack: Stack, pool: Pool) -> None:
    await components.announce(pool, ComponentKind.GATEWAY, "gone")
    await pool.execute(_AGE, "gone", components.KEPT_S)
    clock = ManualClock()
    async with Presence(pool=pool, name="r1", clock=clock), Presence(pool=pool, name="r2", clock=clock):
        await clock.wait_sleepers(2)
        status = await stack.client.system.GetStatus(GetStatusRequest())
        assert (status.schedulers, status.gateways) == (2, 0)
        assert status.database_connections >= 1
        assert await pool.fetchval("SELECT count(*) FROM component WHERE kind = 'gateway'") == 0
        await pool.execute(_AGE, "r1", components.ALIVE_S)
        clock.advance(EVERY_S)
        await clock.wait_sleepers(2)
        assert (await stack.client.system.GetStatus(GetStatusRequest())).schedulers == 2
    assert (await stack.client.system.GetStatus(GetStatusRequest())).schedulers == 0, "those that stop say so"
