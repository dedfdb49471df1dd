"""Every list holds what its filter says, in its order, page by page; other projects are never seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from foliot_scheduler.api.answers import KEPT
from foliot_scheduler.core.effects import WriteSet
from foliot_scheduler.core.model import Job, JobState, Kind, LeaseBatch, Placement, Run, Task
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import MINUTE, JobId, Micros, Project, RunId, TaskId, Token, WorkerId
from foliot_scheduler.store import partitions, reads
from foliot_scheduler.store.lists import BadPageEndError, TaskFilter, TaskSort
from foliot_scheduler.store.logs import LogLine, insert_logs
from foliot_scheduler.store.partitions import lowest_id
from foliot_scheduler.store.pool import Pool
from foliot_scheduler.store.rows import HeldTask, Page, TaskRow
from tests.integration.store.conftest import Commit
from tests.integration.store.core_objects import PROJECT, end, job, plan, run, task, tasks_of, worker

DAY = 86_400_000_000
STATES = list(TaskState)


def _id(instant: int, number: int) -> TaskId:
    return TaskId(lowest_id(Micros(instant))[:8] + number.to_bytes(8, "big"))


async def _now(pool: Pool) -> int:
    now: int = await pool.fetchval("SELECT now()")
    return now


@pytest.fixture
async def tasks(commit: Commit, pool: Pool) -> list[Task]:
    """Tasks of every state over 40 days, some days with a partition, newest last; and some of another project."""
    now = await _now(pool)
    async with pool.acquire() as connection:
        for days in (0, 20):
            await partitions.create_ahead(connection, now_us=now - days * DAY)
    made = []
    for number in range(96):
        instant = now - (40 * DAY) + number * (40 * DAY // 96)
        state = STATES[number % len(STATES)]
        values = plan(
            name=f"name {number % 5}",
            priority=1 + number % 10,
            tags=("rare",) if number % 16 == 3 else (),
            placement=Placement("gpu" if number % 3 else "default", Kind.HTTP if number % 7 == 0 else Kind.COMMAND, "", ()),
        )
        each = task(values, id=_id(instant, number), created=Micros(instant), state=state, worker_id=WorkerId(f"w{number % 4}"))
        if not each.is_live:
            end(each, state, ended=Micros(instant + 5))
        each.updated = Micros(now - (number * 37 % 96) * 1000)
        made.append(each)
    others = [task(id=_id(now - number, 1000 + number), project=Project("other")) for number in range(5)]
    await commit(tasks_of(*made, *others))
    return made


_FILTERS: dict[str, tuple[TaskFilter, Callable[[Task], bool]]] = {
    "all": (TaskFilter(), lambda each: True),
    "live": (
        TaskFilter(states=frozenset({TaskState.READY, TaskState.RUNNING})),
        lambda each: each.state in {TaskState.READY, TaskState.RUNNING},
    ),
    "mixed": (
        TaskFilter(states=frozenset({TaskState.READY, TaskState.FAILED})),
        lambda each: each.state in {TaskState.READY, TaskState.FAILED},
    ),
    "tag": (TaskFilter(tag="rare"), lambda each: "rare" in each.plan.tags),
    "queue": (TaskFilter(queue="gpu"), lambda each: each.plan.placement.queue == "gpu"),
    "kind": (TaskFilter(kind="http"), lambda each: each.plan.placement.kind is Kind.HTTP),
    "priority": (TaskFilter(priority=3), lambda each: each.plan.priority == 3),
    "name": (TaskFilter(name="name 2"), lambda each: each.plan.name == "name 2"),
    "worker": (TaskFilter(worker_id=WorkerId("w1")), lambda each: each.worker_id == "w1"),
    "standalone": (TaskFilter(standalone=True), lambda each: True),
    "run": (TaskFilter(run_id=RunId(bytes(16))), lambda each: False),
}

_KEYS: dict[TaskSort, Callable[[Task], object]] = {
    TaskSort.CREATED: lambda each: each.id,
    TaskSort.UPDATED: lambda each: (each.updated, each.id),
    TaskSort.PRIORITY: lambda each: (each.plan.priority, each.id),
    TaskSort.NAME: lambda each: (each.plan.name, each.id),
    TaskSort.STATE: lambda each: (each.state.value, each.id),
}


def _ids(rows: list[TaskRow]) -> list[TaskId]:
    return [row.id for row in rows]


async def test_every_filter_in_every_order_page_by_page(tasks: list[Task], pool: Pool) -> None:
    combinations = [(name, sort, False) for name in _FILTERS for sort in (TaskSort.CREATED, TaskSort.PRIORITY)]
    combinations += [(name, sort, down) for name in ("all", "mixed") for sort in TaskSort for down in (True, False)]
    for name, sort, ascending in combinations:
        wanted, holds = _FILTERS[name]
        key = _KEYS[sort]
        expected = [each.id for each in sorted(filter(holds, tasks), key=key, reverse=not ascending)]  # type: ignore[arg-type]  # keys of one sort compare
        found: list[TaskId] = []
        ending: bytes | None = None
        while ending != b"":
            page: Page[TaskRow] = await reads.list_tasks(
                pool, PROJECT, wanted, sort=sort, ascending=ascending, limit=25, end=ending, with_total=not found
            )
            assert len(page.rows) == 25 or not page.end
            assert page.total in {None, len(expected)}
            found += _ids(page.rows)
            ending = page.end
        assert found == expected, (name, sort, ascending)
        for offset in (0, 3, 30, 200):
            page = await reads.list_tasks(pool, PROJECT, wanted, sort=sort, ascending=ascending, limit=10, offset=offset)
            assert _ids(page.rows) == expected[offset : offset + 10], (name, sort, ascending, offset)
            assert bool(page.end) == (len(expected) > offset + 10)


async def test_a_listed_task_is_as_it_was_written(tasks: list[Task], pool: Pool) -> None:
    rows = {row.id: row for row in (await reads.list_tasks(pool, PROJECT, TaskFilter(), limit=1000)).rows}
    for each in tasks:
        row = rows[each.id]
        assert (row.project, row.state, row.name, row.priority) == (PROJECT, each.state, each.plan.name, each.plan.priority)
        assert (row.created_at, row.updated_at, row.ended_at) == (each.created, each.updated, each.ended)


async def test_another_projects_things_do_not_exist(tasks: list[Task], commit: Commit, pool: Pool) -> None:
    other = Project("other")
    made = job()
    started = run(made)
    await commit(WriteSet(jobs={made.id: made}, runs={started.id: started}))
    assert len((await reads.list_tasks(pool, other, TaskFilter(), with_total=True)).rows) == 5
    assert await reads.get_task(pool, other, tasks[0].id) is None
    assert await reads.get_task(pool, other, tasks[-1].id) is None
    assert await reads.task_states(pool, other, [each.id for each in tasks]) == {}
    assert await reads.get_job(pool, other, made.id) is None
    assert (await reads.list_jobs(pool, other, with_total=True)).total == 0
    assert await reads.get_run(pool, other, started.id) is None
    assert (await reads.list_runs(pool, other, with_total=True)).total == 0


@pytest.mark.parametrize(
    ("sort", "ending"),
    [
        (TaskSort.CREATED, b"short"),
        (TaskSort.CREATED, bytes(17)),
        (TaskSort.UPDATED, bytes(16)),
        (TaskSort.UPDATED, bytes(16) + b"9" * 30),
        (TaskSort.PRIORITY, bytes(16) + b"x"),
        (TaskSort.PRIORITY, bytes(16) + b"100000"),
        (TaskSort.NAME, bytes(16) + b"a\0"),
        (TaskSort.NAME, b"short"),
        (TaskSort.NAME, bytes(16) + b"\xff"),
    ],
)
async def test_an_end_that_no_page_gave_is_refused(pool: Pool, sort: TaskSort, ending: bytes) -> None:
    with pytest.raises(BadPageEndError):
        await reads.list_tasks(pool, PROJECT, TaskFilter(), sort=sort, end=ending)
    with pytest.raises(BadPageEndError):
        await reads.list_runs(pool, PROJECT, end=b"x")
    with pytest.raises(BadPageEndError):
        await reads.list_jobs(pool, PROJECT, end=b"x")


async def test_states_are_found_wherever_tasks_are(tasks: list[Task], pool: Pool) -> None:
    found = await reads.task_states(pool, PROJECT, [*(each.id for each in tasks), TaskId(bytes(16))])
    assert found == {each.id: each.state for each in tasks}


async def test_runs_are_listed_newest_first(commit: Commit, pool: Pool) -> None:
    now = await _now(pool)
    jobs: list[Job] = [job(), job()]
    runs: list[Run] = []
    for number, state in zip(range(40), itertools.cycle(RunState), strict=False):
        instant = now - (39 - number) * DAY
        ended = None if state in {RunState.PENDING, RunState.RUNNING} else Micros(instant + 1)
        runs.append(run(jobs[number % 2], id=_id(instant, number), state=state, ended=ended, created=Micros(instant)))
    await commit(WriteSet(jobs={each.id: each for each in jobs}, runs={each.id: each for each in runs}))
    newest = runs[::-1]
    cases: list[tuple[JobId | None, frozenset[RunState]]] = [
        (None, frozenset()),
        (jobs[0].id, frozenset()),
        (jobs[1].id, frozenset({RunState.RUNNING, RunState.FAILED})),
        (None, frozenset({RunState.SUCCEEDED})),
    ]
    for job_id, states in cases:
        expected = [each.id for each in newest if job_id in {None, each.job_id} and (not states or each.state in states)]
        found: list[RunId] = []
        ending: bytes | None = None
        while ending != b"":
            page = await reads.list_runs(
                pool, PROJECT, job_id=job_id, states=states, limit=7, end=ending, with_total=ending is None
            )
            assert page.total in {None, len(expected)}
            found += [row.id for row in page.rows]
            ending = page.end
        assert found == expected
        skipped = await reads.list_runs(pool, PROJECT, job_id=job_id, states=states, limit=3, offset=5)
        assert [row.id for row in skipped.rows] == expected[5:8]


async def test_jobs_are_listed_newest_first_without_the_deleted(commit: Commit, pool: Pool) -> None:
    jobs = [job() for _ in range(6)]
    jobs[1].state, jobs[2].state = JobState.DELETED, JobState.PAUSED
    jobs[3].plan = jobs[4].plan
    await commit(WriteSet(jobs={each.id: each for each in jobs}))
    newest = [each.id for each in jobs[::-1] if each.state is not JobState.DELETED]
    first = await reads.list_jobs(pool, PROJECT, limit=2, with_total=True)
    assert ([row.id for row in first.rows], first.total) == (newest[:2], 5)
    second = await reads.list_jobs(pool, PROJECT, limit=3, end=first.end)
    assert ([row.id for row in second.rows], second.end) == (newest[2:5], b"")
    for filters, expected in (
        ({"state": JobState.DELETED}, [jobs[1].id]),
        ({"state": JobState.PAUSED}, [jobs[2].id]),
        ({"name": "nightly", "tag": "blue", "surface": "dag_jobs"}, newest),
        ({"name": "other"}, []),
        ({"tag": "red"}, []),
        ({"surface": "tasks"}, []),
    ):
        page = await reads.list_jobs(pool, PROJECT, with_total=True, **filters)
        assert ([row.id for row in page.rows], page.total) == (expected, len(expected))
    gone = await reads.get_job(pool, PROJECT, jobs[1].id)
    assert gone is not None
    assert gone.state is JobState.DELETED


async def test_workers_are_listed_by_name(commit: Commit, pool: Pool) -> None:
    idle, busy, gone, executor = worker("b"), worker("a"), worker("c", offline=True), worker("a", is_executor=True)
    executor.project = PROJECT
    held, claimed = task(attempt=1, state=TaskState.RUNNING), task(attempt=1, state=TaskState.RUNNING)
    busy.leases[Token(1)] = None  # type: ignore[assignment]  # only counted
    batch = LeaseBatch(Token(1), WorkerId("a"), Micros(1), (held.id, TaskId(bytes(16))), (1, 1), 2)
    claims = LeaseBatch(Token(3), WorkerId("a"), Micros(1), (claimed.id,), (1,), 1, project=PROJECT)
    writes = tasks_of(held, claimed)
    writes.workers = {(each.project or "", each.profile.id): each for each in (idle, busy, gone, executor)}
    writes.batches_opened = {batch.first_token: batch, claims.first_token: claims}
    await commit(writes)
    everyone, total = await reads.list_workers(pool, PROJECT)
    assert ([(row.id, row.project) for row in everyone], total) == ([("a", ""), ("a", "p"), ("b", ""), ("c", "")], 4)
    assert [row.id for row in (await reads.list_workers(pool, Project("other")))[0]] == ["a", "b", "c"]
    assert [row.id for row in (await reads.list_workers(pool, PROJECT, offline=True))[0]] == ["c"]
    assert [row.id for row in (await reads.list_workers(pool, PROJECT, offline=False, busy=True))[0]] == ["a"]
    page, total = await reads.list_workers(pool, PROJECT, offline=False, busy=False, limit=1, offset=1)
    assert ([row.id for row in page], total) == (["b"], 2)
    assert [row.project for row in (await reads.list_workers(pool, PROJECT, executors_only=True))[0]] == [PROJECT]
    counts = await reads.count_workers(pool)
    assert (counts.active, counts.idle, counts.offline) == (1, 2, 1)
    both = [("", WorkerId("a")), (PROJECT, WorkerId("a"))]
    on_worker, on_executor = HeldTask(held.id, held.plan.name), HeldTask(claimed.id, claimed.plan.name)
    assert await reads.held_tasks(pool, PROJECT, both) == {both[0]: [on_worker], both[1]: [on_executor]}
    assert await reads.held_tasks(pool, PROJECT, both[1:]) == {both[1]: [on_executor]}
    assert await reads.held_tasks(pool, Project("other"), both) == {}
    held.attempt, held.state = 1, TaskState.SCHEDULED  # that attempt has failed, and another follows
    await commit(tasks_of(held))
    assert await reads.held_tasks(pool, PROJECT, both[:1]) == {}
    assert await reads.count_connections(pool) >= 1


async def test_stats_count_a_project(tasks: list[Task], commit: Commit, pool: Pool) -> None:
    made = job()
    started = run(made)
    old = end(task(id=_id(0, 1)), TaskState.FAILED, ended=Micros(await _now(pool)))
    await commit(WriteSet(jobs={made.id: made}, runs={started.id: started}, tasks={old.id: old}))
    now = await _now(pool)
    until = Micros(now - now % MINUTE + MINUTE)
    since = Micros(until - 10 * DAY)
    stats = await reads.read_stats(pool, PROJECT, since=since, until=until)
    live = [each for each in tasks if each.is_live]
    assert stats.live == {state: sum(each.state is state for each in live) for state in {each.state for each in live}}
    recent = [each.state for each in (*tasks, old) if each.ended is not None and each.ended >= since]
    assert stats.ended == {state: recent.count(state) for state in set(recent)}
    ready = [each.plan.priority for each in live if each.state is TaskState.READY]
    assert stats.waiting == {priority: ready.count(priority) for priority in set(ready)}
    assert list(stats.waiting) == sorted(stats.waiting, reverse=True)
    assert (stats.jobs, stats.live_runs) == (1, 1)
    nothing = await reads.read_stats(pool, Project("nobody"), since=since, until=until)
    assert not any((nothing.live, nothing.ended, nothing.waiting, nothing.jobs, nothing.live_runs))


async def test_log_lines_are_kept_once_and_only_of_attempts_that_exist(commit: Commit, pool: Pool) -> None:
    live, ended = task(attempt=1), end(task(), attempt=2)
    await commit(tasks_of(live, ended))

    def line(of: TaskId, attempt: int, number: int, message: str = "m") -> LogLine:
        return LogLine(of, number, Micros(number), attempt, "error" if number % 2 else "info", message)

    lines = [line(live.id, 1, 1, "nul \0 byte"), line(live.id, 2, 1), line(live.id, 3, 1), line(live.id, 0, 1)]
    lines += [line(ended.id, 2, 1), line(ended.id, 3, 1), line(TaskId(bytes(16)), 1, 1)]
    assert await insert_logs(pool, lines) == 3
    assert await insert_logs(pool, [line(live.id, 1, 1, "again"), line(live.id, 1, 2)]) == 1
    assert await insert_logs(pool, []) == 0
    rows, total = await reads.list_logs(pool, live.id)
    assert [(row.attempt, row.number, row.message) for row in rows] == [(1, 1, "nul \ufffd byte"), (1, 2, "m"), (2, 1, "m")]
    assert total == 3
    rows, total = await reads.list_logs(pool, live.id, level="error", limit=1, offset=1)
    assert ([(row.attempt, row.number, row.at) for row in rows], total) == ([(2, 1, 1)], 2)


async def test_an_answer_is_found_for_as_long_as_a_commit_would_find_its_key_taken(pool: Pool) -> None:
    ages = {"young": "23 hours 59 minutes 50 seconds", "old": "24 hours 10 seconds", "over": "24 hours 2 minutes"}
    for key, age in ages.items():
        await pool.execute(
            "INSERT INTO idempotency (created_at, project, key, digest, ids) VALUES (now() - $1::text::interval, $2, $3, '', '')",
            age,
            PROJECT,
            key,
        )
    found = {key: await reads.find_answer(pool, PROJECT, key, within=KEPT) for key in ages}
    assert [key for key, answer in found.items() if answer is not None] == ["young", "old"]
