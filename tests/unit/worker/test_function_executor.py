from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from foliot.v1 import spec_pb2
from foliot_worker import CheckpointError, Context, NonRetryable, Worker
from foliot_worker.executors.function import FunctionExecutor
from foliot_worker.plans import Kind
from foliot_worker.sdk import Services
from tests.unit.worker.attempts import Bench, function, lease

StartBench = Callable[[Worker], Bench]


@pytest.fixture
async def start_bench() -> AsyncIterator[StartBench]:
    benches: list[Bench] = []

    def start(worker: Worker) -> Bench:
        bench = Bench()
        services = Services(
            logs=bench.logs, checkpoints=bench.saver, loop=asyncio.get_running_loop(), thread=threading.get_ident()
        )
        executor = FunctionExecutor(worker.functions, services, clock=bench.clock, concurrency=4)
        benches.append(bench.use({Kind.FUNCTION: executor}))
        return bench

    yield start
    for bench in benches:
        await bench.close()


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_the_returned_value_is_the_output(start_bench: StartBench, worker: Worker) -> None:
    @worker.task("double")
    async def double(ctx: Context, input: dict[str, int]) -> dict[str, int]:  # noqa: A002 -- the documented name
        return {key: 2 * value for key, value in input.items()}

    @worker.task("nothing")
    async def nothing(ctx: Context) -> None: ...

    bench = start_bench(worker)
    before_us = bench.clock.now_us()
    result = await bench.run(lease(function("double", '{"a": 3}')))
    assert (result.outcome, result.output) == (spec_pb2.OUTCOME_SUCCEEDED, b'{"a":6}')
    assert before_us <= result.started_at_us <= result.ended_at_us <= bench.clock.now_us()
    assert (await bench.run(lease(function("nothing")))).output == b""


async def test_calls_that_do_not_suspend_are_reported_together(start_bench: StartBench, worker: Worker) -> None:
    @worker.task("quick")
    async def quick(ctx: Context) -> None: ...

    bench = start_bench(worker)
    leases = [lease(function("quick")) for _ in range(5)]
    bench.start(*leases)
    for one in leases:
        await bench.result(one)
    assert bench.batches == [[one.token for one in leases]]


async def test_calls_that_suspend_run_side_by_side_and_do_not_hold_up_others(start_bench: StartBench, worker: Worker) -> None:
    gate = asyncio.Event()
    inside = asyncio.Semaphore(0)

    @worker.task("slow")
    async def slow(ctx: Context) -> str:
        inside.release()
        await gate.wait()
        return "slow"

    @worker.task("quick")
    async def quick(ctx: Context) -> str:
        return "quick"

    bench = start_bench(worker)
    waiting = [lease(function("slow")) for _ in range(6)]
    bench.start(*waiting)
    for _ in waiting:
        await inside.acquire()
    assert (await bench.run(lease(function("quick")))).output == b'"quick"'
    gate.set()
    for one in waiting:
        assert (await bench.result(one)).output == b'"slow"'


async def test_a_handler_has_a_current_task_of_its_own(start_bench: StartBench, worker: Worker) -> None:
    # asyncio.timeout cancels the task that entered it: that must never be one which others depend on.
    @worker.task("patient")
    async def patient(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "timed out inside"
        return "never"

    @worker.task("grouped")
    async def grouped(ctx: Context) -> int:
        async def one() -> int:
            return 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(3)]
        return sum(task.result() for task in tasks)

    bench = start_bench(worker)
    for _ in range(3):
        assert (await bench.run(lease(function("patient")))).output == b'"timed out inside"'
        assert (await bench.run(lease(function("grouped")))).output == b"3"


async def test_context_variables_stay_with_their_call(start_bench: StartBench, worker: Worker) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    @worker.task("set")
    async def set_it(ctx: Context, suspend: bool) -> str:
        seen = variable.get()
        variable.set("leaked")
        if suspend:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            return f"{seen} then {variable.get()}"
        return seen

    bench = start_bench(worker)
    assert (await bench.run(lease(function("set", "false")))).output == b'"unset"'
    assert (await bench.run(lease(function("set", "true")))).output == b'"unset then leaked"'
    assert (await bench.run(lease(function("set", "false")))).output == b'"unset"'


@dataclass
class Order:
    count: int


class UnfitError(Exception):
    """A handler's own."""


async def _async_failing(ctx: Context, input: str) -> None:  # noqa: A002
    _failing(ctx, input)


