"""The commit: everything the engine decided becomes durable in one statement, one round trip, one fsync.

Theory of operation. A commit writes some twenty groups of rows (new tasks, ended tasks, opened lease batches, ...). Each group
is a part of commit.sql that begins at the fence; the statement is put together from the parts whose groups are not empty, and
kept by the set of them, so that PostgreSQL prepares it once. Columns travel as arrays and are unnested there.

Encoding is separate from committing and synchronous, because the engine runs on while a commit is under way: `encode` takes the
rows as they stand, and what changes after that belongs to the next commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from foliot_scheduler.core.model import Stored
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.store import arrays, audit, columns, counts, dependents, election, outbox, rollups
from foliot_scheduler.store.columns import Columns
from foliot_scheduler.store.errors import ConflictError, Fenced, StoreError
from foliot_scheduler.store.pool import Connection, translated
from foliot_scheduler.store.sql import Queries

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import WriteSet
    from foliot_scheduler.core.model import Job, Run, Task, Worker
    from foliot_scheduler.core.types import JobId, Micros

COMMIT_TIMEOUT_S: Final = 15.0
"""A commit takes milliseconds, one of 100,000 tasks 1 to 2 s; one that takes so long has lost its server, and the term with it.
While it lasts nobody is answered, so it must not last for longer than callers wait."""

PREPARE_TIMEOUT_S: Final = 15.0
"""For planning one everyday statement."""

_VERSIONS_KNOWN_MAX: Final = 100_000
"""Jobs whose stored version is remembered; forgetting costs one needless copy of a spec each."""

_SQL = Queries("commit.sql")
_PARAMETER = re.compile(r"\$(\w+)")
_SCALARS: Final = ("shard", "epoch", "expected")


class Group(NamedTuple):
    """Rows that are written in one way."""

    name: str
    """Its part in commit.sql; `<name>_gone`, where there is one, comes before it."""
    columns: Callable[[Any], Columns]
    counted: bool = False
    """Whether each of its rows must be found."""


def _new_task(tasks: Sequence[Task]) -> Columns:
    return columns.birth_columns(tasks) | columns.plan_columns(tasks) | columns.state_columns(tasks)


def _ended_task(tasks: Sequence[Task]) -> Columns:
    return columns.birth_columns(tasks) | columns.plan_columns(tasks) | columns.end_columns(tasks)


def _replanned_task(tasks: Sequence[Task]) -> Columns:
    return columns.plan_columns(tasks) | columns.state_columns(tasks)


def _ids(ids: Sequence[bytes]) -> Columns:
    return {"id": ids}


def _tokens(tokens: Sequence[int]) -> Columns:
    return {"first_token": tokens}


GROUPS: Final = (
    Group("insert_task", _new_task),
    Group("insert_ended_task", _ended_task),
    Group("update_task", columns.state_columns, counted=True),
    Group("replan_task", _replanned_task, counted=True),
    Group("end_task", columns.end_columns, counted=True),
    Group("relabel_task", _replanned_task, counted=True),
    Group("end_task_again", _ended_task, counted=True),
    Group("delete_task", _ids),
    Group("delete_ended_task", _ids),
    Group("insert_run", columns.run_columns),
    Group("insert_ended_run", columns.ended_run_columns),
    Group("update_run", columns.run_columns, counted=True),
    Group("end_run", columns.ended_run_columns, counted=True),
    Group("mark_redriven", columns.redriven_columns),
    Group("upsert_job", columns.job_columns),
    Group("insert_job_version", columns.job_version_columns),
    Group("insert_attempt", columns.attempt_columns),
    Group("open_batch", columns.batch_columns),
    Group("close_batch", _tokens),
    Group("save_checkpoint", columns.checkpoint_columns),
    Group("insert_fire", columns.fire_columns),
    Group("insert_fire_span", columns.fire_span_columns),
    Group("insert_answer", columns.answer_columns),
    Group("put_answer", columns.answer_columns),
    Group("upsert_worker", columns.worker_columns),
    Group("count_worker", columns.worker_count_columns),
    Group("add_rollup", rollups.sum_columns),
    Group("add_count", counts.change_columns),
    Group("upsert_webhook", outbox.webhook_columns),
    Group("delete_webhook", _ids),
    Group("insert_delivery", outbox.delivery_columns),
    Group("insert_audit", audit.record_columns),
    Group("put_failed_dependent", dependents.note_columns),
    Group("delete_failed_dependent", dependents.child_columns),
    Group("wake_failed_dependent", dependents.waking_columns),
)
"""Every way of writing rows, in the order of the statement's parts; the order has no meaning, all see the same snapshot."""


