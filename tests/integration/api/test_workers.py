"""WorkerService's calls and SystemService on a whole replica, and a follower beside it."""

from __future__ import annotations

import pytest

from foliot.client import Client
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import parse_uuid
from foliot.v1 import spec_pb2, system_pb2, task_pb2, worker_pb2
from foliot.v1.task_pb2 import ListTaskLogsRequest
from foliot.v1.worker_pb2 import (
    ClaimTaskRequest,
    CompleteTaskRequest,
    FailTaskRequest,
    GetWorkerRequest,
    HeartbeatTaskRequest,
    ListWorkersRequest,
    PushLogsRequest,
    TaskLogLine,
)
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, new_task, replica


async def refused(call: object) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await call  # type: ignore[misc] # any call
    return caught.value


async def test_nothing_to_claim(stack: Stack) -> None:
    assert not (await stack.claim()).HasField("task")
    await stack.submit(queue="other")
    await stack.client.tasks.SubmitTask(
        task_pb2.SubmitTaskRequest(
            task=task_pb2.NewTask(spec=spec_pb2.TaskSpec(name="c", command=spec_pb2.CommandWork(line="true")))
        )
    )
    assert not (await stack.claim()).HasField("task")
    request = ClaimTaskRequest(executor_id="x1", queues=["other"])
    assert not (await stack.acting_in("p").workers.ClaimTask(request)).HasField("task")
    assert (await stack.client.workers.ClaimTask(request)).task.spec.queue == "other"
    request = ClaimTaskRequest(executor_id="x1", kinds=["command", "http"])
    assert (await stack.client.workers.ClaimTask(request)).task.spec.command.line == "true"


async def test_only_the_claimer_speaks_for_a_claim(stack: Stack) -> None:
    task, workers = await stack.submit(), stack.client.workers
    error = await refused(workers.HeartbeatTask(HeartbeatTaskRequest(task_id=task.id, executor_id="x1")))
    assert error.reason is ErrorReason.WRONG_STATE
    token = (await stack.claim()).token
    for call in (
        workers.HeartbeatTask(HeartbeatTaskRequest(task_id=task.id, executor_id="thief")),
        workers.CompleteTask(CompleteTaskRequest(task_id=task.id, executor_id="thief")),
        workers.FailTask(FailTaskRequest(task_id=task.id, executor_id="thief")),
        workers.HeartbeatTask(HeartbeatTaskRequest(task_id=task.id, executor_id="x1", token=token + 1)),
        workers.CompleteTask(CompleteTaskRequest(task_id=task.id, executor_id="x1", token=token + 1)),
        workers.FailTask(FailTaskRequest(task_id=task.id, executor_id="x1", token=token + 1)),
    ):
        assert (await refused(call)).reason is ErrorReason.STALE_LEASE
    await workers.HeartbeatTask(HeartbeatTaskRequest(task_id=task.id, executor_id="x1", token=token))
    await workers.CompleteTask(CompleteTaskRequest(task_id=task.id, executor_id="x1", token=token))
    error = await refused(workers.CompleteTask(CompleteTaskRequest(task_id=task.id, executor_id="x1")))
    assert (error.reason, error.metadata) == (ErrorReason.WRONG_STATE, {"state": "succeeded"})
    error = await refused(stack.acting_in("p").workers.CompleteTask(CompleteTaskRequest(task_id=task.id, executor_id="x1")))
    assert error.reason is ErrorReason.NOT_FOUND


async def test_a_failed_claim(stack: Stack) -> None:
    task = await stack.submit()
    claimed = await stack.claim()
    answer = await stack.client.workers.FailTask(
        FailTaskRequest(task_id=claimed.task.id, executor_id="x1", error="boom", exit_code=3, output=b"o")
    )
    assert (answer.task.id, answer.task.state, answer.task.error) == (task.id, spec_pb2.TASK_STATE_FAILED, "boom")
    assert answer.task.exit_code == 3


async def test_executors_are_listed_as_workers(stack: Stack) -> None:
    task = await stack.submit()
    await stack.claim()
    listed = await stack.client.workers.ListWorkers(ListWorkersRequest())
    assert ([worker.id for worker in listed.workers], listed.total) == (["x1"], 1)
    shown = (await stack.client.workers.GetWorker(GetWorkerRequest(worker_id="x1"))).worker
    assert (shown.hostname, shown.current_tasks, list(shown.current_task_ids)) == ("10.0.0.1", 1, [task.id])
    assert shown.state == worker_pb2.WORKER_STATE_ACTIVE
    offline = await stack.client.workers.ListWorkers(ListWorkersRequest(state=worker_pb2.WORKER_STATE_OFFLINE))
    assert not offline.workers
    assert (await refused(stack.client.workers.GetWorker(GetWorkerRequest(worker_id="?")))).reason is ErrorReason.NOT_FOUND
    assert not (await stack.acting_in("p").workers.ListWorkers(ListWorkersRequest())).workers


