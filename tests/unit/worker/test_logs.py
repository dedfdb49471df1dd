from __future__ import annotations

import asyncio

from foliot.kit.clock import ManualClock
from foliot_worker import logs
from foliot_worker.logs import BUFFER_LINES_MAX, LINE_BYTES_MAX, LogBuffer, cut_line
from tests.unit.worker.test_outputs import attempt


def test_lines_are_numbered_and_stamped() -> None:
    clock = ManualClock()
    buffer = LogBuffer(clock)
    log = buffer.open(attempt())
    log.write("info", "a")
    clock.advance(1)
    log.write("error", "b")
    first, second = buffer.take(count_max=10, bytes_max=10**6)
    assert (first.number, first.level, first.message) == (1, "info", "a")
    assert (second.number, second.at_us - first.at_us) == (2, 1_000_000)


def test_what_comes_too_fast_is_dropped_and_counted() -> None:
    buffer = LogBuffer(ManualClock())
    log, other = buffer.open(attempt()), buffer.open(attempt())
    for number in range(BUFFER_LINES_MAX + 5):
        log.write("info", str(number))
    other.write("info", "none")
    assert len(buffer) == BUFFER_LINES_MAX
    buffer.take(count_max=BUFFER_LINES_MAX, bytes_max=10**9)
    log.write("info", "after")
    other.write("info", "after")
    found = [(line.number, line.level, line.message) for line in buffer.take(count_max=10, bytes_max=10**6)]
    assert found == [
        (BUFFER_LINES_MAX + 1, "warn", "5 lines were dropped: they came too fast"),
        (BUFFER_LINES_MAX + 2, "info", "after"),
        (1, "warn", "1 lines were dropped: they came too fast"),
        (2, "info", "after"),
    ]


def test_bytes_are_bounded_too() -> None:
    buffer = LogBuffer(ManualClock())
    log = buffer.open(attempt())
    for _ in range(3_000):
        log.write("info", "x" * LINE_BYTES_MAX)
    assert len(buffer) == logs.BUFFER_BYTES_MAX // LINE_BYTES_MAX
    taken = buffer.take(count_max=1_000, bytes_max=100_000)
    assert len(taken) == 7
    log.write("info", "fits again")
    assert len(buffer) == logs.BUFFER_BYTES_MAX // LINE_BYTES_MAX - 7 + 2


def test_disabled_takes_nothing() -> None:
    buffer = LogBuffer(ManualClock(), enabled=False)
    buffer.open(attempt()).write("info", "a")
    assert len(buffer) == 0


async def test_waiting_ends_with_the_first_line() -> None:
    buffer = LogBuffer(ManualClock())
    waiting = asyncio.create_task(buffer.wait_lines())
    buffer.open(attempt()).write("info", "a")
    await waiting


def test_lines_are_cut_and_cleaned() -> None:
    assert cut_line("plain") == "plain"
    assert cut_line("a\0b\ud800") == "a\ufffdb?"
    assert cut_line("é" * LINE_BYTES_MAX).endswith("é…")
    assert len(cut_line("é" * LINE_BYTES_MAX).encode()) <= LINE_BYTES_MAX
    assert cut_line("x" * LINE_BYTES_MAX) == "x" * LINE_BYTES_MAX
