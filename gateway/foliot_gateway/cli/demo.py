"""`foliot demo`: starts a private stack, runs a real pipeline on it through the HTTP API, checks the result, stops the stack.

The pipeline counts the words of texts that every Python environment holds (see demo_pipeline.py). Its outcome is compared with a
count that this process makes itself; the status is 0 only if every task succeeded and the numbers agree.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.kit.errors import FoliotError
from foliot.v1 import run_pb2, spec_pb2, task_pb2
from foliot_gateway.cli.demo_pipeline import DirectCount, Pipeline, choose_texts
from foliot_gateway.cli.demo_screen import ENDED, Progress, Screen, TaskProgress
from foliot_gateway.cli.demo_stack import Addresses, PrivateStack, StackError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from foliot.kit.clock import Clock
    from foliot_gateway.cli.settings import DemoSettings

RUN_WITHIN_S: Final = 60.0
"""How long the pipeline may take before the demonstration gives up; it takes a few seconds."""

POLL_S: Final = 0.1
"""Between two looks at the run: often enough to look live."""

APP: Final = "foliot_gateway.cli.demo_app:worker"
EXIT_FAILED: Final = 1
EXIT_SIGNAL: Final = 128
"""Plus the signal's number, as shells have it."""


class DemoError(Exception):
    """The demonstration did not come to the end that it should; the message says where."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What all steps need."""

    screen: Screen
    clock: Clock
    pipeline: Pipeline
    addresses: Addresses
    http: httpx.AsyncClient


def run(settings: DemoSettings) -> int:
    """Run it; answers 0 if all went well, 1 if not, 128 and the signal's number if it was interrupted."""
    received = [signal.SIGINT]
    try:
        return asyncio.run(_until_signalled(_run(settings, Screen(sys.stdout)), received))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("foliot demo: interrupted; the stack was stopped\n")
        return EXIT_SIGNAL + received[-1]
    except (DemoError, StackError, FoliotError, OSError, httpx.HTTPError) as error:
        sys.stderr.write(f"foliot demo: failed: {str(error) or type(error).__name__}\n")
        return EXIT_FAILED


async def _until_signalled(steps: Coroutine[Any, Any, int], received: list[signal.Signals]) -> int:
    """Let SIGTERM and SIGHUP cancel the steps as Ctrl-C does; adds which one came.

    They do so by themselves, not by way of SIGINT: a shell has its background commands ignore that one.
    """
    working = asyncio.current_task()
    assert working is not None

    def cancel(number: signal.Signals) -> None:
        received.append(number)
        working.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)
    return await steps


async def _run(settings: DemoSettings, screen: Screen) -> int:
    clock = SystemClock()
    began = clock.monotonic()
    with work_folder(settings.keep) as folder:
        pipeline = Pipeline(choose_texts(settings.files), folder / "pipeline")
        pipeline.prepare()
        screen.say(f"foliot demo: counts the words of {len(pipeline.texts)} texts of this Python environment")
        stack = PrivateStack(folder / "stack", APP, clock=clock)
        async with AsyncExitStack() as held:
            await held.enter_async_context(stack)
            screen.say(f"a private `foliot up` is ready after {clock.monotonic() - began:.1f} s: http://{stack.addresses.http}")
            base_url = f"http://{stack.addresses.http}"
            http = await held.enter_async_context(httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=10.0))
            demo = Demo(screen, clock, pipeline, stack.addresses, http)
            await unless_ended(stack, go_through(demo))
            stopping = clock.monotonic()
        screen.say(f"stopped the stack in {clock.monotonic() - stopping:.1f} s, nothing is left running")
        kept = f"; everything is kept in {folder}" if settings.keep else ""
        screen.say(screen.styled(f"all is well, after {clock.monotonic() - began:.1f} s{kept}", "SUCCEEDED"))
    return 0


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """Give the folder to keep, or a temporary one that is removed in the end."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="foliot-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def unless_ended(stack: PrivateStack, steps: Any) -> None:
    """Go through the steps; raises StackError as soon as the stack ends by itself."""
    working = asyncio.create_task(steps, name="demo.steps")
    watching = asyncio.create_task(stack.wait_ended(), name="demo.watch")
    try:
        done, _ = await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def go_through(demo: Demo) -> None:
    """Create the job, run it, show it, check it; raises DemoError."""
    job = demo.pipeline.job(f"http://{demo.addresses.http}/api/v1/health")
    job_id = (await ask(demo, "POST", "/jobs", job))["id"]
    levels = (await ask(demo, "GET", f"/jobs/{job_id}"))["dag"]["levels"]
    began = demo.clock.monotonic()
    execution_id = (await ask(demo, "POST", f"/jobs/{job_id}/trigger"))["executionId"]
    demo.screen.say(f"created {job_id} with {len(job['tasks'])} tasks in {len(levels)} levels, triggered {execution_id}")
    status = await follow(demo, job_id, began)
    run, tasks = await read_run(demo, execution_id.removeprefix("exec-"))
    show_tasks(demo.screen, run, tasks)
    if status != "SUCCEEDED":
        failed = [task for task in tasks if task.state != spec_pb2.TASK_STATE_SUCCEEDED]
        raise DemoError(f"the run ended as {status}: " + "; ".join(f"{task.key}: {task.error}" for task in failed if task.error))
    check(demo, tasks)


async def ask(demo: Demo, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Call the HTTP API and answer its JSON; raises DemoError for an answer that is no success."""
    answer = await demo.http.request(method, path, json=body)
    if not answer.is_success:
        raise DemoError(f"{method} {path} answered {answer.status_code}: {answer.text[:1000]}")
    return answer.json()


