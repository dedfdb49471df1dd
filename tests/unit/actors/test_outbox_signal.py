"""The outbox's signal: one wake-up for each time that something is due, and one at the latest after a while."""

from __future__ import annotations

import asyncio

from foliot.kit.clock import ManualClock
from foliot_scheduler.actors.outbox_signal import OutboxSignal

POLL_S = 60.0


async def test_a_wait_that_was_cut_short_does_not_cut_short_the_next() -> None:
    clock, signal = ManualClock(), OutboxSignal()
    first = asyncio.create_task(signal.wait(clock, POLL_S))
    await clock.run_for(1)
    signal.notify()
    await clock.run_for(1)
    assert first.done()
    second = asyncio.create_task(signal.wait(clock, POLL_S))
    await clock.run_for(1)
    assert not second.done()
    await clock.run_for(POLL_S)
    assert second.done(), "time is up"


async def test_what_is_said_between_two_waits_is_heard_once() -> None:
    clock, signal = ManualClock(), OutboxSignal()
    signal.notify()
    signal.notify()
    await signal.wait(clock, POLL_S)
    second = asyncio.create_task(signal.wait(clock, POLL_S))
    await clock.run_for(1)
    assert not second.done()
    signal.notify()
    await clock.run_for(1)
    assert second.done()