def _failing(ctx: Context, input: str) -> None:  # noqa: A002
    if input == "final":
        raise NonRetryable("no use")
    if input == "exit":
        raise SystemExit(3)
    raise UnfitError("it broke")


@pytest.mark.parametrize("handler", [_async_failing, _failing])
async def test_exceptions_fail_the_attempt(
    start_bench: StartBench, worker: Worker, handler: Callable[[Context, str], Awaitable[None] | None]
) -> None:
    worker.task("failing")(handler)
    bench = start_bench(worker)
    result = await bench.run(lease(function("failing", '"again"')))
    assert result.outcome == spec_pb2.OUTCOME_FAILED
    assert result.error == f"{__name__}.UnfitError: it broke"
    assert b"Traceback" in result.error_output
    assert b'raise UnfitError("it broke")' in result.error_output
    assert (await bench.run(lease(function("failing", '"final"')))).outcome == spec_pb2.OUTCOME_NON_RETRYABLE
    assert (await bench.run(lease(function("failing", '"exit"')))).outcome == spec_pb2.OUTCOME_FAILED


async def test_what_is_no_json_fails(start_bench: StartBench, worker: Worker) -> None:
    @worker.task("object")
    async def give_object(ctx: Context) -> object:
        return object()

    bench = start_bench(worker)
    result = await bench.run(lease(function("object")))
    assert result.outcome == spec_pb2.OUTCOME_FAILED
    assert result.error.startswith("the returned value is not JSON")


async def test_an_unknown_function_and_an_unreadable_input_fail_for_good(start_bench: StartBench, worker: Worker) -> None:
    @worker.task("typed")
    async def typed(ctx: Context, order: Order) -> int:
        return order.count

    bench = start_bench(worker)
    assert (await bench.run(lease(function("missing")))).outcome == spec_pb2.OUTCOME_NON_RETRYABLE
    assert (await bench.run(lease(function("typed", '{"count": 4}')))).output == b"4"
    result = await bench.run(lease(function("typed", '{"count": "four"}')))
    assert result.outcome == spec_pb2.OUTCOME_NON_RETRYABLE
    assert "the input does not fit" in result.error


async def test_a_timeout_ends_an_async_handler(start_bench: StartBench, worker: Worker) -> None:
    @worker.task("forever")
    async def forever(ctx: Context) -> None:
        await asyncio.get_running_loop().create_future()

    bench = start_bench(worker)
    result = await bench.run(lease(function("forever"), timeout_s=0.05))
    assert (result.outcome, result.error) == (spec_pb2.OUTCOME_TIMED_OUT, "ran longer than 0.05 s")


