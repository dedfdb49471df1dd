"""Shell lines in real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from foliot.v1 import spec_pb2
from foliot.v1.worker_pb2 import Lease, Result
from foliot_worker.attempt import OUTPUT_BYTES_MAX
from foliot_worker.executors.command import CommandExecutor
from foliot_worker.executors.directories import Directories
from foliot_worker.executors.programs import Programs
from foliot_worker.plans import Kind
from tests.unit.worker.attempts import Bench, command, lease

WORKER_ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/root-of-worker", "FOLIOT_API_KEY": "secret", "OTHER": "leak"}

Run = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench()
    programs = Programs(
        Directories(tmp_path / "data", bench.clock), bench.logs, bench.saver, clock=bench.clock, environ=WORKER_ENVIRONMENT
    )
    bench.use({Kind.COMMAND: CommandExecutor(programs)})
    yield bench
    await bench.close()
    assert list((tmp_path / "data" / "attempts").iterdir()) == []


@pytest.fixture
def run(bench: Bench) -> Run:
    async def run(line: str, **given: Any) -> Result:
        return await bench.run(lease(command(line, **given)))

    return run


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do, turning the loop; the test's own timeout bounds it."""
    while not condition():
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def _ready(bench: Bench, line: str = "ready") -> None:
    seen: list[str] = []

    def told() -> bool:
        seen.extend(message for _, message in bench.lines())
        return line in seen

    await _until(told)


async def test_success_with_both_outputs(run: Run) -> None:
    result = await run("echo out; echo err >&2")
    assert (result.outcome, result.exit_code) == (spec_pb2.OUTCOME_SUCCEEDED, 0)
    assert (result.output, result.error_output, result.error) == (b"out\n", b"err\n", "")


@pytest.mark.parametrize(
    ("line", "status", "error"),
    [
        ("exit 3", 3, "exit status 3"),
        ("kill -9 $$", 137, "exit status 137 (killed by SIGKILL)"),
        ("sh -c 'kill -TERM $$'", 143, "exit status 143 (killed by SIGTERM)"),
        ("no-such-program-here", 127, "exit status 127"),
        ("if then", 2, "exit status 2"),
    ],
)
async def test_failures(run: Run, line: str, status: int, error: str) -> None:
    result = await run(line)
    assert (result.outcome, result.exit_code, result.error) == (spec_pb2.OUTCOME_FAILED, status, error)


