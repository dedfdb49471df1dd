"""What the API reads: one function for each question, any replica may ask.

Every function takes a connection or pool of `open_pool`; those that take a project see that project only. All raise
StoreUnavailable when PostgreSQL does not answer, or not in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from foliot_scheduler.core.model import JobState
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import ENDED_TASK_STATES, RunState, TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, Span, TaskId, WorkerId
from foliot_scheduler.store import counts, rows
from foliot_scheduler.store.columns import unpack_attempts
from foliot_scheduler.store.lists import (
    RUN_REACHES_DAYS,
    TASK_REACHES_DAYS,
    Statement,
    TaskFilter,
    TaskSort,
    Window,
    checked_end,
    dead_letter_page,
    fill,
    run_count,
    run_page,
    run_window,
    task_count,
    task_count_by_state,
    task_end,
    task_page,
    windows,
)
from foliot_scheduler.store.pool import Connection, Pool, Row, translated
from foliot_scheduler.store.recovery import split_ids
from foliot_scheduler.store.rollups import read_rollups
from foliot_scheduler.store.rows import (
    AnswerRow,
    AttemptRow,
    HeldTask,
    JobRow,
    LogRow,
    Page,
    RunRow,
    RunTaskRow,
    StatsRow,
    TaskRow,
    WorkerCounts,
    WorkerRow,
)
from foliot_scheduler.store.sql import Queries

Reader = Connection | Pool
"""Where to read."""

_TASKS = Queries("queries/tasks.sql")
_RUNS = Queries("queries/runs.sql")
_JOBS = Queries("queries/jobs.sql")
_WORKERS = Queries("queries/workers.sql")
_SYSTEM = Queries("queries/system.sql")


async def get_task(reader: Reader, project: Project, task_id: TaskId) -> TaskRow | None:
    """Read one task with its output and checkpoint."""
    with translated("read a task"):
        row = await reader.fetchrow(_TASKS["get"], task_id, project)
    return rows.task_row(row) if row is not None else None


async def list_attempts(reader: Reader, task_id: TaskId) -> list[AttemptRow]:
    """Read the attempts of a task that were followed by another, oldest first; its row tells of the last."""
    with translated("read attempts"):
        found = await reader.fetch(_TASKS["attempts"], task_id)
    return [rows.attempt_row(row) for row in found]


async def list_tasks(
    reader: Reader,
    project: Project,
    wanted: TaskFilter,
    *,
    sort: TaskSort = TaskSort.CREATED,
    ascending: bool = False,
    limit: int = 100,
    end: bytes | None = None,
    offset: int = 0,
    with_total: bool = False,
) -> Page[TaskRow]:
    """Read a page of tasks, from where the last one ended (`end`) or so many rows from the front (`offset`).

    Raises BadPageEndError for an `end` that no list of this order gave.
    """
    with translated("list tasks"):
        if sort is TaskSort.CREATED:
            spans = (
                [run_window(wanted.run_id, checked_end(end), ascending=ascending)]
                if wanted.run_id is not None
                else await _windows(reader, end, ascending=ascending)
            )
            build = partial(task_page, project, wanted, sort=sort, ascending=ascending)
            found = await _walk(reader, spans, build, partial(task_count, project, wanted), limit=limit + 1, offset=offset)
        else:
            text, arguments = task_page(
                project, wanted, sort=sort, ascending=ascending, limit=limit + 1, offset=offset, end=end or b""
            )
            found = await reader.fetch(text, *arguments)
        total = None
        if with_total and wanted == TaskFilter(states=wanted.states):
            total = await counts.count_all(reader, project, wanted.states)
        elif with_total:
            text, arguments = task_count(project, wanted)
            total = await reader.fetchval(text, *arguments)
    return _page(found, limit, rows.task_row, partial(task_end, sort), total)


async def count_tasks(reader: Reader, project: Project, wanted: TaskFilter) -> dict[tuple[TaskState, int], int]:
    """Count what a filter holds, by state and priority. Costs a look at each of them, in an index where one fits the filter."""
    text, arguments = task_count_by_state(project, wanted)
    with translated("count tasks"):
        found = await reader.fetch(text, *arguments)
    return {(TaskState(row["state"]), row["priority"]): row["tasks"] for row in found}


async def task_states(reader: Reader, project: Project, task_ids: Collection[TaskId]) -> dict[TaskId, TaskState]:
    """Read where tasks stand; those that do not exist in the project are left out."""
    with translated("read states of tasks"):
        found = await reader.fetch(_TASKS["states"], list(task_ids), project)
    return {TaskId(row["id"]): TaskState(row["state"]) for row in found}


async def list_logs(
    reader: Reader, task_id: TaskId, *, level: str | None = None, limit: int = 100, offset: int = 0
) -> tuple[list[LogRow], int]:
    """Read a page of a task's log lines, oldest first, and how many there are."""
    with translated("read logs"):
        found = await reader.fetch(_TASKS["logs"], task_id, level, limit, offset)
        total = await reader.fetchval(_TASKS["count_logs"], task_id, level)
    return [LogRow(**dict(row)) for row in found], total


