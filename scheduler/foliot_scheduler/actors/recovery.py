"""From PostgreSQL's rows to the engine's state, when a term begins.

Theory of operation. Rows say what was decided; everything else follows from them. Counters over dependencies are counted again
from how the parents ended. A lease holds if an open batch names it and the task's row knows of no later attempt: the row's
attempt is smaller, or it is the same and the row says running. Workers keep what they hold and have `takeover_grace` to come
back and say so; until then they are given nothing more. Those that do not come back go offline like any other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeVar

from foliot_scheduler.core import jobs, leases, suspicion, tasks, webhooks, workers
from foliot_scheduler.core.model import (
    Job,
    JobState,
    Kind,
    Lease,
    LeaseBatch,
    Outcome,
    Resources,
    Run,
    Stored,
    Task,
    Trigger,
    TriggerRule,
    Worker,
    WorkerProfile,
)
from foliot_scheduler.core.readiness import count_parent
from foliot_scheduler.core.runs import end_run
from foliot_scheduler.core.subscriptions import Webhook, WebhookEvent
from foliot_scheduler.core.timers import ClaimSilent, TaskDue
from foliot_scheduler.core.transitions import LIVE_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import Micros, Project, Token, WorkerId
from foliot_scheduler.specs.jobs import restore_job
from foliot_scheduler.store.recovery import split_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import asyncpg

    from foliot_scheduler.core.engine import Engine
    from foliot_scheduler.core.model import JobPlan, TaskPlan
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import JobId, RunId, TaskId
    from foliot_scheduler.specs.tasks import TaskPlans
    from foliot_scheduler.store.recovery import EndedTask, LiveRows, OpenBatch

_ROWS_PER_TURN: Final = 5_000
"""Rows that are restored at a stretch: some 20 ms."""

Row = TypeVar("Row")


async def restore(engine: Engine, rows: LiveRows, plans: TaskPlans, now: Micros, give_way: Callable[[], Awaitable[None]]) -> None:
    """Fill a new engine with the live state. What has to be done at once (leases that do not hold) is in its next effects.

    `give_way` is awaited now and then, so that a replica that takes over millions of rows still answers its health checks.
    """
    state = engine.state
    state.now = now
    _restore_webhooks(state, rows.webhooks)  # first: what the others lead to is told already
    job_plans: dict[tuple[JobId, int], JobPlan] = {}
    async for key in _in_turns(list(rows.job_specs), give_way):
        job_plans[key] = restore_job(rows.job_specs[key])
    for row in rows.jobs:
        _restore_job(state, row, job_plans)
    async for row in _in_turns(rows.runs, give_way):
        _restore_run(state, row, job_plans)
    async for ended in _in_turns(rows.ended_tasks, give_way):
        _place_ended_task(state, ended)
    async for row in _in_turns(rows.tasks, give_way):
        _restore_task(state, row, plans, rows.checkpoints)
    for task_id in rows.retried:
        state.tasks[task_id].retried = True
    for row in rows.workers:
        _restore_worker(state, row)
    for batch in rows.batches:
        _restore_batch(state, batch)
    await _resume(state, rows, give_way)
    jobs.arm_all(state)


async def _in_turns(rows: Sequence[Row], give_way: Callable[[], Awaitable[None]]) -> AsyncIterator[Row]:
    """Give rows one by one, and others their turn after each `_ROWS_PER_TURN` of them."""
    for start in range(0, len(rows), _ROWS_PER_TURN):
        for row in rows[start : start + _ROWS_PER_TURN]:
            yield row
        await give_way()


def _restore_webhooks(state: State, rows: Sequence[asyncpg.Record]) -> None:
    for row in rows:
        state.webhooks[row["id"]] = Webhook(
            row["id"],
            row["project"],
            row["url"],
            row["description"],
            frozenset(WebhookEvent(event) for event in row["events"]),
            row["secret"],
            row["enabled"],
            row["created_at"],
            row["updated_at"],
            row["generation"],
            row["disabled_reason"],
        )
    webhooks.index(state, state.webhooks.values())


def _restore_job(state: State, row: asyncpg.Record, job_plans: dict[tuple[JobId, int], JobPlan]) -> None:
    key = (row["id"], row["version"])
    plan = job_plans.get(key) or restore_job(row["spec"])
    job_plans[key] = plan
    state.jobs[row["id"]] = Job(
        row["id"],
        row["project"],
        plan,
        row["created_at"],
        row["updated_at"],
        state=JobState(row["state"]),
        version=row["version"],
        next_due=row["next_due_at"],
        fires_at=row["fires_at"],
        waiting_runs=list(row["waiting_runs"] or ()),
        stored=Stored.LIVE,
    )


def _restore_run(state: State, row: asyncpg.Record, job_plans: dict[tuple[JobId, int], JobPlan]) -> None:
    plan = job_plans[row["job_id"], row["job_version"]]
    run = Run(
        row["id"],
        row["project"],
        row["job_id"],
        row["job_version"],
        plan,
        Trigger(row["trigger"]),
        row["created_at"],
        row["due_at"],
        state=RunState(row["state"]),
        started=row["started_at"],
        cancelled=row["cancelled"],
        redrive_of=row["redrive_of"],
        stored=Stored.LIVE,
    )
    # Filled below: every node has a task, live or ended.
    run.tasks = [_UNPLACED] * len(plan.nodes)
    state.runs[run.id] = run
    job = state.jobs.get(run.job_id)
    assert job is not None, "recovery.sql reads the job of every live run"
    job.active_runs[run.id] = run


def _place_ended_task(state: State, ended: EndedTask) -> None:
    run = state.runs[ended.run_id]
    node = run.plan.nodes[ended.position]
    run.tasks[ended.position] = Task(
        ended.id,
        run.project,
        node.plan,
        run.created,
        run.created,
        state=ended.state,
        trigger_rule=node.trigger_rule,
        run=run,
        run_id=run.id,
        position=ended.position,
        attempt=ended.attempt,
        stored=Stored.HISTORY,
        row_state=ended.state,
    )
    if ended.state in {TaskState.FAILED, TaskState.CANCELLED}:
        run.failed_tasks += 1


def _restore_task(state: State, row: asyncpg.Record, plans: TaskPlans, checkpoints: dict[TaskId, str]) -> None:
    run_id: RunId | None = row["run_id"]
    run = state.runs[run_id] if run_id is not None else None
    position = row["position"]
    task = Task(
        row["id"],
        row["project"],
        _task_plan(row["spec"], run, position, plans),
        row["created_at"],
        row["updated_at"],
        state=TaskState(row["state"]),
        trigger_rule=TriggerRule(row["trigger_rule"]),
        run=run,
        run_id=run_id,
        position=position,
        depends_on=split_ids(row["depends_on"]),
        traceparent=row["traceparent"],
        attempt=row["attempt"],
        failed_attempts=row["failed_attempts"],
        lost_attempts=row["lost_attempts"],
        due=row["due_at"],
        worker_id=row["worker_id"],
        worker_address=row["worker_address"],
        started=row["started_at"],
        outcome=Outcome(row["outcome"]) if row["outcome"] is not None else None,
        exit_code=row["exit_code"],
        error=row["error"],
        checkpoint=checkpoints.get(row["id"], ""),
        stored=Stored.LIVE,
        row_state=TaskState(row["state"]),
    )
    task.row_priority = task.plan.priority
    state.add_task(task)
    if run is not None:
        run.tasks[position] = task
        run.open_tasks += 1


def _task_plan(spec: bytes, run: Run | None, position: int, plans: TaskPlans) -> TaskPlan:
    """Return the plan of a row: a task of a run shares its node's, unless the task was changed by itself."""
    if run is not None:
        plan = run.plan.nodes[position].plan
        if plan.spec == spec:
            return plan
    return plans.restore(spec)