_ENDING: Final = tuple(
    index for index, group in enumerate(GROUPS) if group.name in {"insert_ended_task", "end_task", "end_task_again"}
)
"""The groups of tasks whose end is recorded with this commit."""

_WRITING: Final = 7
"""So many groups write tasks; those after them delete."""


class Statement(NamedTuple):
    """A commit's text for one set of groups."""

    text: str
    parameters: tuple[tuple[int, tuple[str, ...]], ...]
    """For each group its index, and its parameters' names in order."""


@cache
def statement(mask: int) -> Statement:
    """Put together the statement for the groups whose bits are set."""
    numbers = {name: index for index, name in enumerate(_SCALARS, start=1)}
    taken = len(numbers)
    parts, counted, parameters = [_number(_SQL["head"], numbers)], ["0"], []
    for index, group in enumerate(GROUPS):
        if not mask >> index & 1:
            continue
        names: dict[str, int] = {}
        for part in (f"{group.name}_gone", group.name):
            if part in _SQL:
                for name in _PARAMETER.findall(_SQL[part]):
                    if name not in numbers and name not in names:
                        taken += 1
                        names[name] = taken
                returning = "\nRETURNING 1" if group.counted and part == group.name else ""
                parts.append(f"{part} AS (\n{_number(_SQL[part], numbers | names)}{returning}\n)")
        if group.counted:
            counted.append(f"(SELECT count(*) FROM {group.name})")  # noqa: S608 - a name of ours
        parameters.append((index, tuple(names)))
    tail = _SQL["tail"].replace("$counted", " + ".join(counted))
    return Statement(",\n".join(parts) + "\n" + _number(tail, numbers), tuple(parameters))


def _number(text: str, numbers: dict[str, int]) -> str:
    return _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", text)


class EncodedCommit(NamedTuple):
    """Rows as they stood when the commit was encoded."""

    statement: str
    arguments: list[object]


class Committer:
    """Writes one term's commits over one connection, one at a time.

    The connection should have the settings `pool.ONE_WRITER`.
    """

    def __init__(self, connection: Connection, shard: int, epoch: int, *, prepared: bool = False) -> None:
        """Take the connection, and whether `prepare_commits` has been done on it."""
        self._connection = connection
        self._shard = shard
        self._epoch = epoch
        self._versions: dict[JobId, int] = {}
        self._prepared = prepared

    def encode(self, writes: WriteSet) -> EncodedCommit:
        """Take the rows of a set as they stand now, and note in the objects where their rows will be."""
        jobs = list(writes.jobs.values())
        tasks = task_rows(writes)
        rows: tuple[Sequence[object], ...] = (
            *tasks,
            *_run_rows(writes.runs.values()),
            writes.redriven,
            jobs,
            self._unknown_versions(jobs),
            writes.attempts,
            list(writes.batches_opened.values()),
            writes.batches_closed,
            list(writes.checkpoints.values()),
            writes.fires,
            writes.fire_spans,
            [record for record in writes.idempotency if not record.replaces],
            [record for record in writes.idempotency if record.replaces],
            list(writes.workers.values()),
            counted_workers(writes),
            list(rollups.add_up([tasks[index] for index in _ENDING]).items()),
            counts.changes(tasks[:_WRITING], writes.tasks_deleted),
            list(writes.webhooks.values()),
            writes.webhooks_deleted,
            writes.deliveries,
            writes.audits,
            *dependents.note_changes(writes),
        )
        mask = expected = 0
        for index, (group, entries) in enumerate(zip(GROUPS, rows, strict=True)):
            if entries:
                mask |= 1 << index
                if group.counted:
                    expected += len(entries)
        text, parameters = statement(mask)
        arguments: list[object] = [self._shard, self._epoch, expected]
        for index, names in parameters:
            found = GROUPS[index].columns(rows[index])
            arguments.extend([found[name] for name in names])
        writes.mark_stored()
        return EncodedCommit(text, arguments)

    async def commit(self, encoded: EncodedCommit) -> None:
        """Make a commit durable.

        Raises Fenced when another replica leads: nothing was written. Raises StoreUnavailable when the answer was lost: it may or
        may not have been written. Raises ConflictError or StoreError, and nothing was written, when the database holds
        something else than the leader believes.
        """
        await self.prepare()
        with translated("commit"):
            try:
                row = await self._connection.fetchrow(encoded.statement, *encoded.arguments, timeout=COMMIT_TIMEOUT_S)
            except asyncpg.DivisionByZeroError as error:
                raise StoreError("could not commit: rows that must be stored are not, or not where they must be") from error
            except asyncpg.NotNullViolationError as error:
                if error.table_name == "idempotency":
                    raise ConflictError("could not commit: an idempotency key was used before") from error
                raise
        if row is None:
            raise Fenced(f"epoch {self._epoch} of shard {self._shard} is over")

    async def pulse(self) -> Micros:
        """Prove the term and renew it, and answer PostgreSQL's time; raises Fenced or StoreUnavailable."""
        return await election.renew(self._connection, self._shard, self._epoch)

    async def prepare(self) -> None:
        """Make the connection ready, unless that was said to be done; the first commit does it if nobody did before."""
        if not self._prepared:
            await prepare_commits(self._connection, self._shard)
            self._prepared = True

    def _unknown_versions(self, jobs: Iterable[Job]) -> list[Job]:
        """Pick the jobs whose current version this committer has not written."""
        versions = self._versions
        if len(versions) > _VERSIONS_KNOWN_MAX:
            versions.clear()
        unknown = [job for job in jobs if versions.get(job.id) != job.version]
        for job in unknown:
            versions[job.id] = job.version
        return unknown