async def get_run(reader: Reader, project: Project, run_id: RunId) -> RunRow | None:
    """Read one run."""
    with translated("read a run"):
        row = await reader.fetchrow(_RUNS["get"], run_id, project)
        return (await _run_rows(reader, [row]))[0] if row is not None else None


async def list_run_tasks(reader: Reader, run_id: RunId) -> list[RunTaskRow]:
    """Read the tasks of a run in brief, in the order of its job."""
    with translated("read the tasks of a run"):
        found = await reader.fetch(_TASKS["of_run_in_brief"], run_id)
    return [rows.run_task_row(row) for row in found]


async def list_runs(
    reader: Reader,
    project: Project,
    *,
    job_id: JobId | None = None,
    states: Collection[RunState] = (),
    limit: int = 100,
    end: bytes | None = None,
    offset: int = 0,
    with_total: bool = False,
) -> Page[RunRow]:
    """Read a page of runs, newest first; of one job, in some states (none named: in all). Raises BadPageEndError."""
    with translated("list runs"):
        spans = await _windows(reader, end, ascending=False, reaches_days=RUN_REACHES_DAYS)
        count = partial(run_count, project, job_id, states)
        found = await _walk(reader, spans, partial(run_page, project, job_id, states), count, limit=limit + 1, offset=offset)
        read = await _run_rows(reader, found)
        total = None
        if with_total:
            text, arguments = count()
            total = await reader.fetchval(text, *arguments)
    return _page(read, limit, lambda row: row, lambda row: row.id, total)


async def list_dead_letters(
    reader: Reader,
    project: Project,
    *,
    job_id: JobId | None = None,
    shape: JobShape | None = None,
    limit: int = 100,
    end: bytes | None = None,
) -> Page[RunRow]:
    """Read a page of the runs that failed for good and were not redriven, newest first. Raises BadPageEndError.

    `shape` keeps those of jobs that had this form for them.
    """
    with translated("list dead letters"):
        spans = await _windows(reader, end, ascending=False, reaches_days=RUN_REACHES_DAYS)
        count = partial(run_count, project, job_id, ())
        found = await _walk(reader, spans, partial(dead_letter_page, project, job_id, shape), count, limit=limit + 1, offset=0)
        read = await _run_rows(reader, found)
    return _page(read, limit, lambda row: row, lambda row: row.id, None)


async def get_job(reader: Reader, project: Project, job_id: JobId) -> JobRow | None:
    """Read one job, a deleted one too."""
    statement = Statement()
    conditions = [statement.condition(_JOBS["one"], job_id), statement.condition(_JOBS["of_project"], project)]
    with translated("read a job"):
        row = await reader.fetchrow(fill(_JOBS["columns"], conditions=" AND ".join(conditions)), *statement.arguments)
    return rows.job_row(row) if row is not None else None