def _restore_batch(state: State, batch: OpenBatch) -> None:
    """Take over the leases of a batch that still hold; a batch with none is closed."""
    restored = LeaseBatch(
        batch.first_token,
        batch.worker_id,
        batch.leased,
        batch.task_ids,
        batch.attempts,
        0,
        acknowledged=True,
        project=batch.project,
    )
    for number, (task_id, attempt) in enumerate(zip(batch.task_ids, batch.attempts, strict=True)):
        task = state.tasks.get(task_id)
        if task is None or not (task.attempt < attempt or (task.attempt == attempt and task.state is TaskState.RUNNING)):
            continue
        if task.lease is not None:
            _drop(state, task.lease)  # an earlier batch named an earlier attempt, and the row knew of neither
        worker = _holder(state, batch.project, batch.worker_id)
        lease = Lease(Token(batch.first_token + number), task, attempt, worker, restored)
        if task.started is None or task.attempt != attempt:
            # The row knows of the attempt neither when it started nor where it runs.
            task.started = None
            task.worker_address = worker.profile.hostname
        task.attempt = attempt
        task.state = TaskState.RUNNING
        task.worker_id = batch.worker_id
        task.lease = lease
        state.leases[lease.token] = worker.leases[lease.token] = lease
        restored.open += 1
        if worker.is_executor:
            lease.until = Micros(state.now + state.settings.claim_ttl)
            state.timers.add(lease.until, ClaimSilent(lease))
    if restored.open:
        state.batches[restored.first_token] = restored
    else:
        state.effects.writes.batches_closed.append(restored.first_token)