async def test_log_lines_are_stored_once(stack: Stack) -> None:
    task = await stack.submit()
    await stack.claim()
    lines = [
        TaskLogLine(
            task_id=parse_uuid(task.id), attempt=1, number=number, at_us=number, level=level, message=f"m{number}\0" + "ä" * size
        )
        for number, level, size in ((1, "info", 0), (2, "error", 0), (3, "info", 10_000))
    ]
    for stored in (3, 0):
        answer = await stack.client.workers.PushLogs(iter([PushLogsRequest(lines=lines[:2]), PushLogsRequest(lines=lines[2:])]))
        assert answer.stored == stored
    page = await stack.client.tasks.ListTaskLogs(ListTaskLogsRequest(task_id=task.id))
    assert [(line.number, line.level, line.attempt) for line in page.lines] == [(1, "info", 1), (2, "error", 1), (3, "info", 1)]
    assert page.lines[2].message.endswith("…")
    assert len(page.lines[2].message.encode()) <= 16 * 1024
    assert page.total == 3
    errors = await stack.client.tasks.ListTaskLogs(ListTaskLogsRequest(task_id=task.id, level="error", page_size=1))
    assert ([line.number for line in errors.lines], errors.total) == ([2], 1)


async def test_the_status_names_the_leader(stack: Stack) -> None:
    status = await stack.client.system.GetStatus(system_pb2.GetStatusRequest())
    assert (status.replica, status.leader, status.leader_address, status.epoch) == ("r1", "r1", stack.address, 1)
    assert status.database == "connected"
    assert status.database_connections > 0
    assert status.version
    assert status.HasField("started_at")


async def test_stats_count_the_work_of_the_project(stack: Stack) -> None:
    for priority in (9, 9, 2):
        await stack.submit(priority=priority)
    await stack.run_one()
    stats = await stack.client.system.GetStats(system_pb2.GetStatsRequest())
    assert [(count.state, count.count) for count in stats.live] == [(spec_pb2.TASK_STATE_READY, 2)]
    assert [(count.state, count.count) for count in stats.ended_today] == [(spec_pb2.TASK_STATE_SUCCEEDED, 1)]
    assert [(count.priority, count.count) for count in stats.waiting] == [(9, 1), (2, 1)]
    assert await stack.acting_in("p").system.GetStats(system_pb2.GetStatsRequest()) == system_pb2.GetStatsResponse()


async def test_a_follower_reads_by_itself_and_forwards_writes(stack: Stack, database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, leads=False) as follower:
        answer = await follower.client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task()))
        shown = await follower.client.tasks.GetTask(task_pb2.GetTaskRequest(task_id=answer.task.id))
        assert shown.task.state == spec_pb2.TASK_STATE_READY
        status = await follower.client.system.GetStatus(system_pb2.GetStatusRequest())
        assert status.leader_address == stack.address
        error = await refused(follower.client.tasks.SubmitTask(task_pb2.SubmitTaskRequest()))
        assert [violation.field for violation in error.fields] == ["task"]


async def test_without_a_leader_writes_are_told_to_come_back(database_url: str, pool: Pool) -> None:
    async with replica(database_url, pool, leads=False) as alone, Client([alone.address], timeout_s=1) as client:
        error = await refused(client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task())))
        assert (error.reason, error.retry_after_s is not None) == (ErrorReason.NO_LEADER, True)
        assert not (await client.tasks.ListTasks(task_pb2.ListTasksRequest())).tasks


async def test_metrics_tell_what_a_replica_did(stack: Stack) -> None:
    await stack.submit(queue="gpu")
    await stack.submit()
    await stack.submit()
    await stack.claim()
    text = (await stack.client.system.GetMetrics(system_pb2.GetMetricsRequest())).text
    assert "# TYPE foliot_journal_commits_total counter" in text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values["foliot_leader"] == "1"
    assert float(values["foliot_journal_commits_total"]) >= 1
    assert float(values["foliot_tasks_live"]) >= 0
    assert int(values["foliot_leader_epoch"]) == stack.leadership.epoch
    assert (values['foliot_tasks{state="ready"}'], values['foliot_tasks{state="running"}']) == ("2", "1")
    assert values['foliot_tasks{state="blocked"}'] == "0"
    assert (values['foliot_queue_ready{queue="gpu"}'], values['foliot_queue_ready{queue="default"}']) == ("1", "1")
    assert (values['foliot_workers{state="active"}'], values['foliot_workers{state="offline"}']) == ("1", "0")
    while (await stack.claim()).HasField("task"):
        pass
    text = (await stack.client.system.GetMetrics(system_pb2.GetMetricsRequest())).text
    assert 'foliot_queue_ready{queue="default"}' not in text, "an empty queue is not told of"


async def test_a_worker_s_counts_are_true_at_once_and_outlive_the_leader(database_url: str, pool: Pool) -> None:
    async def counts(stack: Stack) -> tuple[int, int, int]:
        worker = (await stack.client.workers.GetWorker(GetWorkerRequest(worker_id="x1"))).worker
        return worker.current_tasks, worker.tasks_completed, worker.tasks_failed

    async with replica(database_url, pool) as first:
        for _ in range(4):
            await first.submit()
        await first.run_one()
        await first.run_one(fails=True)
        await first.claim()
        assert await counts(first) == (1, 1, 1)
    async with replica(database_url, pool) as second:
        assert await counts(second) == (1, 1, 1)
        await second.run_one()
        assert await counts(second) == (1, 2, 1)