async def list_jobs(
    reader: Reader,
    project: Project,
    *,
    state: JobState | None = None,
    name: str | None = None,
    tag: str | None = None,
    surface: str | None = None,
    shape: JobShape | None = None,
    exhausted: bool | None = None,
    limit: int = 100,
    end: bytes | None = None,
    offset: int = 0,
    with_total: bool = False,
) -> Page[JobRow]:
    """Read a page of jobs without their tasks, newest first, without those deleted unless that is the state asked for.

    `exhausted` says whether their schedules have no due time left; None: either. Raises BadPageEndError.
    """
    statement = Statement()
    conditions = [statement.condition(_JOBS["of_project"], project)]
    conditions.append(_JOBS["not_deleted"] if state is None else statement.condition(_JOBS["in_state"], state))
    for fragment, value in (("with_name", name), ("with_tag", tag), ("of_surface", surface), ("of_shape", shape)):
        if value is not None:
            conditions.append(statement.condition(_JOBS[fragment], value))
    if exhausted is not None:
        conditions.append(_JOBS["exhausted" if exhausted else "pending"])
    counting = fill(_JOBS["count"], conditions=" AND ".join(conditions)), list(statement.arguments)
    if end:
        conditions.append(statement.condition(_JOBS["before"], checked_end(end)))
    text = fill(
        _JOBS["page"],
        columns=fill(_JOBS["head_columns"], conditions=" AND ".join(conditions)),
        limit=statement.bind(limit + 1),
        offset=statement.bind(offset),
    )
    with translated("list jobs"):
        found = await reader.fetch(text, *statement.arguments)
        total = await reader.fetchval(counting[0], *counting[1]) if with_total else None
    return _page(found, limit, rows.job_row, lambda row: row.id, total)


async def get_job_version(reader: Reader, job_id: JobId, version: int) -> bytes | None:
    """Read what a job was at a version: a serialized JobSpec."""
    with translated("read a version of a job"):
        spec: bytes | None = await reader.fetchval(_JOBS["version"], job_id, version)
    return spec


async def list_workers(
    reader: Reader,
    project: Project,
    *,
    offline: bool | None = None,
    busy: bool | None = None,
    executors_only: bool = False,
    limit: int = 100,
    offset: int = 0,
) -> tuple[list[WorkerRow], int]:
    """Read a page of workers in the order of their ids, and how many there are; None asks for both kinds."""
    with translated("list workers"):
        found = await reader.fetch(_WORKERS["list"], project, offline, busy, executors_only, limit, offset)
        total = await reader.fetchval(_WORKERS["count"], project, offline, busy, executors_only)
    return [rows.worker_row(row) for row in found], total


async def get_worker(reader: Reader, project: Project, worker_id: WorkerId) -> WorkerRow | None:
    """Read one worker."""
    with translated("read a worker"):
        row = await reader.fetchrow(_WORKERS["get"], project, worker_id)
    return rows.worker_row(row) if row is not None else None


async def held_tasks(
    reader: Reader, project: Project, holders: Collection[tuple[str, WorkerId]]
) -> dict[tuple[str, WorkerId], list[HeldTask]]:
    """Read which tasks of a project workers hold leases of, oldest lease first.

    Holders are as in WorkerRow: the project (empty for a worker that serves all) and the id.
    """
    leased: dict[TaskId, tuple[int, tuple[str, WorkerId]]] = {}
    with translated("read what workers hold"):
        batches = await reader.fetch(_WORKERS["open_batches"], [key for key, _ in holders], [name for _, name in holders])
        for batch in batches:
            holder = (batch["project"], WorkerId(batch["worker_id"]))
            for task_id, attempt in zip(split_ids(batch["task_ids"]), unpack_attempts(batch["attempts"]), strict=True):
                if task_id not in leased or leased[task_id][0] <= attempt:
                    leased[task_id] = (attempt, holder)
        rows_found = await reader.fetch(_WORKERS["live_attempts"], list(leased), project)
    live = {TaskId(row["id"]): row for row in rows_found}
    held: defaultdict[tuple[str, WorkerId], list[HeldTask]] = defaultdict(list)
    for task_id, (attempt, holder) in leased.items():
        row = live.get(task_id)
        # A lease of the batch is over when the task's row tells of its end, or of a later attempt.
        if row and (row["attempt"] < attempt or (row["attempt"] == attempt and row["state"] == TaskState.RUNNING)):
            held[holder].append(HeldTask(task_id, row["name"]))
    return held


