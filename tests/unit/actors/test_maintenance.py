"""Partitions come first, the rest hourly; what fails is told once and tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
import structlog.testing

from foliot.kit.clock import ManualClock
from foliot_scheduler.actors.maintenance import Maintenance, MaintenanceSettings
from foliot_scheduler.store.errors import StoreUnavailable
from foliot_scheduler.store.partitions import PartitionReport, RetentionSettings
from tests.unit.actors.standing import StandIn

NOTHING = PartitionReport()


class FakeStore:
    """Notes when it was called, and answers as a test wants."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.calls: list[tuple[str, float]] = []
        self.answer: Callable[[], PartitionReport] = lambda: NOTHING
        self.retention: RetentionSettings | None = None

    async def create_ahead(self, now_us: int) -> PartitionReport:
        assert now_us == self._clock.now_us()
        self.calls.append(("create_ahead", self._clock.monotonic()))
        return self.answer()

    async def run_once(self, now_us: int, settings: RetentionSettings) -> PartitionReport:
        assert now_us == self._clock.now_us()
        self.retention = settings
        self.calls.append(("run_once", self._clock.monotonic()))
        return self.answer()


class Replica:
    """A maintenance with everything around it."""

    def __init__(self, settings: MaintenanceSettings | None = None, *, seed: int = 0) -> None:
        self.clock = ManualClock(seed=seed)
        self.leadership = StandIn()
        self.store = FakeStore(self.clock)
        self.part = Maintenance(
            store=self.store, leadership=self.leadership, clock=self.clock, settings=settings or MaintenanceSettings()
        )

    def fail(self) -> PartitionReport:
        raise StoreUnavailable("PostgreSQL does not answer")


async def test_a_term_begins_with_partitions_alone() -> None:
    replica = Replica()
    async with replica.part:
        await replica.clock.run_for(1)
        assert replica.store.calls == []
        replica.leadership.elect(1)
        await replica.clock.run_for(0)
        assert replica.store.calls == [("create_ahead", 1.0)]
        # Each term has its own.
        replica.leadership.elect(2)
        await replica.clock.run_for(2)
    assert [what for what, _ in replica.store.calls] == ["create_ahead", "create_ahead"]


async def test_the_rest_comes_staggered_and_hourly() -> None:
    replica = Replica()
    replica.leadership.elect(1)
    async with replica.part:
        await replica.clock.run_for(5 * 3600)
    (first, began), *full = replica.store.calls
    assert (first, began) == ("create_ahead", 0.0)
    assert {what for what, _ in full} == {"run_once"}
    times = [at for _, at in full]
    assert 0 <= times[0] <= 600
    assert all(3240 <= later - earlier <= 3600 for earlier, later in pairwise(times))
    assert len(times) >= 5


async def test_replicas_do_not_work_in_step() -> None:
    firsts = set()
    for seed in range(3):
        replica = Replica(seed=seed)
        replica.leadership.elect(1)
        async with replica.part:
            await replica.clock.run_for(601)
        firsts.add(replica.store.calls[1][1])
    assert len(firsts) == 3


async def test_the_retention_is_passed_on() -> None:
    retention = RetentionSettings(timedelta(days=3))
    replica = Replica(MaintenanceSettings(retention=retention, stagger_s=0))
    replica.leadership.elect(1)
    async with replica.part:
        await replica.clock.run_for(1)
    assert replica.store.retention is retention


async def test_what_was_put_off_is_done_soon() -> None:
    replica = Replica(MaintenanceSettings(stagger_s=0))
    replica.leadership.elect(1)
    replica.store.answer = lambda: PartitionReport(deferred=("fire",))
    async with replica.part:
        await replica.clock.run_for(125)
    assert replica.store.calls == [("create_ahead", 0.0), ("run_once", 60.0), ("run_once", 120.0)]


async def test_failures_are_told_once_tried_again_and_end_nothing() -> None:
    replica = Replica()
    replica.leadership.elect(1)
    replica.store.answer = replica.fail
    with structlog.testing.capture_logs() as logs:
        async with replica.part:
            await replica.clock.run_for(6 * 3600)
            tries = [at for _, at in replica.store.calls]
            pauses = [later - earlier for earlier, later in pairwise(tries)]
            assert all(60 <= pause <= 3600 + 60 + 1 for pause in pauses)
            # Partitions stay the first thing until they are there.
            assert {what for what, _ in replica.store.calls} == {"create_ahead"}
            assert replica.part.running
            replica.store.answer = lambda: NOTHING
            await replica.clock.run_for(2 * 3600)
    told = [(line["event"], line["log_level"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("maintenance.failed", "warning"), ("maintenance.recovered", "info")]
    assert replica.store.calls[-1][0] == "run_once"


async def test_only_what_was_done_is_told() -> None:
    replica = Replica(MaintenanceSettings(stagger_s=0))
    reports = iter([NOTHING, PartitionReport(dropped=("a", "b"), deleted={"fire": 3}), PartitionReport(left_in_default=("c",))])
    replica.store.answer = lambda: next(reports)
    replica.leadership.elect(1)
    with structlog.testing.capture_logs() as logs:
        async with replica.part:
            await replica.clock.run_for(3601)
    assert [line["event"] for line in logs] == ["maintenance.done", "maintenance.left_in_default", "maintenance.done"]
    assert (logs[0]["dropped"], logs[0]["deleted"]) == (("a", "b"), {"fire": 3})


async def test_a_bug_is_not_hidden() -> None:
    replica = Replica()
    replica.leadership.elect(1)
    replica.store.answer = lambda: PartitionReport(moved=1 // 0)
    await replica.part.start()
    await replica.clock.run_for(1)
    assert isinstance(replica.part.failure and replica.part.failure.__cause__, ZeroDivisionError)
    await replica.part.stop()


@pytest.mark.parametrize(("every_s", "again_s", "stagger_s"), [(10.0, 20.0, 0.0), (10.0, 0.0, 0.0), (10.0, 5.0, -1.0)])
def test_settings_that_make_no_sense_are_refused(every_s: float, again_s: float, stagger_s: float) -> None:
    with pytest.raises(ValueError, match="maintenance needs"):
        MaintenanceSettings(every_s=every_s, again_s=again_s, stagger_s=stagger_s)
