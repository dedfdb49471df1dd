"""GetRollups on a whole replica: points over time, which a restart does not lose."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.system_pb2 import GetRollupsRequest, GetRollupsResponse
from foliot.v1.task_pb2 import CancelTaskRequest, RetryTaskRequest
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, replica

DAY_S = 86_400


def an_hour_ago() -> Timestamp:
    return Timestamp(seconds=SystemClock().now_us() // 1_000_000 - 3_600)


def totals(response: GetRollupsResponse) -> dict[str, int]:
    names = ("succeeded", "failed", "cancelled", "skipped", "timed")
    return {name: sum(getattr(point, name) for point in response.points) for name in names}


async def test_what_ended_is_counted_across_restarts(database_url: str, pool: Pool) -> None:
    request = GetRollupsRequest(start_at=an_hour_ago(), step=Duration(seconds=300))
    async with replica(database_url, pool) as before:
        failing, _ = await before.submit(), await before.submit()
        await before.run_one(fails=True)
        await before.run_one()
        await before.client.tasks.RetryTask(RetryTaskRequest(task_id=failing.id))
        await before.client.tasks.CancelTask(CancelTaskRequest(task_id=failing.id))
        first = await before.client.system.GetRollups(request)
        assert totals(first) == {"succeeded": 1, "failed": 1, "cancelled": 1, "skipped": 0, "timed": 2}
        assert sum(point.run_time.ToMicroseconds() for point in first.points) > 0
        assert len(first.points) in {12, 13}
        other = await before.acting_in("p").system.GetRollups(request)
        assert sum(totals(other).values()) == 0
    async with replica(database_url, pool) as after:
        assert totals(await after.client.system.GetRollups(request)) == totals(first)
        async with replica(database_url, pool, leads=False) as follower:
            assert totals(await follower.client.system.GetRollups(request)) == totals(first)


async def test_points_cover_the_whole_time(stack: Stack) -> None:
    start, end = Timestamp(seconds=1_795_176_059), Timestamp(seconds=1_795_176_601)
    response = await stack.client.system.GetRollups(GetRollupsRequest(start_at=start, end_at=end))
    assert [point.start_at.seconds for point in response.points] == list(range(1_795_176_000, 1_795_176_660, 60))
    response = await stack.client.system.GetRollups(GetRollupsRequest(start_at=start, end_at=end, step=Duration(seconds=240)))
    assert [point.start_at.seconds for point in response.points] == [1_795_176_000, 1_795_176_240, 1_795_176_480]
    month = GetRollupsRequest(start_at=Timestamp(), end_at=Timestamp(seconds=30 * DAY_S), step=Duration(seconds=22 * 60))
    assert len((await stack.client.system.GetRollups(month)).points) == 1964


@pytest.mark.parametrize(
    ("request_", "field", "rule"),
    [
        (GetRollupsRequest(), "start_at", "required"),
        (GetRollupsRequest(start_at=Timestamp(nanos=-1)), "start_at", "malformed"),
        (GetRollupsRequest(start_at=Timestamp(), end_at=Timestamp(seconds=1 << 50)), "end_at", "malformed"),
        (GetRollupsRequest(start_at=Timestamp(seconds=60), end_at=Timestamp(seconds=60)), "end_at", "out_of_range"),
        (GetRollupsRequest(start_at=Timestamp(), step=Duration(seconds=90)), "step", "out_of_range"),
        (GetRollupsRequest(start_at=Timestamp(), step=Duration(seconds=-60)), "step", "out_of_range"),
        (GetRollupsRequest(start_at=Timestamp(), step=Duration(seconds=401 * DAY_S)), "step", "out_of_range"),
        (GetRollupsRequest(start_at=Timestamp(), end_at=Timestamp(seconds=2_001 * 60)), "step", "out_of_range"),
    ],
)
async def test_what_makes_no_sense_is_refused(stack: Stack, request_: GetRollupsRequest, field: str, rule: str) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.system.GetRollups(request_)
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    assert [(violation.field, violation.rule) for violation in caught.value.fields] == [(field, rule)]
