"""Lists of runs with their tasks and what these wrote."""

from __future__ import annotations

import pytest

from foliot.kit.errors import FoliotError
from foliot.v1 import run_pb2, spec_pb2
from foliot.v1.job_pb2 import CreateJobRequest, JobSpec, JobTask, TriggerJobRequest
from foliot.v1.run_pb2 import ListRunsRequest
from foliot.v1.worker_pb2 import CompleteTaskRequest
from foliot_scheduler.core.types import DEFAULT_PROJECT
from foliot_scheduler.store import reads
from foliot_scheduler.store.pool import Pool
from foliot_scheduler.store.run_tasks import ERROR_OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX, TASKS_MAX, tasks_of_runs
from tests.integration.api.api_stack import Stack, binary_work


async def start(stack: Stack, *specs: spec_pb2.TaskSpec) -> run_pb2.Run:
    tasks = [JobTask(key=f"k{number}", spec=spec) for number, spec in enumerate(specs)]
    job = (await stack.client.jobs.CreateJob(CreateJobRequest(spec=JobSpec(name="j", tasks=tasks)))).job
    return (await stack.client.jobs.TriggerJob(TriggerJobRequest(job_id=job.id))).run


def binary(**fields: object) -> spec_pb2.TaskSpec:
    return spec_pb2.TaskSpec(binary=binary_work(), **fields)  # type: ignore[arg-type] # by name


async def complete(stack: Stack, output: bytes, error_output: bytes = b"") -> None:
    claimed = await stack.claim()
    await stack.client.workers.CompleteTask(
        CompleteTaskRequest(task_id=claimed.task.id, executor_id="x1", output=output, error_output=error_output, exit_code=0)
    )


async def listed(stack: Stack) -> list[run_pb2.Run]:
    return list((await stack.client.runs.ListRuns(ListRunsRequest(with_tasks=True))).runs)


async def test_runs_are_listed_with_what_their_tasks_wrote(stack: Stack) -> None:
    await start(stack, binary(), binary())
    await complete(stack, b"x" + b"y" * OUTPUT_BYTES_MAX, b"a" + b"b" * ERROR_OUTPUT_BYTES_MAX)
    await stack.run_one(fails=True)
    await start(stack, binary())
    live, ended = await listed(stack)
    assert [(task.key, task.state, task.output) for task in live.tasks] == [("k0", spec_pb2.TASK_STATE_READY, b"")]
    assert not live.tasks[0].HasField("exit_code")
    assert [(task.key, task.exit_code, task.failed_attempts, task.error) for task in ended.tasks] == [
        ("k0", 0, 0, ""),
        ("k1", 7, 1, "boom"),
    ]
    assert ended.tasks[0].output == b"y" * OUTPUT_BYTES_MAX
    assert ended.tasks[0].error_output == b"b" * ERROR_OUTPUT_BYTES_MAX
    without = (await stack.client.runs.ListRuns(ListRunsRequest())).runs
    assert not any(run.tasks for run in without)


async def test_a_run_of_many_tasks_comes_without_them(stack: Stack) -> None:
    await start(stack, *[spec_pb2.TaskSpec()] * TASKS_MAX)
    await start(stack, *[spec_pb2.TaskSpec()] * (TASKS_MAX + 1))
    assert [len(run.tasks) for run in await listed(stack)] == [0, TASKS_MAX]
    with pytest.raises(FoliotError) as refused:
        await stack.client.runs.ListRuns(ListRunsRequest(with_tasks=True, page_size=101))
    assert [violation.field for violation in refused.value.fields] == ["page_size"]


async def test_the_outputs_of_a_page_are_bounded_together(stack: Stack, pool: Pool) -> None:
    for _ in range(3):
        await start(stack, binary())
        await complete(stack, b"z" * 10)
    page = await reads.list_runs(pool, DEFAULT_PROJECT)
    tasks = await tasks_of_runs(pool, page.rows, outputs_bytes_max=25)
    assert [tasks[run.id][0].output for run in page.rows] == [b"z" * 10, b"z" * 10, b""]
    assert await tasks_of_runs(pool, []) == {}
