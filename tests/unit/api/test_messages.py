"""Rows as messages."""

from __future__ import annotations

from dataclasses import replace

from foliot.v1 import spec_pb2, worker_pb2
from foliot.v1.spec_pb2 import CommandWork, RetryPolicy, TaskSpec
from foliot_scheduler.api import messages
from foliot_scheduler.core.model import Outcome, Task, Trigger
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, WorkerId
from foliot_scheduler.specs.records import task_from_row
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans
from foliot_scheduler.store.rows import AttemptRow, RunRow, RunTaskRow, TaskRow, WorkerRow
from tests.unit.specs.test_records import task_row

ID_TEXT = "01010101-0101-0101-0101-010101010101"


def attempt(number: int) -> AttemptRow:
    return AttemptRow(number, WorkerId(f"w{number}"), f"host{number}", Micros(1), Micros(2), Outcome.LOST, None, "gone")


def row_of(spec: TaskSpec) -> TaskRow:
    plan = TaskPlans().accept("task.spec", spec, Violations())
    assert plan is not None
    return replace(task_row(), spec=plan.spec)


def test_a_task() -> None:
    message = messages.task_message(task_row())
    assert (message.id, message.project, message.state) == (ID_TEXT, "p", spec_pb2.TASK_STATE_SCHEDULED)
    assert (message.attempt, message.failed_attempts, message.worker_id) == (3, 1, "w")
    assert (message.error, message.exit_code, len(message.dependencies)) == ("boom", 7, 2)
    assert (message.created_at.ToMicroseconds(), message.due_at.ToMicroseconds()) == (1, 4)
    assert (message.run_id, message.job_id, message.key) == ("", "", "")
    assert not message.HasField("ended_at")


def test_only_a_scheduled_task_is_due() -> None:
    assert not messages.task_message(replace(task_row(), state=TaskState.RUNNING)).HasField("due_at")


def test_every_part_of_the_retry_policy_is_shown() -> None:
    shown = messages.task_message(row_of(TaskSpec(name="n", retry=RetryPolicy(max_attempts=4)))).spec.retry
    assert (shown.max_attempts, shown.multiplier, shown.jitter, shown.initial_backoff.seconds) == (4, 2.0, 1.0, 1)
    assert list(shown.retry_on) == [spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_TIMED_OUT]


def test_the_environment_is_masked_unless_the_claimer_is_shown_it() -> None:
    row = row_of(TaskSpec(name="n", command=CommandWork(line="x", environment={"A": "secret"})))
    assert dict(messages.task_message(row).spec.command.environment) == {"A": "******"}
    assert dict(messages.task_message(row, masked=False).spec.command.environment) == {"A": "secret"}


def test_what_the_leader_has_looks_like_its_row() -> None:
    row = replace(task_row(), checkpoint="")
    task = task_from_row(row, TaskPlans())
    assert isinstance(task, Task)
    assert messages.task_row(task) == row


def test_instants_before_the_epoch_and_at_it() -> None:
    message = messages.task_message(replace(task_row(), created_at=Micros(-1), started_at=Micros(0)))
    assert message.created_at.ToMicroseconds() == -1
    assert message.created_at.nanos >= 0
    assert message.HasField("started_at")


def test_the_last_attempt_is_told_by_the_task() -> None:
    ended = replace(task_row(), state=TaskState.FAILED, ended_at=Micros(9))
    shown = messages.whole_task_message(ended, [attempt(1), attempt(2)], None).attempts
    assert [(one.number, one.outcome, one.error) for one in shown] == [
        (1, spec_pb2.OUTCOME_LOST, "gone"),
        (2, spec_pb2.OUTCOME_LOST, "gone"),
        (3, spec_pb2.OUTCOME_FAILED, "boom"),
    ]


def test_an_attempt_that_runs_has_no_outcome_yet() -> None:
    running = replace(task_row(), state=TaskState.RUNNING)
    last = messages.whole_task_message(running, [attempt(1), attempt(2)], None).attempts[-1]
    assert (last.number, last.outcome, last.error, last.HasField("ended_at")) == (3, 0, "", False)


def test_an_attempt_that_others_will_follow_is_told_once() -> None:
    waiting = messages.whole_task_message(task_row(), [attempt(1), attempt(2), attempt(3)], None)
    assert [one.number for one in waiting.attempts] == [1, 2, 3]


def test_a_task_that_never_ran_has_no_attempts() -> None:
    assert not messages.whole_task_message(replace(task_row(), attempt=0), [], None).attempts


def run_row() -> RunRow:
    return RunRow(
        id=RunId(b"\x01" * 16),
        project=Project("p"),
        job_id=JobId(b"\x02" * 16),
        job_version=3,
        state=RunState.RUNNING,
        trigger=Trigger.SCHEDULE,
        cancelled=False,
        due_at=Micros(5),
        created_at=Micros(1),
        started_at=Micros(2),
        ended_at=None,
        counts={TaskState.READY: 2, TaskState.BLOCKED: 1},
    )


def brief(error: str) -> RunTaskRow:
    return RunTaskRow(TaskId(b"\x03" * 16), "k", 0, TaskState.FAILED, 1, error, None, None, None)


def test_a_run() -> None:
    message = messages.run_message(run_row(), [brief("boom")])
    assert [(count.state, count.count) for count in message.counts] == [
        (spec_pb2.TASK_STATE_BLOCKED, 1),
        (spec_pb2.TASK_STATE_READY, 2),
    ]
    assert (message.due_at.ToMicroseconds(), message.job_version) == (5, 3)
    assert [(task.key, task.error, task.attempt) for task in message.tasks] == [("k", "boom", 1)]


def test_the_largest_run_fits_a_message() -> None:
    message = messages.run_message(run_row(), [brief("e" * 8_192)] * 100_000)
    assert message.ByteSize() < 16 * 1024 * 1024


def test_a_worker() -> None:
    row = WorkerRow(
        project="",
        id=WorkerId("w"),
        hostname="h",
        version="1",
        queues=["b", "a"],
        labels={"disk": "ssd"},
        tags=[],
        capacity=4,
        is_executor=False,
        registered_at=Micros(1),
        last_heartbeat_at=Micros(2),
        cpu=0.0,
        memory=None,
        disk=None,
        tasks_completed=5,
        tasks_failed=6,
        current_tasks=0,
        offline=False,
    )
    idle = messages.worker_message(row)
    assert (idle.state, list(idle.queues), dict(idle.labels)) == (worker_pb2.WORKER_STATE_IDLE, ["a", "b"], {"disk": "ssd"})
    assert idle.HasField("resources")
    assert not messages.worker_message(replace(row, cpu=None)).HasField("resources")
    assert messages.worker_message(replace(row, current_tasks=1)).state == worker_pb2.WORKER_STATE_ACTIVE
    assert messages.worker_message(replace(row, current_tasks=1, offline=True)).state == worker_pb2.WORKER_STATE_OFFLINE
