"""The clocks: what order identifiers come in, and how a test moves time."""

import asyncio
import itertools
import random  # noqa: TID251 -- what the clock itself is made of
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.clock import Clock, ManualClock, SystemClock, UuidSequence


def test_both_clocks_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), ManualClock()]
    for clock in clocks:
        assert clock.now().tzinfo is UTC
        assert 0 <= clock.random() < 1
        assert len(clock.random_bytes(32)) == 32


def test_system_clock_agrees_with_itself() -> None:
    clock = SystemClock()
    before_us = clock.now_us()
    now = clock.now()
    after_us = clock.now_us()
    assert before_us <= (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) <= after_us
    assert clock.monotonic() <= clock.monotonic()


async def test_system_clock_sleep_of_nothing_gives_way_once() -> None:
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await SystemClock().sleep(0)
    assert turned.is_set()


def test_uuid7_has_version_variant_and_time() -> None:
    clock = ManualClock(datetime(2026, 11, 20, 13, tzinfo=UTC))
    made = uuid.UUID(bytes=clock.uuid7())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert int.from_bytes(made.bytes[:6], "big") == clock.now_us() // 1_000


@given(st.lists(st.integers(min_value=0, max_value=50), min_size=2, max_size=200))
def test_uuid7_strictly_increases_whatever_the_clock_does(milliseconds: list[int]) -> None:
    sequence = UuidSequence(random.Random(1))
    made = [sequence.next(1_800_000_000_000 + now) for now in milliseconds]
    assert all(first < second for first, second in itertools.pairwise(made))
    assert {uuid.UUID(bytes=one).version for one in made} == {7}
    assert {uuid.UUID(bytes=one).variant for one in made} == {uuid.RFC_4122}


def test_uuid7_that_runs_over_goes_on_in_the_next_millisecond() -> None:
    sequence = UuidSequence(random.Random(1))
    first = sequence.next(5)
    sequence._rand_b = (1 << 62) - 1
    second = sequence.next(5)
    assert first < second
    assert int.from_bytes(second[:6], "big") == 6
    assert uuid.UUID(bytes=second).variant == uuid.RFC_4122


def test_uuid7_of_threads_are_distinct_and_ordered_in_each() -> None:
    made: list[list[bytes]] = [[] for _ in range(4)]

    def make(mine: list[bytes]) -> None:
        clock = SystemClock()
        mine.extend(clock.uuid7() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for mine in made for one in mine}) == 8_000
    assert all(mine == sorted(mine) for mine in made)


def test_manual_clock_repeats_itself_from_a_seed() -> None:
    first, second, other = ManualClock(seed=7), ManualClock(seed=7), ManualClock(seed=8)
    drawn = [(clock.random(), clock.random_bytes(8), clock.uuid7()) for clock in (first, second, other)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_advance_wakes_sleepers_in_order_of_their_time() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("c", 3), ("a", 1), ("b", 2), ("a2", 1)):
            group.create_task(sleep(name, seconds))
        await clock.wait_sleepers(4)
        clock.advance(0.5)
        assert clock.sleeper_count == 4
        clock.advance(2.5)
    assert woken == ["a", "a2", "b", "c"]
    assert clock.monotonic() == 3
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)


async def test_run_for_gives_a_loop_each_of_its_turns() -> None:
    clock = ManualClock()
    turns: list[float] = []

    async def loop() -> None:
        while True:
            await clock.sleep(1)
            turns.append(clock.monotonic())

    task = asyncio.create_task(loop())
    await clock.run_for(3.5)
    assert turns == [1, 2, 3]
    assert clock.monotonic() == 3.5
    task.cancel()
    await asyncio.wait([task])


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.wait_sleepers(1)
    task.cancel()
    await asyncio.wait([task])
    assert clock.sleeper_count == 0
    await clock.run_for(2)
    assert clock.monotonic() == 2


def test_shift_wall_leaves_monotonic_time_alone() -> None:
    clock = ManualClock()
    before = clock.uuid7()
    clock.shift_wall(-3_600)
    assert clock.now() == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert clock.monotonic() == 0
    assert clock.uuid7() > before


def test_monotonic_time_cannot_be_moved_back() -> None:
    with pytest.raises(ValueError, match="shift_wall"):
        ManualClock().advance(-1)