async def follow(demo: Demo, job_id: str, began: float) -> str:
    """Show the run's progress until it has ended; answers its status."""
    stages = {"list": ["list"], "count": demo.pipeline.count_tasks}
    stages |= {name: [name] for name in ("health", "join", "report", "cleanup")}
    progress = Progress(demo.screen, stages)
    while True:
        execution = await ask(demo, "GET", f"/jobs/{job_id}/status")
        tasks = {task["id"]: TaskProgress(task["status"], task["attempts"], task["error"]) for task in execution["tasks"]}
        elapsed_s = demo.clock.monotonic() - began
        progress.show(tasks, elapsed_s=elapsed_s)
        if execution["status"] in ENDED:
            status: str = execution["status"]
            return status
        if elapsed_s > RUN_WITHIN_S:
            waiting = ", ".join(sorted(f"{id_} {task.status}" for id_, task in tasks.items() if task.status not in ENDED))
            raise DemoError(f"the run did not end within {RUN_WITHIN_S:g} s; not ended: {waiting}")
        await demo.clock.sleep(POLL_S)


async def read_run(demo: Demo, run_id: str) -> tuple[run_pb2.Run, Sequence[task_pb2.Task]]:
    """Read the run over gRPC, which also tells attempts, times, workers and outputs."""
    async with Client(str(demo.addresses.grpc)) as client:
        run = (await client.runs.GetRun(run_pb2.GetRunRequest(run_id=run_id))).run
        asked = (client.tasks.GetTask(task_pb2.GetTaskRequest(task_id=task.id)) for task in run.tasks)
        return run, [answer.task for answer in await asyncio.gather(*asked)]


def show_tasks(screen: Screen, run: run_pb2.Run, tasks: Sequence[task_pb2.Task]) -> None:
    """Show what became of each task."""
    began_us = run.created_at.ToMicroseconds()
    rows = []
    for task in tasks:
        last = task.attempts[-1] if task.attempts else None
        started_us = last.started_at.ToMicroseconds() if last is not None and last.HasField("started_at") else None
        ended_us = last.ended_at.ToMicroseconds() if last is not None and last.HasField("ended_at") else None
        rows.append(
            (
                task.key,
                task.spec.WhichOneof("work") or "marker",
                spec_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_"),
                str(task.attempt),
                "" if started_us is None else f"{(started_us - began_us) / 1000:,.0f} ms",
                "" if started_us is None or ended_us is None else f"{(ended_us - started_us) / 1000:,.1f} ms",
                task.worker_id,
                remark(task),
            )
        )
    screen.say()
    head = ("task", "kind", "state", "attempts", "started at", "took", "worker", "")
    screen.table(head, rows, right=frozenset({3, 4, 5}), styled=2)
    screen.say()


def remark(task: task_pb2.Task) -> str:
    """Say in a few words what a task did."""
    if task.state != spec_pb2.TASK_STATE_SUCCEEDED:
        return task.error
    resumed = resumed_after_line(task)
    if resumed:
        return f"failed once, went on after line {resumed:,}"
    text = task.output.decode("utf-8", "replace").strip()
    if task.spec.WhichOneof("work") != "function":
        return text[:60]
    found = json.loads(text or "{}")
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in found.items() if isinstance(value, int) and value)


def resumed_after_line(task: task_pb2.Task) -> int:
    """Answer the line of the checkpoint that a counting function went on from; 0: it began at the start."""
    if task.spec.function.function != "demo.count":
        return 0
    resumed: int = json.loads(task.output or b"{}").get("resumed_after_line", 0)
    return resumed


def check(demo: Demo, tasks: Sequence[task_pb2.Task]) -> None:
    """Compare the outcome with what it must be; raises DemoError."""
    by_key = {task.key: task for task in tasks}
    wrong = [f"{task.key} ended as {task.state}" for task in tasks if task.state != spec_pb2.TASK_STATE_SUCCEEDED]
    failing = by_key[demo.pipeline.failing_task]
    outcomes = [attempt.outcome for attempt in failing.attempts]
    if outcomes != [spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_SUCCEEDED]:
        wrong.append(f"{failing.key} was to fail once and then succeed, its attempts ended as {outcomes}")
    line = demo.pipeline.fails_after_line
    if resumed_after_line(failing) != line:
        wrong.append(f"{failing.key} was to go on after line {line}, it went on after line {resumed_after_line(failing)}")
    summary = json.loads(by_key["report"].output or b"{}")
    wrong += DirectCount.of(demo.pipeline.texts).differences(summary)
    if not demo.pipeline.report_path.is_file():
        wrong.append(f"there is no report at {demo.pipeline.report_path}")
    if wrong:
        raise DemoError("; ".join(wrong))
    demo.screen.say("The report's first lines:")
    for written in demo.pipeline.report_path.read_text(encoding="utf-8").splitlines()[:13]:
        demo.screen.say(f"  {written}")
    demo.screen.say()
    demo.screen.say(f"{failing.key} failed after line {line:,} on purpose, and its second attempt went on from there")
    demo.screen.say("a direct count of the same texts gives the same numbers, for each text and for each of the top words")