def _drop(state: State, lease: Lease) -> None:
    del state.leases[lease.token]
    del lease.worker.leases[lease.token]
    lease.batch.open -= 1
    if not lease.batch.open:
        del state.batches[lease.batch.first_token]
        state.effects.writes.batches_closed.append(lease.batch.first_token)


def _restore_worker(state: State, row: asyncpg.Record) -> None:
    """Know a worker by what it said of itself to the leader before; it is given nothing until it has come back."""
    profile = WorkerProfile(
        WorkerId(row["id"]),
        row["hostname"],
        row["version"],
        row["capacity"],
        frozenset(row["queues"]),
        tuple(json.loads(row["labels"]).items()),
        frozenset(Kind(kind) for kind in row["kinds"]),
        frozenset(row["functions"]),
        tuple(row["tags"] or ()),
    )
    worker = _expect(state, profile, row["project"] or None, row["registered_at"], is_executor=row["is_executor"])
    worker.last_heard = row["last_heartbeat_at"]
    if row["cpu"] is not None:
        worker.resources = Resources(row["cpu"], row["memory"], row["disk"])


def _expect(
    state: State, profile: WorkerProfile, project: Project | None, registered: Micros, *, is_executor: bool = False
) -> Worker:
    """Have a worker until it is taken for gone unless it has come back; an executor speaks less often than others."""
    until = Micros(state.now + (state.settings.claim_ttl if is_executor else state.settings.takeover_grace))
    worker = Worker(profile, registered, 0, until, project=project, is_executor=is_executor, last_heard=state.now)
    if is_executor and project is not None:
        state.executors[project, profile.id] = worker
    else:
        state.workers[profile.id] = worker
    workers.watch(state, worker, until)
    return worker


def _holder(state: State, project: str, worker_id: WorkerId) -> Worker:
    """Return who holds a lease: a worker, or an executor of a project."""
    holder = state.executors.get((Project(project), worker_id)) if project else None
    holder = holder or state.workers.get(worker_id)
    if holder is not None:
        return holder
    # Its row is written with its first word to a leader, so this is one that the rows do not tell of: known by name only.
    profile = WorkerProfile(worker_id, "", "", 0, frozenset(), (), frozenset(), frozenset(), ())
    # By its name too one tells a worker of one project from an executor (see api/worker_stream.py).
    is_executor = bool(project) and not worker_id.startswith(f"{project}:")
    return _expect(state, profile, Project(project) if project else None, state.now, is_executor=is_executor)


async def _resume(state: State, rows: LiveRows, give_way: Callable[[], Awaitable[None]]) -> None:
    """Let every live task go on from where it stands."""
    live = list(state.tasks.values())
    culprits: dict[TaskId, TaskId | None] = {}
    async for task in _in_turns(live, give_way):
        if task.run is not None:
            _count_parents(task.run, task)
        elif task.depends_on:
            culprits[task.id] = tasks.attach(state, task, _ended_dependencies(task, rows.dependencies))
    # Only now, as a task that ends tells those that wait for it.
    async for task in _in_turns(live, give_way):
        suspicion.take_over(task, state.settings)
        match task.state:
            case TaskState.READY:
                state.ready.push(task)
            case TaskState.SCHEDULED:
                assert task.due is not None
                state.timers.add(task.due, TaskDue(task))
            case TaskState.RUNNING:
                assert task.lease is not None, "a row says running, and no open lease batch does"
                state.gates.enter_again(task)
                if task.started is not None:
                    leases.watch_timeout(state, task.lease)
            case _:
                tasks.decide(state, task, culprits.get(task.id))
    tasks.settle(state)
    for run in list(state.runs.values()):
        if not run.open_tasks:
            end_run(state, run)
    while state.ended_runs:
        jobs.run_ended(state, state.ended_runs.popleft())
        tasks.settle(state)


def _ended_dependencies(task: Task, known: dict[TaskId, TaskState]) -> dict[TaskId, TaskState]:
    """Say how the dependencies of a task on its own ended, those that are nowhere to be found included.

    Such a one ended, and was then deleted or dropped with its partition. How it ended follows from its dependent, if that waits
    still: had it succeeded, a dependent that waits for one success would have started; had it failed, all others would have
    started or ended, or do not mind.
    """
    waits_for_success = task.state is TaskState.BLOCKED and task.trigger_rule is TriggerRule.ONE_SUCCESS
    missing = TaskState.FAILED if waits_for_success else TaskState.SUCCEEDED
    return {dependency: known.get(dependency, missing) for dependency in task.depends_on}


def _count_parents(run: Run, task: Task) -> None:
    for position in run.plan.graph.parents[task.position]:
        parent = run.tasks[position]
        if parent.state in LIVE_TASK_STATES:
            task.parents_open += 1
        else:
            count_parent(task, parent.state)


_UNPLACED = Task.__new__(Task)
"""Stands in a run's list until the task of that node is read; never looked at."""