async def test_a_stopped_handler_can_clean_up_and_the_lane_goes_on(start_bench: StartBench, worker: Worker) -> None:
    begun = asyncio.Event()
    cleaned = asyncio.Event()

    @worker.task("careful")
    async def careful(ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            cleaned.set()

    @worker.task("quick")
    async def quick(ctx: Context) -> str:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        return "fine"

    bench = start_bench(worker)
    one = lease(function("careful"))
    bench.start(one)
    await begun.wait()
    bench.stop(one)
    assert (await bench.result(one)).outcome == spec_pb2.OUTCOME_CANCELLED
    assert cleaned.is_set()
    assert (await bench.run(lease(function("quick")))).output == b'"fine"'


async def test_a_call_that_is_stopped_before_it_begins_never_begins(start_bench: StartBench, worker: Worker) -> None:
    calls: list[str] = []

    @worker.task("note")
    async def note(ctx: Context) -> None:
        calls.append(ctx.task_id)

    bench = start_bench(worker)
    one = lease(function("note"))
    bench.start(one)
    bench.stop(one)
    assert (await bench.result(one)).outcome == spec_pb2.OUTCOME_CANCELLED
    assert calls == []


class TestThreads:
    async def test_sync_handlers_run_beside_the_loop(self, start_bench: StartBench, worker: Worker) -> None:
        @worker.task("sync")
        def sync(ctx: Context) -> bool:
            return threading.current_thread() is threading.main_thread()

        bench = start_bench(worker)
        assert (await bench.run(lease(function("sync")))).output == b"false"

    async def test_one_that_heeds_cancelled_ends_in_time(self, start_bench: StartBench, worker: Worker) -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        @worker.task("heeding")
        def heeding(ctx: Context) -> None:
            loop.call_soon_threadsafe(begun.set)
            while not ctx.cancelled:
                threading.Event().wait(0.001)

        bench = start_bench(worker)
        one = lease(function("heeding"))
        bench.start(one)
        await begun.wait()
        bench.stop(one)
        await bench.result(one)

    async def test_one_that_does_not_is_left_behind_and_replaced(self, start_bench: StartBench, worker: Worker) -> None:
        release = threading.Event()

        @worker.task("deaf")
        def deaf(ctx: Context) -> None:
            release.wait()

        @worker.task("quick")
        def quick(ctx: Context) -> int:
            return 1

        bench = start_bench(worker)
        stuck = [lease(function("deaf")) for _ in range(4)]
        bench.start(*stuck)
        try:
            for one in stuck:
                bench.stop(one, 0)
                assert "left behind" in (await bench.result(one)).error
            assert (await bench.run(lease(function("quick")))).output == b"1"
        finally:
            release.set()


class TestContext:
    async def test_tells_of_its_attempt(self, start_bench: StartBench, worker: Worker) -> None:
        @worker.task("about")
        async def about(ctx: Context) -> list[object]:
            facts = [ctx.task_id, ctx.run_id, ctx.key, ctx.project, ctx.attempt, ctx.traceparent]
            return [*facts, ctx.input, ctx.last_checkpoint, ctx.cancelled, ctx.deadline > datetime(2020, 1, 1, tzinfo=UTC)]

        bench = start_bench(worker)
        one = lease(
            function("about", "[1]"),
            task_id=bytes(15) + b"\x01",
            run_id=bytes(15) + b"\x02",
            key="first",
            project="p",
            attempt=3,
            traceparent="00-a-b-01",
            checkpoint_json='{"done": 2}',
        )
        assert (await bench.run(one)).output == (
            b'["00000000-0000-0000-0000-000000000001","00000000-0000-0000-0000-000000000002","first","p",3,"00-a-b-01",'
            b'[1],{"done":2},false,true]'
        )

    @pytest.mark.parametrize("in_thread", [False, True])
    async def test_writes_log_lines(self, start_bench: StartBench, worker: Worker, in_thread: bool) -> None:
        def write(ctx: Context) -> None:
            ctx.logger.debug("d")
            ctx.logger.info("%d of %s", 1, "two")
            ctx.logger.warning("100%")
            ctx.logger.error("a\nb")
            try:
                raise UnfitError("seen")
            except UnfitError:
                ctx.logger.exception("caught")

        async def write_async(ctx: Context) -> None:
            write(ctx)

        worker.task("log")(write if in_thread else write_async)
        bench = start_bench(worker)
        await bench.run(lease(function("log")))
        lines = bench.lines()
        assert lines[:6] == [
            ("debug", "d"),
            ("info", "1 of two"),
            ("warn", "100%"),
            ("error", "a"),
            ("error", "b"),
            ("error", "caught"),
        ]
        assert lines[-1] == ("error", f"{__name__}.UnfitError: seen")

    @pytest.mark.parametrize("in_thread", [False, True])
    async def test_checkpoints_return_once_they_are_durable(
        self, start_bench: StartBench, worker: Worker, in_thread: bool
    ) -> None:
        async def save(ctx: Context) -> str:
            await ctx.checkpoint({"n": 1})
            try:
                await ctx.checkpoint("x" * 2_000_000)
            except CheckpointError as error:
                return str(error)
            return "never"

        def save_sync(ctx: Context) -> str:
            ctx.checkpoint_sync({"n": 1})
            try:
                ctx.checkpoint_sync("x" * 2_000_000)
            except CheckpointError as error:
                return str(error)
            return "never"

        worker.task("save")(save_sync if in_thread else save)
        bench = start_bench(worker)
        one = lease(function("save"))
        bench.start(one)
        while not bench.checkpoints_sent:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        assert bench.checkpoints_sent == [(one.token, '{"n":1}')]
        bench.saver.settle([(one.token, 1, "")])
        assert b"at most 1048576 bytes" in (await bench.result(one)).output

    async def test_blocking_the_loop_is_refused(self, start_bench: StartBench, worker: Worker) -> None:
        @worker.task("blocking")
        async def blocking(ctx: Context) -> None:
            ctx.checkpoint_sync(1)

        bench = start_bench(worker)
        assert "would block the event loop" in (await bench.run(lease(function("blocking")))).error
