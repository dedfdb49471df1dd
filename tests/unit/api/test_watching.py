"""Watch streams: what is sent when, and how often PostgreSQL is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from foliot.kit.clock import ManualClock
from foliot.v1 import task_pb2
from foliot_scheduler.api.ports import NoHints
from foliot_scheduler.api.watching import watch


class Thing:
    """Something that changes, and that takes a while to look at."""

    def __init__(self, clock: ManualClock, look_s: float = 0.0) -> None:
        self.clock = clock
        self.look_s = look_s
        self.name = "first"
        self.ended = False
        self.looks: list[float] = []

    async def look(self) -> tuple[task_pb2.Task, bool]:
        self.looks.append(round(self.clock.monotonic(), 3))
        if self.look_s:
            await self.clock.sleep(self.look_s)
        return task_pb2.Task(key=self.name), self.ended


class Watcher:
    def __init__(self, thing: Thing) -> None:
        self.seen: list[str] = []
        self._task = asyncio.create_task(self._watch(thing))

    async def _watch(self, thing: Thing) -> None:
        async for message in watch(thing.look, b"id", NoHints(thing.clock), thing.clock):
            self.seen.append(message.key)

    @property
    def done(self) -> bool:
        return self._task.done()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def test_only_changes_are_sent_and_the_end_ends_it() -> None:
    clock = ManualClock()
    thing = Thing(clock)
    watcher = Watcher(thing)
    await clock.run_for(3)
    assert watcher.seen == ["first"]
    thing.name = "second"
    await clock.run_for(1)
    thing.name, thing.ended = "third", True
    await clock.run_for(1)
    assert watcher.seen == ["first", "second", "third"]
    assert watcher.done


async def test_what_has_ended_is_shown_once() -> None:
    clock = ManualClock()
    thing = Thing(clock)
    thing.ended = True
    watcher = Watcher(thing)
    await clock.run_for(1)
    assert (watcher.seen, watcher.done, thing.looks) == (["first"], True, [0.0])


async def test_it_looks_ever_more_seldom_and_soon_after_a_change() -> None:
    clock = ManualClock()
    thing = Thing(clock)
    watcher = Watcher(thing)
    await clock.run_for(3.6)
    assert thing.looks == [0.0, 0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55]
    thing.name = "second"
    await clock.run_for(1.2)
    assert thing.looks[8:] == [4.55, 4.6, 4.7]
    await watcher.stop()


async def test_a_thing_that_is_slow_to_look_at_is_looked_at_seldom() -> None:
    clock = ManualClock()
    thing = Thing(clock, look_s=1)
    watcher = Watcher(thing)
    await clock.run_for(25)
    assert thing.looks == [0.0, 11.0, 22.0]
    await watcher.stop()


async def test_a_hint_saves_waiting() -> None:
    clock, hinted = ManualClock(), asyncio.Event()

    class Hints:
        async def wait(self, ids: Collection[bytes], timeout_s: float) -> None:
            assert list(ids) == [b"id"]
            await hinted.wait()
            hinted.clear()

    thing = Thing(clock)
    stream = watch(thing.look, b"id", Hints(), clock)
    assert (await anext(stream)).key == "first"
    following = asyncio.ensure_future(anext(stream))
    thing.name = "second"
    hinted.set()
    assert (await following).key == "second"
    await stream.aclose()  # type: ignore[attr-defined] # an async generator, though it is typed as an iterator
