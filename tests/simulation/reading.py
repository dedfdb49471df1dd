"""What replicas read of PostgreSQL: the statements of the API, the revival and the schedule loader, answered from the model.

Statements are told apart by their text, so that the real services and the real `store.reads` run against it. What is read may be
old by the time it arrives, as everywhere. Columns that only answers to people show are left empty.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from foliot_scheduler.core.model import JobState
from foliot_scheduler.store import clock as store_clock
from foliot_scheduler.store import dependents, reads
from foliot_scheduler.store.lists import Statement, fill
from foliot_scheduler.store.pool import translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from foliot_scheduler.core.types import JobId, Micros, Project, RunId, Span, TaskId
    from tests.simulation.database import Database
    from tests.simulation.virtual import Process
    from tests.unit.core.dice import Dice

Row = dict[str, Any]

_UNSHOWN: Final[Row] = {"job_id": None, "key": "", "worker_address": "", "traceparent": ""}


def _job_statement() -> str:
    statement = Statement()
    jobs = reads._JOBS
    conditions = [statement.condition(jobs["one"], b""), statement.condition(jobs["of_project"], "")]
    return fill(jobs["columns"], conditions=" AND ".join(conditions))


class Reads:
    """A pool of connections of one process, and each of its connections."""

    def __init__(self, database: Database, process: Process, dice: Dice) -> None:
        self._database = database
        self._process = process
        self._dice = dice
        self._answers: dict[str, Callable[..., list[Row]]] = {
            reads._TASKS["get"]: self._task,
            reads._TASKS["states"]: self._states,
            reads._TASKS["attempts"]: self._attempts,
            reads._RUNS["get"]: self._run,
            reads._RUNS["count_tasks"]: lambda _ids, _first: [],
            reads._SYSTEM["answer"]: self._answer,
            store_clock._SQL["clock"]: self._clock,
            _job_statement(): self._job,
            dependents._SQL["due"]: self._due,
            dependents._SQL["ended"]: self._ended,
            dependents._SQL["states"]: self._states,
        }

    # ---- as a pool

    async def acquire(self) -> Reads:
        """See asyncpg."""
        self._check()
        return self

    async def release(self, _connection: Reads) -> None:
        """See asyncpg."""

    # ---- as a connection

    async def fetch(self, text: str, *arguments: Any, **_: object) -> list[Row]:
        """See asyncpg."""
        clock, dice = self._database.clock, self._dice
        await clock.sleep(dice.fraction() * (0.002 if dice.chance(0.98) else 0.5))
        self._check()
        found = self._answers[text](*arguments)
        await clock.sleep(dice.fraction() * (0.002 if dice.chance(0.98) else 0.5))
        self._check()
        return found

    async def fetchrow(self, text: str, *arguments: Any, **_: object) -> Row | None:
        """See asyncpg."""
        found = await self.fetch(text, *arguments)
        return found[0] if found else None

    async def fetchval(self, text: str, *arguments: Any, **_: object) -> Any:
        """See asyncpg."""
        found = await self.fetch(text, *arguments)
        return next(iter(found[0].values())) if found else None

    def _check(self) -> None:
        if self._database.away or self._process.name in self._database.cut_off:
            raise asyncpg.ConnectionDoesNotExistError("simulated: the server cannot be reached")

    # ---- schedules, see `actors.schedule_loader.Schedules`

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Reads]:
        """Lend a reader for one round."""
        with translated("read schedules"):
            self._check()
        yield self

    async def read_clock(self) -> Micros:
        """See `DueReader`."""
        return await store_clock.read_clock(self)  # type: ignore[arg-type]

    async def due_jobs(self, *, since: Micros, until: Micros) -> AsyncGenerator[list[JobId], None]:
        """See `DueReader`."""
        with translated("read which jobs are due"):
            self._check()
        jobs = self._database.journal.jobs
        planned = [(job.fires_at, job_id) for job_id, job in jobs.items() if job.fires_at is not None]
        for _, job_id in sorted(one for one in planned if since <= one[0] < until):
            await self._database.clock.sleep(self._dice.fraction() * 0.002)
            yield [job_id]

    async def read_jobs(self, ids: Sequence[JobId]) -> list[Row]:
        """See `DueReader`."""
        await self._database.clock.sleep(self._dice.fraction() * 0.002)
        with translated("read jobs"):
            self._check()
        return [row for job_id in ids for row in self._job(job_id)]

    # ---- rows

    def _task(self, task_id: TaskId, project: Project) -> list[Row]:
        journal = self._database.journal
        row = journal.live.get(task_id) or journal.history.get(task_id)
        if row is None or row.project != project:
            return []
        return [self._task_row(task_id) | {"output": row.output, "error_output": row.error_output}]

    def _task_row(self, task_id: TaskId) -> Row:
        journal = self._database.journal
        row = journal.row(task_id)
        saved = journal.checkpoints.get(task_id)
        return {
            **_UNSHOWN,
            "id": task_id,
            "project": row.project,
            "run_id": row.run_id,
            "position": row.position,
            "name": row.plan.name,
            "priority": row.plan.priority,
            "state": row.state,
            "trigger_rule": row.trigger_rule,
            "depends_on": b"".join(row.depends_on),
            "spec": row.plan.spec,
            "attempt": row.attempt,
            "failed_attempts": row.failed_attempts,
            "lost_attempts": row.lost_attempts,
            "outcome": row.outcome,
            "exit_code": row.exit_code,
            "error": row.error,
            "created_at": row.created,
            "updated_at": row.updated,
            "due_at": row.due,
            "started_at": row.started,
            "ended_at": row.ended,
            "worker_id": row.worker_id,
            "checkpoint": saved.checkpoint if saved is not None else "",
        }

    def _states(self, task_ids: Sequence[TaskId], project: Project | None = None) -> list[Row]:
        journal = self._database.journal
        found = []
        for task_id in task_ids:
            row = journal.live.get(task_id) or journal.history.get(task_id)
            if row is not None and project in {None, row.project}:
                found.append({"id": task_id, "state": row.state})
        return found

    def _attempts(self, task_id: TaskId) -> list[Row]:
        attempts = self._database.journal.attempts
        found: list[Row] = []
        for number in range(1, self._database.journal.row(task_id).attempt + 1):
            one = attempts.get((task_id, number))
            if one is not None:
                row: Row = {"number": number, "worker_id": one.worker_id, "worker_address": one.worker_address}
                row |= {"started_at": one.started, "ended_at": one.ended, "outcome": one.outcome}
                found.append({**row, "exit_code": one.exit_code, "error": one.error})
        return found

    def _run(self, run_id: RunId, _project: Project) -> list[Row]:
        journal = self._database.journal
        run = journal.runs.get(run_id) or journal.runs_ended.get(run_id)
        if run is None:
            return []
        row: Row = {"id": run_id, "job_id": run.job_id, "job_version": run.job_version, "state": run.state, "due_at": run.due_at}
        row |= {"cancelled": run.cancelled, "started_at": run.started, "ended_at": run.ended, "redrive_of": run.redrive_of}
        row |= {"counts": "{}" if run.ended is not None else None, "redriven_by": journal.redriven.get(run_id)}
        kept = self._database.shelf.rows["run", run_id]
        return [row | {name: kept[name] for name in ("project", "created_at", "trigger")}]

    def _job(self, job_id: JobId, _project: Project | None = None) -> list[Row]:
        job, rows = self._database.journal.jobs.get(job_id), self._database.shelf.rows
        if job is None:
            return []
        row: Row = {"id": job_id, "state": str(job.state), "version": job.version, "next_due_at": job.next_due}
        row |= {"fires_at": job.fires_at if job.state != JobState.DELETED else None, "waiting_runs": job.waiting_runs or None}
        return [{**row, **rows["job", job_id], "spec": rows["spec", (job_id, job.version)]["spec"]}]

    def _answer(self, project: Project, key: str, _within: Span) -> list[Row]:
        found = self._database.journal.answers.get((project, key))
        return [] if found is None else [{"digest": found.digest, "ids": found.ids, "created_at": found.created}]

    def _clock(self) -> list[Row]:
        return [{"now": self._database.clock.now_us()}]

    def _due(self, limit: int) -> list[Row]:
        children = sorted({child for (_, child), due in self._database.journal.notes.items() if due})
        return [{"child_id": child} for child in children[:limit]]

    def _ended(self, task_ids: Sequence[TaskId]) -> list[Row]:
        return [self._task_row(task_id) for task_id in sorted(task_ids) if task_id in self._database.journal.history]
