"""The supervisor: order of start and stop, phases and their deadlines, signals."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import NoReturn

import pytest

from foliot.kit.clock import ManualClock
from foliot.kit.lifecycle import Part, PartFailedError, run_forever
from foliot.kit.supervisor import StopDeadlines, Supervisor, run_until_signalled


class Exited(BaseException):
    """Stands for the end of the process."""


def exit_in_test() -> NoReturn:
    raise Exited


class Step(Part):
    """Writes its steps into a list that several share; `stuck` names a step that never ends."""

    def __init__(self, name: str, calls: list[str], *, stuck: str = "") -> None:
        super().__init__(name)
        self.calls = calls
        self.stuck = stuck
        self.crash = asyncio.Event()

    async def _step(self, step: str) -> None:
        self.calls.append(f"{self.name}.{step}")
        if self.stuck == step:
            await run_forever()

    async def on_start(self) -> None:
        await self._step("start")

    async def stop_intake(self) -> None:
        await self._step("stop_intake")

    async def drain(self) -> None:
        await self._step("drain")

    async def on_stop(self) -> None:
        await self._step("stop")

    async def run(self) -> None:
        await self.crash.wait()
        raise OSError("broken")


async def test_parts_start_in_order_and_stop_in_reverse_phase_by_phase() -> None:
    calls: list[str] = []
    supervisor = Supervisor(clock=ManualClock(), hard_exit=exit_in_test)

    def on_ready() -> None:
        calls.append("ready")
        supervisor.request_stop()

    await supervisor.run([Step("a", calls), Step("b", calls)], on_ready=on_ready)
    assert calls == [
        *("a.start", "b.start", "ready"),
        *("b.stop_intake", "a.stop_intake", "b.drain", "a.drain", "b.stop", "a.stop"),
    ]


async def test_a_failed_part_ends_all_without_draining() -> None:
    calls: list[str] = []
    parts = [Step("a", calls), Step("b", calls)]
    with pytest.raises(PartFailedError, match="part a"):
        await Supervisor(clock=ManualClock(), hard_exit=exit_in_test).run(parts, on_ready=parts[0].crash.set)
    assert calls == ["a.start", "b.start", "b.stop", "a.stop"]


async def test_a_start_that_fails_stops_what_had_started() -> None:
    calls: list[str] = []

    class Failing(Step):
        async def on_start(self) -> None:
            raise OSError("port in use")

    with pytest.raises(OSError, match="port in use"):
        await Supervisor(clock=ManualClock(), hard_exit=exit_in_test).run(
            [Step("a", calls), Failing("b", calls), Step("c", calls)]
        )
    assert calls == ["a.start", "a.stop"]


async def test_a_stop_cuts_a_hanging_start() -> None:
    calls: list[str] = []
    supervisor = Supervisor(clock=ManualClock(), hard_exit=exit_in_test)
    run = asyncio.create_task(
        supervisor.run([Step("a", calls), Step("b", calls, stuck="start")], on_ready=lambda: calls.append("ready"))
    )
    while "b.start" not in calls:
        await asyncio.wait([run], timeout=0)
    supervisor.request_stop()
    await run
    assert calls == ["a.start", "b.start", "a.stop_intake", "a.drain", "a.stop"]


async def test_a_stop_asked_for_before_the_start_starts_nothing() -> None:
    calls: list[str] = []
    supervisor = Supervisor(clock=ManualClock(), hard_exit=exit_in_test)
    supervisor.request_stop()
    await supervisor.run([Step("a", calls)], on_ready=lambda: calls.append("ready"))
    assert calls == []


async def test_a_drain_past_its_deadline_is_cancelled() -> None:
    calls: list[str] = []
    clock = ManualClock()
    supervisor = Supervisor(clock=clock, hard_exit=exit_in_test)
    run = asyncio.create_task(supervisor.run([Step("a", calls, stuck="drain")], on_ready=supervisor.request_stop))
    await clock.run_for(StopDeadlines().total.total_seconds())
    await run
    assert calls == ["a.start", "a.stop_intake", "a.drain", "a.stop"]


async def test_a_part_that_does_not_stop_ends_in_the_hard_exit() -> None:
    calls: list[str] = []
    clock = ManualClock()
    stuck = Step("a", calls, stuck="stop")
    ended: list[str] = []

    def hard_exit() -> NoReturn:
        ended.append("hard")
        raise OSError("the process would be gone")

    supervisor = Supervisor(clock=clock, hard_exit=hard_exit)
    run = asyncio.create_task(supervisor.run([stuck], on_ready=supervisor.request_stop))
    await clock.run_for(StopDeadlines().total.total_seconds())
    with pytest.raises(OSError, match="would be gone"):
        await run
    assert ended == ["hard"]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_an_error_in_one_step_leaves_the_others_their_turn() -> None:
    calls: list[str] = []

    class Clumsy(Step):
        async def drain(self) -> None:
            raise OSError("no route")

    supervisor = Supervisor(clock=ManualClock(), hard_exit=exit_in_test)
    await supervisor.run([Step("a", calls), Clumsy("b", calls)], on_ready=supervisor.request_stop)
    assert calls[-3:] == ["a.drain", "b.stop", "a.stop"]


@pytest.mark.parametrize("received", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_answers_zero(received: signal.Signals) -> None:
    calls: list[str] = []
    before = signal.getsignal(received)
    status = await run_until_signalled([Step("a", calls)], on_ready=lambda: os.kill(os.getpid(), received))
    assert status == 0
    assert calls == ["a.start", "a.stop_intake", "a.drain", "a.stop"]
    assert signal.getsignal(received) == before


async def test_a_failed_part_answers_one() -> None:
    part = Step("a", [])
    assert await run_until_signalled([part], on_ready=part.crash.set) == 1


DAEMON = textwrap.dedent(
    """
    import asyncio, sys, threading
    from datetime import timedelta
    from foliot.kit.lifecycle import Part, run_forever
    from foliot.kit.logs import configure_logging
    from foliot.kit.supervisor import StopDeadlines, run_until_signalled

    configure_logging("test", json=True)

    class Stuck(Part):
        async def run(self) -> None:
            await run_forever()

        async def drain(self) -> None:
            print("draining", flush=True)
            if sys.argv[1] == "loop":
                while True:  # the event loop hangs
                    pass
            await run_forever()

    short = timedelta(seconds=0.1)
    limits = StopDeadlines() if sys.argv[1] == "drain" else StopDeadlines(short, short, short)
    ready = lambda: print("ready", flush=True)

    async def run() -> int:
        if sys.argv[1] == "thread":
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        return await run_until_signalled([Stuck()], on_ready=ready, deadlines=limits, keep_watchdog=True)

    sys.exit(asyncio.run(run()))
    """
)


@contextlib.contextmanager
def draining_daemon(mode: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", DAEMON, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            assert daemon.stdout.readline() == "ready\n"
            daemon.send_signal(signal.SIGTERM)
            assert daemon.stdout.readline() == "draining\n"
            yield daemon
        finally:
            daemon.kill()


def test_a_second_signal_ends_the_process_at_once() -> None:
    with draining_daemon("drain") as daemon:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 1


@pytest.mark.parametrize(("mode", "where"), [("loop", "in drain"), ("thread", "in wait")])
def test_what_hangs_is_named_and_ended_by_the_watchdog(mode: str, where: str) -> None:
    with draining_daemon(mode) as daemon:
        _, errors = daemon.communicate()
        assert daemon.returncode == 1
        assert where in errors