async def read_stats(reader: Reader, project: Project, *, since: Micros, until: Micros) -> StatsRow:
    """Count a project's work; `since` and `until` are the whole minutes between which ended tasks count."""
    live = await counts.count_live(reader, project)
    ended = await read_rollups(reader, project, start=since, end=until, step=Span(until - since))
    with translated("count a project's work"):
        jobs = await reader.fetchval(_SYSTEM["count_jobs"], project)
        runs = await reader.fetchval(_SYSTEM["count_live_runs"], project)
    return StatsRow(
        live={state: sum(by_priority.values()) for state, by_priority in live.items()},
        ended={state: getattr(ended[0], state) for state in ENDED_TASK_STATES if ended},
        waiting=live.get(TaskState.READY, {}),
        jobs=jobs,
        live_runs=runs,
    )


async def count_workers(reader: Reader) -> WorkerCounts:
    """Count the workers of all projects."""
    with translated("count workers"):
        row = await reader.fetchrow(_SYSTEM["count_workers"])
    assert row is not None
    return WorkerCounts(**dict(row))


async def count_connections(reader: Reader) -> int:
    """Count the connections that all replicas hold."""
    with translated("count connections"):
        count: int = await reader.fetchval(_SYSTEM["count_connections"])
    return count


async def find_answer(reader: Reader, project: Project, key: str, *, within: Span) -> AnswerRow | None:
    """Read what the first request with an idempotency key was answered, if that was no longer ago than `within`."""
    with translated("look up an idempotency key"):
        row = await reader.fetchrow(_SYSTEM["answer"], project, key, within)
    return AnswerRow(row["digest"], split_ids(row["ids"]), row["created_at"]) if row is not None else None


class _BuildPage(Protocol):
    def __call__(self, *, limit: int, offset: int, window: Window) -> tuple[str, list[object]]: ...


class _BuildCount(Protocol):
    def __call__(self, *, window: Window) -> tuple[str, list[object]]: ...


async def _windows(
    reader: Reader, end: bytes | None, *, ascending: bool, reaches_days: Sequence[int] = TASK_REACHES_DAYS
) -> list[Window]:
    """Cut a list by creation into windows, from where the last page ended or else from now on."""
    now = Micros(0) if end else Micros(await reader.fetchval(_SYSTEM["now"]))
    return windows(now=now, end=checked_end(end), ascending=ascending, reaches_days=reaches_days)


async def _walk(
    reader: Reader, spans: Sequence[Window], page: _BuildPage, count: _BuildCount, *, limit: int, offset: int
) -> list[Row]:
    """Read windows one after the other until the page is full."""
    found: list[Row] = []
    for window in spans:
        text, arguments = page(limit=limit - len(found), offset=offset, window=window)
        part = await reader.fetch(text, *arguments)
        found += part
        if len(found) >= limit:
            break
        if part:
            offset = 0
        elif offset:
            # All of it was skipped; how much that was is asked for only then.
            text, arguments = count(window=window)
            offset -= await reader.fetchval(text, *arguments)
    return found


async def _run_rows(reader: Reader, found: Sequence[Row]) -> list[RunRow]:
    """Read runs, with the tasks of live ones counted in one go."""
    live = [row["id"] for row in found if row["counts"] is None]
    counts: defaultdict[RunId, dict[TaskState, int]] = defaultdict(dict)
    if live:
        for row in await reader.fetch(_RUNS["count_tasks"], live, min(live)):
            counts[RunId(row["run_id"])][TaskState(row["state"])] = row["tasks"]
    return [rows.run_row(row, counts) for row in found]


def _page(
    found: Sequence[Row],
    limit: int,
    read: Callable[[Row], rows.RowT],
    end_of: Callable[[rows.RowT], bytes],
    total: int | None,
) -> Page[rows.RowT]:
    """Make a page of rows of which one more than `limit` was asked for, to know whether another page follows."""
    page = [read(row) for row in found[:limit]]
    return Page(page, end_of(page[-1]) if len(found) > limit else b"", total)
