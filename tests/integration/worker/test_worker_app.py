"""The whole worker against a scripted scheduler: connections, leases, loss, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.settings import HostPort, host_port
from foliot.v1 import spec_pb2, worker_pb2
from foliot.v1.worker_pb2 import WorkResponse
from foliot_worker import Context, Worker, session
from foliot_worker.app import WorkerApp
from foliot_worker.settings import WorkerSettings
from tests.integration.worker.scripted_scheduler import ScriptedScheduler, unavailable
from tests.unit.worker.attempts import command, function, lease


def settings_for(address: str, tmp_path: Path, **given: Any) -> WorkerSettings:
    return WorkerSettings(scheduler=(host_port(address),), data_dir=tmp_path / "data", **given)


def functions(gate: asyncio.Event | None = None) -> Worker:
    worker = Worker()

    @worker.task("quick")
    async def quick(ctx: Context) -> int:
        return ctx.attempt

    @worker.task("gated")
    async def gated(ctx: Context) -> str:
        assert gate is not None
        await gate.wait()
        return "through"

    @worker.task("saving")
    async def saving(ctx: Context) -> str:
        await ctx.checkpoint({"step": 1})
        return "saved"

    return worker


@pytest.fixture
async def scheduler() -> AsyncIterator[ScriptedScheduler]:
    async with ScriptedScheduler() as scheduler:
        yield scheduler


async def test_runs_leases_and_reports(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    settings = settings_for(
        scheduler.address, tmp_path, label={"zone": "a"}, queues=("q",), api_key="key", worker_id="me", concurrency=3
    )
    welcomed = asyncio.Event()
    async with WorkerApp(settings, functions(), on_welcome=welcomed.set):
        stream = await scheduler.stream()
        assert stream.hello.worker_id == "me"
        assert (stream.hello.capacity, stream.hello.concurrency) == (1_003, 3)
        assert list(stream.hello.queues) == ["q"]
        assert dict(stream.hello.labels) == {"zone": "a"}
        assert sorted(stream.hello.kinds) == ["binary", "command", "function", "http"]
        assert list(stream.hello.functions) == ["gated", "quick", "saving"]
        assert scheduler.metadata["authorization"] == "Bearer key"
        await stream.welcome()
        await welcomed.wait()
        leases = [lease(function("quick"), attempt=number) for number in range(1, 11)]
        await stream.lease(*leases, batch=77)
        assert list((await stream.next("lease_ack")).batches) == [77]
        results = await stream.results(10)
        assert [(result.token, result.output) for result in results] == [(one.token, str(one.attempt).encode()) for one in leases]


async def test_follows_redirects_and_comes_back_with_what_it_holds(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with ScriptedScheduler() as leader, WorkerApp(settings_for(scheduler.address, tmp_path), functions(gate)):
        first = await scheduler.stream()
        await first.send(WorkResponse(redirect=worker_pb2.Redirect(address=leader.address)))
        stream = await leader.stream()
        await stream.welcome()
        running, ended = lease(function("gated")), lease(function("quick"))
        await stream.lease(running, ended)
        assert (await stream.next("results")).results[0].token == ended.token
        # The leader dies without a word: the result was not confirmed.
        stream.end(unavailable())
        await leader.stop()
        again = await scheduler.stream()
        assert sorted(again.hello.held_tokens) == [running.token, ended.token]
        await again.welcome()
        assert (await again.results(1))[0].token == ended.token
        gate.set()
        assert (await again.results(1))[0].output == b'"through"'


async def test_drain_moves_the_stream(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with ScriptedScheduler() as successor, WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.welcome()
        await stream.send(WorkResponse(drain=worker_pb2.Drain(address=successor.address)))
        await (await successor.stream()).welcome()


async def test_finds_a_scheduler_that_comes_up_late(tmp_path: Path) -> None:
    scheduler = ScriptedScheduler()
    await scheduler.start("127.0.0.1:0")
    address = scheduler.address
    await scheduler.stop()
    async with WorkerApp(settings_for(address, tmp_path), functions()):
        await scheduler.start(address)
        try:
            await (await scheduler.stream()).welcome()
        finally:
            await scheduler.stop()


async def test_a_scheduler_that_breaks_the_rules_is_left_and_tried_again(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.lease(lease(function("quick")))
        again = await scheduler.stream()
        await again.welcome()
        one = lease(function("quick"))
        await again.lease(one)
        assert (await again.results(1))[0].token == one.token


async def test_a_hello_that_is_not_answered_is_said_elsewhere(
    scheduler: ScriptedScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HELLO_TIMEOUT_S", 0.05)
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        silent = await scheduler.stream()
        await (await scheduler.stream()).welcome()
        assert await silent.next("results") is None


async def test_heartbeats_carry_the_load_and_renew(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions(gate)):
        stream = await scheduler.stream()
        await stream.welcome(ttl_s=1, interval_s=0.05)
        await stream.lease(lease(function("gated")))
        for sequence in range(1, 6):
            heartbeat = await stream.next("heartbeat")
            assert heartbeat.sequence == sequence
            assert 0 < heartbeat.resources.memory_usage < 1
            await stream.send(WorkResponse(heartbeat_ack=worker_pb2.HeartbeatAck(sequence=sequence)))
        gate.set()
        assert (await stream.results(1))[0].output == b'"through"'


async def test_work_whose_lease_cannot_be_renewed_is_killed(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.welcome(ttl_s=2, interval_s=0.2)
        pid_file = tmp_path / "pid"
        one = lease(command(f"echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; exec sleep 1000"))
        await stream.lease(one)
        while not pid_file.exists():
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        # No heartbeat is ever confirmed: the worker hangs up, comes back, and is not answered.
        again = await scheduler.stream()
        pid = int(pid_file.read_text())
        while _alive(pid):
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        while again.hello.held_tokens:
            again.end()
            again = await scheduler.stream()
        await again.welcome()
        other = lease(function("quick"))
        await again.lease(other)
        assert (await again.results(1))[0].token == other.token


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_cancel_stops_the_work_and_reports_nothing(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with WorkerApp(settings_for(scheduler.address, tmp_path, concurrency=1), functions(asyncio.Event())):
        stream = await scheduler.stream()
        await stream.welcome()
        stuck, following = lease(function("gated")), lease(function("quick"))
        await stream.lease(stuck, following)
        assert [one.token for one in (await stream.next("started")).attempts] == [stuck.token]
        await stream.send(WorkResponse(cancel=worker_pb2.Cancel(tokens=[stuck.token])))
        assert [result.token for result in await stream.results(1)] == [following.token]


async def test_a_checkpoint_is_awaited(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.welcome()
        await stream.lease(lease(function("saving")))
        checkpoint = await stream.next("checkpoint")
        assert checkpoint.checkpoint_json == '{"step":1}'
        ack = worker_pb2.CheckpointAck(token=checkpoint.token, sequence=checkpoint.sequence)
        await stream.send(WorkResponse(checkpoint_ack=ack))
        assert (await stream.results(1))[0].output == b'"saved"'


async def test_log_lines_that_are_refused_for_good_are_given_up(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    scheduler.push_errors = [FoliotError(ErrorReason.INVALID_FIELD, "no")]
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.welcome()
        await stream.lease(lease(command("echo refused")))
        await stream.results(1)
        while scheduler.push_errors:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await stream.lease(lease(command("echo kept")))
        await scheduler.pushed.wait()
    assert [line.message for line in scheduler.lines] == ["kept"]


async def test_log_lines_arrive_in_spite_of_failures(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    scheduler.push_errors = [unavailable()]
    async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
        stream = await scheduler.stream()
        await stream.welcome()
        await stream.lease(lease(command("echo one; echo two >&2; printf three")))
        await stream.results(1)
        while len(scheduler.lines) < 3:
            scheduler.pushed.clear()
            await scheduler.pushed.wait()
    lines = sorted((line.number, line.level, line.message) for line in scheduler.lines)
    assert [number for number, _, _ in lines] == [1, 2, 3]
    assert {(level, message) for _, level, message in lines} == {("info", "one"), ("error", "two"), ("info", "three")}


class TestStop:
    async def test_lets_running_work_end_and_gives_back_the_rest(self, scheduler: ScriptedScheduler, tmp_path: Path) -> None:
        gate = asyncio.Event()
        async with WorkerApp(settings_for(scheduler.address, tmp_path, concurrency=1), functions(gate)) as app:
            stream = await scheduler.stream()
            await stream.welcome()
            running, waiting = lease(function("gated")), lease(function("quick"))
            await stream.lease(running, waiting)
            await stream.next("started")
            await app.stop_intake()
            assert list((await stream.next("release")).tokens) == [waiting.token]
            assert await stream.next("goodbye") is not None
            drained = asyncio.create_task(app.drain())
            gate.set()
            assert [result.token for result in await stream.results(1)] == [running.token]
            await drained
            assert await stream.next("results") is None

    async def test_stops_what_outlasts_the_grace_and_gives_it_back(self, scheduler: ScriptedScheduler, tmp_path: Path) -> None:
        settings = settings_for(scheduler.address, tmp_path, stop_grace=timedelta(seconds=0.05))
        async with WorkerApp(settings, functions()) as app:
            stream = await scheduler.stream()
            await stream.welcome()
            one = lease(command("trap 'exit 0' TERM; echo ready; sleep 1000 & wait"))
            await stream.lease(one)
            await stream.next("started")
            await app.stop_intake()
            drained = asyncio.create_task(app.drain())
            assert list((await stream.next("release")).tokens) == [one.token]
            await drained

    async def test_stopping_without_drain_leaves_no_process(self, scheduler: ScriptedScheduler, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"
        async with WorkerApp(settings_for(scheduler.address, tmp_path), functions()):
            stream = await scheduler.stream()
            await stream.welcome()
            await stream.lease(lease(command(f"trap '' TERM; echo $$ > {pid_file}; while :; do sleep 1000; done")))
            await stream.next("started")
        assert not _alive(int(pid_file.read_text()))
        assert list((tmp_path / "data" / "attempts").iterdir()) == []


async def test_several_addresses_are_tried_in_turn(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    with contextlib.closing(_closed_port()) as dead:
        settings = WorkerSettings(
            scheduler=(HostPort("127.0.0.1", dead.port), host_port(scheduler.address)), data_dir=tmp_path / "data"
        )
        async with WorkerApp(settings, functions()):
            await (await scheduler.stream()).welcome()


class _closed_port:  # noqa: N801 -- reads as a function
    """A port that refuses connections: bound, and not listened on."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


async def test_kinds_that_are_not_offered_fail(scheduler: ScriptedScheduler, tmp_path: Path) -> None:
    async with WorkerApp(settings_for(scheduler.address, tmp_path)):
        stream = await scheduler.stream()
        assert "function" not in stream.hello.kinds
        await stream.welcome()
        unreadable = lease(function("quick"))
        unreadable.spec = b"\xff"
        await stream.lease(unreadable, lease(spec_pb2.TaskSpec(name="marker")))
        results = await stream.results(2)
        assert {result.outcome for result in results} == {spec_pb2.OUTCOME_NON_RETRYABLE}