async def test_the_environment_is_clean(bench: Bench) -> None:
    one = lease(
        command("env", OWN="given", PATH="/bin:/usr/bin", FOLIOT_PROJECT="forged"),
        task_id=bytes(15) + b"\x07",
        run_id=bytes(15) + b"\x08",
        key="step",
        attempt=2,
        project="p",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    result = await bench.run(one)
    seen = dict(line.split("=", 1) for line in result.output.decode().splitlines())
    checkpoint_out = seen.pop("FOLIOT_CHECKPOINT_OUT")
    assert checkpoint_out.endswith("00000000-0000-0000-0000-000000000007.2.checkpoint-out.json")
    assert Path(seen.pop("PWD")).parent == Path(checkpoint_out).parent
    assert seen == {
        "PATH": "/bin:/usr/bin",
        "HOME": "/root-of-worker",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "OWN": "given",
        "FOLIOT_TASK_ID": "00000000-0000-0000-0000-000000000007",
        "FOLIOT_RUN_ID": "00000000-0000-0000-0000-000000000008",
        "FOLIOT_TASK_KEY": "step",
        "FOLIOT_ATTEMPT": "2",
        "FOLIOT_PROJECT": "p",
        "FOLIOT_CHECKPOINT": "",
        "TRACEPARENT": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }


async def test_only_the_standard_descriptors_are_open(run: Run) -> None:
    result = await run("for fd in $(seq 0 200); do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done; cat")
    # A shell may keep one of its own at 10.
    assert [int(fd) for fd in result.output.split() if int(fd) != 10] == [0, 1, 2]


async def test_signals_are_as_a_shell_expects(run: Run) -> None:
    # Python ignores SIGPIPE: a child that inherited that would print an error, or never end.
    result = await run("yes | head -n 1; grep -E 'Sig(Ign|Blk)' /proc/self/status")
    assert result.error_output == b""
    first, _, blocked, _, ignored = result.output.split()
    # Signals 32 and 33 are the C library's own, and it ignores them in what it spawns.
    assert (first, int(blocked, 16), int(ignored, 16) & ~(0b11 << 31)) == (b"y", 0, 0)


class TestDirectories:
    async def test_a_fresh_one_for_each_attempt(self, run: Run) -> None:
        first = await run("pwd; ls -A; touch left")
        second = await run("pwd; ls -A; mkdir -p a/b; echo x > a/b/c; chmod 000 .")
        third = await run("pwd; ls -A")
        fourth = await run("pwd; ls -A")
        outputs = [result.output.split() for result in (first, second, third, fourth)]
        assert [len(output) for output in outputs] == [1, 1, 1, 1]
        # One in which nothing was left is used again.
        assert outputs[0] != outputs[1] != outputs[2] == outputs[3]
        await _until(lambda: not Path(first.output.decode().strip()).exists())

    async def test_the_one_that_was_asked_for(self, run: Run, tmp_path: Path) -> None:
        directory = tmp_path / "it's $here; `now`"
        directory.mkdir()
        result = await run("pwd; touch made", working_directory=str(directory))
        assert result.output.decode() == f"{directory}\n"
        assert (directory / "made").exists()

    async def test_a_missing_one_is_a_clear_error(self, run: Run, tmp_path: Path) -> None:
        result = await run("true", working_directory=str(tmp_path / "missing"))
        assert result.outcome == spec_pb2.OUTCOME_FAILED
        assert f"the working directory {tmp_path}/missing does not exist" in result.error
        assert not result.HasField("exit_code")

    async def test_leftovers_of_a_dead_worker_are_removed(self, bench: Bench, tmp_path: Path) -> None:
        dead = tmp_path / "other" / "attempts" / "dead"
        (dead / "1").mkdir(parents=True)
        (dead / "lock").touch()
        alive = Directories(tmp_path / "other", bench.clock)
        assert not dead.exists()
        Directories(tmp_path / "other", bench.clock).close()
        assert len(list((tmp_path / "other" / "attempts").iterdir())) == 1
        alive.close()


class TestOutput:
    async def test_the_tail_of_a_large_one_is_kept(self, run: Run) -> None:
        result = await run("seq 1 400000; echo end")
        assert len(result.output) <= OUTPUT_BYTES_MAX
        lines = result.output.decode().splitlines()
        assert lines[-3:-1] == ["end", ""]
        total = sum(len(str(number)) + 1 for number in range(1, 400001)) + 4
        kept = len(result.output) - len(lines[-1]) - 2
        assert lines[-1] == f"[cut: the first {total - kept} bytes are not kept]"

    async def test_lines_are_seen_while_it_runs(self, bench: Bench, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        one = lease(command(f"echo first; printf 'no end' >&2; read go < {fifo}; echo; echo second"))
        bench.start(one)
        await _ready(bench, "first")
        fifo.write_text("go\n")
        await bench.result(one)
        assert bench.lines() == [("info", ""), ("info", "second"), ("error", "no end")]

    async def test_nothing_is_split_when_nobody_listens(self, bench: Bench) -> None:
        bench.logs.enabled = False
        assert (await bench.run(lease(command("echo hello")))).output == b"hello\n"
        assert bench.lines() == []

    async def test_bytes_that_are_no_text_pass(self, bench: Bench, run: Run) -> None:
        result = await run(r"printf '\377\000x\r\n'")
        assert result.output == b"\xff\x00x\r\n"
        assert bench.lines() == [("info", "\ufffd\ufffdx")]


class TestStopping:
    async def test_a_timeout_asks_first(self, bench: Bench) -> None:
        line = "trap 'echo stopping; exit 0' TERM; while :; do sleep 0.01; done"
        result = await bench.run(lease(command(line), timeout_s=0.2))
        assert (result.outcome, result.error) == (spec_pb2.OUTCOME_TIMED_OUT, "ran longer than 0.2 s")
        assert result.output == b"stopping\n"

    async def test_what_does_not_heed_is_killed_with_its_group(self, bench: Bench, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        line = f"trap '' TERM; (sleep 1000 & echo $! >> {pids}; wait) & echo $! >> {pids}; echo ready; while :; do wait; done"
        one = lease(command(line))
        bench.start(one)
        await _ready(bench)
        await _until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        bench.stop(one, 0.05)
        result = await bench.result(one)
        assert (result.outcome, result.exit_code) == (spec_pb2.OUTCOME_CANCELLED, 128 + signal.SIGKILL)
        await _until(lambda: not any(_running(int(pid)) for pid in pids.read_text().split()))

    async def test_a_stopped_group_is_woken_to_end(self, bench: Bench) -> None:
        one = lease(command("echo ready; kill -STOP $$"))
        bench.start(one)
        await _ready(bench)
        bench.stop(one, 5)
        assert (await bench.result(one)).outcome == spec_pb2.OUTCOME_CANCELLED

    async def test_what_it_leaves_behind_does_not_outlive_it(self, run: Run) -> None:
        result = await run("sleep 1000 & echo $!")
        assert result.outcome == spec_pb2.OUTCOME_SUCCEEDED
        await _until(lambda: not _running(int(result.output)))

    async def test_a_daemon_that_holds_the_pipes_is_not_waited_for(self, run: Run) -> None:
        result = await run("setsid sleep 1000 & sleep 0.05; pgrep -n -x sleep || ps -o pid= -C sleep | tail -n 1")
        assert result.outcome == spec_pb2.OUTCOME_SUCCEEDED
        os.kill(int(result.output.split()[-1]), signal.SIGKILL)


class TestCheckpoints:
    async def test_given_and_taken(self, bench: Bench) -> None:
        line = 'cat "$FOLIOT_CHECKPOINT"; echo \'{"n": 2}\' > tmp; mv tmp "$FOLIOT_CHECKPOINT_OUT"'
        one = lease(command(line), checkpoint_json='{"n": 1}')
        result = await bench.run(one)
        assert result.output == b'{"n": 1}'
        assert bench.checkpoints_sent == [(one.token, '{"n": 2}\n')]

    async def test_taken_while_it_runs(self, bench: Bench) -> None:
        line = (
            'for n in 1 2; do echo "$n" > tmp; mv tmp "$FOLIOT_CHECKPOINT_OUT"; echo wrote $n; '
            "while [ ! -e go$n ]; do sleep 0.01; done; done; pwd"
        )
        one = lease(command("pwd; " + line))
        bench.start(one)
        await _until(lambda: len(bench.checkpoints_sent) == 1)
        directory = Path(bench.lines()[0][1])
        (directory / "go1").touch()
        (directory / "go2").touch()
        await bench.result(one)
        assert [text for _, text in bench.checkpoints_sent] == ["1\n", "2\n"]

    async def test_what_is_no_json_is_said_in_the_log(self, bench: Bench) -> None:
        await bench.run(lease(command('echo "{" > "$FOLIOT_CHECKPOINT_OUT"')))
        assert bench.checkpoints_sent == []
        ((level, message),) = bench.lines()
        assert level == "warn"
        assert message.startswith("the checkpoint was not taken")


async def test_many_at_once(bench: Bench) -> None:
    leases: list[Lease] = [lease(command(f"echo {number}")) for number in range(60)]
    bench.start(*leases)
    outputs = [(await bench.result(one)).output for one in leases]
    assert outputs == [f"{number}\n".encode() for number in range(60)]


async def test_no_descriptor_is_left_open(bench: Bench, run: Run) -> None:
    await run("true")
    before = _open_descriptors()
    for line in ("true", "exit 1", "echo x; echo y >&2", "kill -9 $$"):
        await run(line)
    assert _open_descriptors() == before


async def test_what_cannot_be_started_is_reported(bench: Bench) -> None:
    result = await bench.run(lease(command("true", TOO_LONG="x" * 200_000)))
    assert result.outcome == spec_pb2.OUTCOME_FAILED
    assert "could not be started" in result.error


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _running(pid: int) -> bool:
    """Whether a process still does anything; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