async def prepare_commits(connection: Connection, shard: int) -> None:
    """Make a connection ready for a committer: before its term begins if possible, as it takes tens of milliseconds.

    Everyday statements are planned here, so that the first of each is not much slower than the next. Nothing is written.
    """
    names = [group.name for group in GROUPS]
    with translated("prepare commits"):
        arrays.register(connection)
        for groups in _EVERYDAY:
            mask = sum(1 << names.index(name) for name in groups)
            await connection.fetchrow(*_empty(statement(mask), shard), timeout=PREPARE_TIMEOUT_S)


def task_rows(writes: WriteSet) -> tuple[list[Any], ...]:
    """Sort the tasks by how they are written: the first nine of `GROUPS`."""
    new: list[Task] = []
    new_ended: list[Task] = []
    moved: list[Task] = []
    replanned: list[Task] = []
    ended: list[Task] = []
    relabelled: list[Task] = []
    ended_again: list[Task] = []
    removed = [task.id for task in writes.tasks_deleted]
    revived = list(removed)
    plans_changed = writes.plans_changed
    # By identity: hashing a member of an Enum runs Python code, three times as slow.
    nowhere, live = Stored.NOWHERE, Stored.LIVE
    ends = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)
    for task in writes.tasks.values():
        stored = task.stored
        if task.state in ends:
            if stored is nowhere:
                new_ended.append(task)
            elif stored is not live:
                (relabelled if task.id in writes.relabelled else ended_again).append(task)
            elif task.id in plans_changed:
                removed.append(task.id)
                new_ended.append(task)
            else:
                ended.append(task)
        elif stored is live:
            (replanned if task.id in plans_changed else moved).append(task)
        else:
            new.append(task)
            if stored is not nowhere:
                revived.append(task.id)
    return new, new_ended, moved, replanned, ended, relabelled, ended_again, removed, revived


def counted_workers(writes: WriteSet) -> list[Worker]:
    """Pick the workers of which only the counts are written."""
    whole = writes.workers
    return [worker for worker in writes.workers_counted if (worker.project or "", worker.profile.id) not in whole]


def _run_rows(runs: Iterable[Run]) -> tuple[list[Any], ...]:
    """Sort the runs by how they are written: the next four groups."""
    new: list[Run] = []
    new_ended: list[Run] = []
    moved: list[Run] = []
    ended: list[Run] = []
    for run in runs:
        assert run.stored is not Stored.HISTORY, "an ended run never changes"
        if run.stored is Stored.LIVE:
            (moved if run.ended is None else ended).append(run)
        else:
            (new if run.ended is None else new_ended).append(run)
    return new, new_ended, moved, ended


_EVERYDAY: Final = (
    ("insert_task", "add_count"),
    ("insert_task", "open_batch", "add_count", "count_worker"),
    ("end_task", "close_batch", "add_rollup", "add_count", "count_worker"),
    ("insert_task", "end_task", "open_batch", "close_batch", "add_rollup", "add_count", "count_worker"),
    ("insert_task", "put_answer", "open_batch", "add_count", "count_worker", "insert_audit"),
    (
        "insert_task",
        "put_answer",
        "end_task",
        "open_batch",
        "close_batch",
        "add_rollup",
        "add_count",
        "count_worker",
        "insert_audit",
    ),
    # What a term that takes over begins with: its workers come back, and callers have waited.
    ("upsert_worker",),
    ("insert_task", "put_answer", "add_count", "insert_audit"),
    ("insert_task", "put_answer", "open_batch", "upsert_worker", "add_count", "insert_audit"),
)


def _empty(prepared: Statement, shard: int) -> list[Any]:
    """Arguments that write nothing: no epoch is negative, and there are no rows."""
    return [prepared.text, shard, -1, 0, *([] for _, names in prepared.parameters for _ in names)]
