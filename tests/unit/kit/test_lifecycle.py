"""A part's life: start, failure, stop, in every order."""

import asyncio

import pytest

from foliot.kit.lifecycle import Part, PartFailedError, PartStoppedError, run_forever


class Recorder(Part):
    """Writes down what is called; `fail` makes run raise, `leave` makes it return."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.calls: list[str] = []
        self.fail = asyncio.Event()
        self.leave = asyncio.Event()
        self.start_gate = asyncio.Event()
        self.start_gate.set()
        self.start_error: Exception | None = None

    async def on_start(self) -> None:
        self.calls.append("on_start")
        await self.start_gate.wait()
        if self.start_error is not None:
            raise self.start_error

    async def on_stop(self) -> None:
        self.calls.append("on_stop")

    async def run(self) -> None:
        try:
            waits = [asyncio.create_task(self.fail.wait()), asyncio.create_task(self.leave.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if self.fail.is_set():
                raise OSError("broken")
        except asyncio.CancelledError:
            self.calls.append("cancelled")
            raise


async def test_a_part_starts_runs_and_stops() -> None:
    part = Recorder()
    running = [part.running]
    async with part:
        await part.wait_started()
        running.append(part.running)
        await asyncio.wait([asyncio.create_task(run_forever())], timeout=0)  # lets run begin
    running.append(part.running)
    assert running == [False, True, False]
    assert part.calls == ["on_start", "cancelled", "on_stop"]
    await part.wait_ended()


async def test_the_task_is_named_after_the_part() -> None:
    async with Recorder():
        assert "recorder" in {task.get_name() for task in asyncio.all_tasks()}


async def test_stop_is_legal_before_start_and_again() -> None:
    part = Recorder()
    await part.stop()
    await part.stop()
    await part.wait_ended()
    assert part.calls == []
    with pytest.raises(PartStoppedError):
        await part.wait_started()
    with pytest.raises(RuntimeError, match="lives once"):
        await part.start()


async def test_two_stops_at_once_both_wait_for_the_end() -> None:
    part = Recorder()
    await part.start()
    await asyncio.gather(part.stop(), part.stop())
    assert part.calls.count("on_stop") == 1


async def test_a_part_lives_once() -> None:
    async with Recorder() as part:
        with pytest.raises(RuntimeError, match="lives once"):
            await part.start()


async def test_a_crash_is_told_to_who_waits_for_the_end() -> None:
    part = Recorder()
    await part.start()
    part.fail.set()
    with pytest.raises(PartFailedError, match="recorder") as caught:
        await part.wait_ended()
    assert isinstance(caught.value.__cause__, OSError)
    assert part.failure is caught.value
    assert not part.running
    await part.stop()
    assert part.calls[-1] == "on_stop"


async def test_a_return_is_a_failure_too() -> None:
    part = Recorder()
    await part.start()
    part.leave.set()
    with pytest.raises(PartFailedError) as caught:
        await part.wait_ended()
    assert caught.value.__cause__ is None
    await part.stop()


async def test_async_with_does_not_hide_a_crash() -> None:
    part = Recorder()
    part.fail.set()
    await part.__aenter__()
    with pytest.raises(PartFailedError):
        await part.wait_ended()
    with pytest.raises(PartFailedError):
        await part.__aexit__(None, None, None)
    assert part.calls[-1] == "on_stop"


async def test_async_with_lets_the_error_of_its_body_through() -> None:
    part = Recorder()
    part.fail.set()
    await part.__aenter__()
    with pytest.raises(PartFailedError):
        await part.wait_ended()
    await part.__aexit__(KeyError, KeyError(), None)  # raises nothing in its stead
    assert part.calls[-1] == "on_stop"


async def test_a_start_that_fails_ends_the_part() -> None:
    part = Recorder()
    part.start_error = OSError("port in use")
    with pytest.raises(OSError, match="port in use"):
        await part.start()
    with pytest.raises(PartStoppedError):
        await part.wait_started()
    await part.wait_ended()
    await part.stop()
    assert part.calls == ["on_start"]


async def test_a_stop_during_the_start_waits_for_it() -> None:
    part = Recorder()
    part.start_gate.clear()
    start = asyncio.create_task(part.start())
    await asyncio.wait([start], timeout=0)
    stop = asyncio.create_task(part.stop())
    await asyncio.wait([stop], timeout=0)
    assert not stop.done()
    part.start_gate.set()
    await asyncio.gather(start, stop)
    assert part.calls[0] == "on_start"
    assert part.calls[-1] == "on_stop"


async def test_a_cancelled_task_is_a_failure() -> None:
    part = Recorder()
    await part.start()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "recorder"]
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(PartFailedError):
        await part.wait_ended()
    await part.stop()


async def test_an_error_while_stopping_is_kept() -> None:
    class Clumsy(Part):
        async def run(self) -> None:
            try:
                await run_forever()
            finally:
                raise OSError("could not flush")

    part = Clumsy()
    await part.start()
    await asyncio.wait([asyncio.create_task(run_forever())], timeout=0)
    await part.stop()
    assert part.failure is not None
    assert part.name == "Clumsy"


async def test_a_part_cannot_stop_itself() -> None:
    class Selfish(Part):
        async def run(self) -> None:
            await self.stop()

    part = Selfish()
    await part.start()
    with pytest.raises(PartFailedError) as caught:
        await part.wait_ended()
    assert "cannot stop itself" in str(caught.value.__cause__)
    await part.stop()
