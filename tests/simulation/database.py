"""PostgreSQL as a model: what the election and the commits meet, with faults.

The election's statements are told apart by their text, so that the real elector and the real `store.election` run against it.
Rows are kept by `FakeJournal`, which refuses what the real tables would. A commit can be slow, be lost before it took effect, or
be lost after it did; a connection can break at any time; the server can be away, or forget who holds its lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg

from foliot_scheduler.core.model import Stored
from foliot_scheduler.store import commit as commits
from foliot_scheduler.store import counts, election, rollups
from foliot_scheduler.store.errors import Fenced, StoreUnavailable
from tests.simulation.rows import Shelf
from tests.simulation.virtual import NOBODY
from tests.unit.core.dice import Dice
from tests.unit.core.fake_journal import Encoded, FakeJournal

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import WriteSet
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.core.types import Micros, Project
    from foliot_scheduler.store.recovery import LiveRows
    from tests.simulation.virtual import Process, VirtualClock

T = TypeVar("T")

_STATEMENT: Final = {election._SQL[name]: name for name in ("ensure_row", "wait_for_lock", "take_epoch", "announce", "renew")} | {
    election._SQL[name]: name for name in ("resign", "release_lock", "read_leadership", "end_stalled")
}


KEEPALIVE_S: Final = 5.0
"""How long a connection lives whose other end is silent (the store's `KEEPALIVE`, and its `ANSWER_WITHIN_S`)."""


@dataclass(slots=True)
class LeadershipRow:
    """The row that fences."""

    epoch: int = 0
    leader: str = ""
    address: str = ""
    elected_at: int = 0
    renewed_at: float = 0.0


@dataclass(slots=True)
class Commit:
    """A commit on its way."""

    rows: Encoded
    shelved: list[Any]
    count_changes: list[counts.Change]
    ends: Counter[TaskState]


@dataclass
class Database:
    """The server."""

    clock: VirtualClock
    dice: Dice
    journal: FakeJournal = field(default_factory=FakeJournal)
    shelf: Shelf = field(default_factory=Shelf)
    leadership: LeadershipRow = field(default_factory=LeadershipRow)
    away: bool = False
    slow_s: float = 0.0
    """Added to every commit."""
    losing: str = ""
    """What becomes of the next commit: lost `before` it took effect, or `after`."""
    stall_s: float = 0.0
    """Added to the next commit alone."""
    cut_off: set[str] = field(default_factory=set)
    """Processes that do not reach the server, without a word."""
    refused: int = 0
    """Commits that the fence kept out."""
    commits: int = 0
    task_counts: Counter[tuple[Project, TaskState, int, int]] = field(default_factory=Counter)
    """How many tasks there are by project, state, priority and day, as commits keep them."""
    ends: Counter[TaskState] = field(default_factory=Counter)
    """How many tasks ended in each state, as commits add them up."""

    def __post_init__(self) -> None:
        self.loop = self.clock.loop
        self._holder: Connection | None = None
        self._queue: deque[tuple[Connection, asyncio.Future[bool]]] = deque()
        """Who waits for the lock, and what tells each whether it was had."""
        self._connections: dict[Connection, None] = {}
        self._sharing = 0
        """Commits under way, which hold the leadership row FOR SHARE."""
        self._unshared: list[asyncio.Future[None]] = []
        """Terms that wait for the end of those to begin."""

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return bool(self._sharing)

    def holds_lock(self, process: Process) -> bool:
        """Whether a process leads as far as the lock goes."""
        return self._holder is not None and self._holder.process is process

    def _count(self, commit: Commit) -> None:
        for project, state, priority, day, tasks in commit.count_changes:
            self.task_counts[project, state, priority, day] += tasks
        self.ends.update(commit.ends)

    async def connect(self, process: Process) -> Connection:
        """Open a connection of a process."""
        await self.clock.sleep(0.001)
        if self.away or process.name in self.cut_off:
            raise StoreUnavailable("simulated: the server is away")
        connection = Connection(self, process)
        self._connections[connection] = None
        process.on_death.append(connection.terminate)
        return connection

    def go_away(self) -> None:
        """Break every connection, and take none until `come_back`."""
        self.away = True
        for connection in list(self._connections):
            connection.terminate()

    def come_back(self) -> None:
        """Serve again."""
        self.away = False

    def cut(self, name: str) -> None:
        """Let nothing through between a process and the server; keepalives break its connections after a while."""
        self.cut_off.add(name)
        for connection in list(self._connections):
            if connection.process.name == name:
                asyncio.get_running_loop().call_later(KEEPALIVE_S, self._break_if_cut, connection)

    def _break_if_cut(self, connection: Connection) -> None:
        if connection.process.name in self.cut_off:
            connection.terminate()

    def mend(self, name: str) -> None:
        """Let a process through again; what was on its way is lost, as are the connections that waited for it."""
        self.cut_off.discard(name)
        for connection in list(self._connections):
            if connection.process.name == name and connection.waits:
                connection.terminate()

    def forget_lock(self) -> None:
        """Lose the lock, as a standby does that takes over from its primary: the leader does not know, only the fence holds."""
        self._holder = None
        self._pass_lock_on()

    def drop(self, connection: Connection) -> None:
        """Forget a connection that has ended; the lock goes to whoever waited longest."""
        self._connections.pop(connection, None)
        if self._holder is connection:
            self._holder = None
        self._queue = deque((waiting, turn) for waiting, turn in self._queue if waiting is not connection)
        self._pass_lock_on()

    async def lock(self, connection: Connection) -> bool:
        """Wait for the lock as long as a statement does; say whether it was had."""
        turn: asyncio.Future[bool] = connection.expect()
        self._queue.append((connection, turn))
        self._pass_lock_on()
        gives_up = self.loop.call_later(election.LOCK_WAIT_S, _answer, turn, False, context=NOBODY)
        try:
            return await turn
        finally:
            gives_up.cancel()

    def unlock(self, connection: Connection) -> None:
        """Give the lock away, if the connection holds it."""
        if self._holder is connection:
            self._holder = None
            self._pass_lock_on()

    def _pass_lock_on(self) -> None:
        while self._holder is None and self._queue:
            connection, turn = self._queue.popleft()
            if not turn.done() and not connection.is_closed():
                self._holder = connection
                turn.set_result(True)

    def end_stalled(self, by: Connection, silent_s: float) -> bool:
        """Break the connection of a leader that has not proved its term."""
        holder = self._holder
        if holder is None or holder is by or self.clock.monotonic() - self.leadership.renewed_at <= silent_s:
            return False
        holder.terminate()
        return True

    async def take_epoch(self) -> dict[str, int]:
        """Begin a term, after the commits under way."""
        while self._sharing:
            self._unshared.append(waits := self.loop.create_future())
            await waits
        row = self.leadership
        row.epoch += 1
        row.leader = row.address = ""
        row.renewed_at, row.elected_at = self.clock.monotonic(), self.clock.now_us()
        return {"epoch": row.epoch, "elected_at": row.elected_at}

    async def load(self) -> LiveRows:
        """Read the live state, as a new leader does."""
        await self.clock.sleep(0.005)
        if self.away:
            raise StoreUnavailable("simulated: the server is away")
        return self.shelf.live_rows(self.journal)

    async def commit(self, connection: Connection, epoch: int, commit: Commit) -> None:
        """Write a commit behind the fence."""
        connection.check()
        losing, self.losing = self.losing, ""
        takes_s = 0.0005 + self.slow_s + self.stall_s + self.dice.fraction() * 0.002
        self.stall_s = 0.0
        await connection.reach()
        answer: asyncio.Future[None] = connection.expect()
        # The statement runs on the server, whatever becomes of the process that sent it, or of the connection meanwhile.
        self.loop.call_later(takes_s, self._execute, connection, epoch, commit, answer, losing, context=NOBODY)
        self._sharing += 1
        await answer
        await connection.reach()

    def _execute(self, connection: Connection, epoch: int, commit: Commit, answer: asyncio.Future[None], losing: str) -> None:
        self._sharing -= 1
        for waits in self._unshared if not self._sharing else ():
            _answer(waits, None)
        if losing != "before" and not self.away:
            if epoch != self.leadership.epoch:
                self.refused += 1
                if not answer.done():
                    answer.set_exception(Fenced(f"simulated: epoch {epoch} is over"))
            else:
                self.journal.commit(commit.rows)
                self.shelf.put(commit.shelved)
                self._count(commit)
                self.leadership.renewed_at = self.loop.seconds
                self.commits += 1
        if losing:
            connection.terminate()
        _answer(answer, None)


def _answer(expected: asyncio.Future[T], value: T) -> None:
    if not expected.done():
        expected.set_result(value)


def _gone() -> Exception:
    return asyncpg.ConnectionDoesNotExistError("simulated: the connection is gone")


class Connection:
    """What the elector and `store.election` call, and nothing else."""

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self.process = process
        self._broken = False
        self._expected: asyncio.Future[Any] | None = None
        self.waits = False
        """Whether it waits for what does not come."""

    def check(self) -> None:
        """Raise what asyncpg raises on a connection that is gone."""
        if self._broken:
            raise _gone()

    def expect(self) -> asyncio.Future[Any]:
        """Make what the server's answer goes into, or the end of the connection; a connection waits for one answer at a time."""
        assert self._expected is None or self._expected.done(), "two statements at once on one connection"
        self._expected = self._database.loop.create_future()
        return self._expected

    async def reach(self) -> None:
        """Wait in vain while the server cannot be reached: an answer that is lost on its way does not come later."""
        if self.process.name in self._database.cut_off:
            self.waits = True
            await self.expect()
        self.check()

    def is_closed(self) -> bool:
        """See asyncpg."""
        return self._broken

    def terminate(self) -> None:
        """See asyncpg."""
        if not self._broken:
            self._broken = True
            if self._expected is not None and not self._expected.done():
                self._expected.set_exception(_gone())
            self._database.drop(self)

    async def execute(self, text: str, *arguments: Any, **_: object) -> None:
        """See asyncpg."""
        await self._do(text, arguments)

    async def fetchrow(self, text: str, *arguments: Any, **_: object) -> Any:
        """See asyncpg."""
        return await self._do(text, arguments)

    async def fetchval(self, text: str, *arguments: Any, **_: object) -> Any:
        """See asyncpg."""
        return await self._do(text, arguments)

    async def fetch(self, text: str, *arguments: Any, **_: object) -> Any:
        """See asyncpg."""
        return await self._do(text, arguments)

    async def _do(self, text: str, arguments: tuple[Any, ...]) -> Any:  # noqa: C901, PLR0912 -- a case for each statement
        database = self._database
        await database.clock.sleep(0.0005)
        await self.reach()
        row = database.leadership
        name: str = _STATEMENT.get(text, "")
        match name:
            case "wait_for_lock":
                if not await database.lock(self):
                    raise asyncpg.LockNotAvailableError("simulated: the lock is another's")
            case "take_epoch":
                return await database.take_epoch()
            case "announce":
                if row.epoch != arguments[1]:
                    return None
                row.leader, row.address, row.renewed_at = arguments[2], arguments[3], database.clock.monotonic()
                return 1
            case "renew":
                if row.epoch != arguments[1]:
                    return None
                row.renewed_at = database.clock.monotonic()
                return database.clock.now_us()
            case "release_lock":
                database.unlock(self)
            case "resign":
                if row.epoch == arguments[1]:
                    row.leader = row.address = ""
            case "read_leadership":
                silent_s = database.clock.monotonic() - row.renewed_at
                found = {"epoch": row.epoch, "leader": row.leader, "address": row.address}
                return {**found, "elected_at": row.elected_at, "silent_s": silent_s}
            case "end_stalled":
                return [1] if database.end_stalled(self, arguments[1]) else []
            case _:
                assert name == "ensure_row" or text.startswith("SET "), text
        return None


class Pool:
    """A pool of connections of one process, which opens another where none is idle."""

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._process = process
        self._idle: list[Connection] = []

    async def acquire(self) -> Connection:
        """See asyncpg."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._database.connect(self._process)

    async def release(self, connection: Connection) -> None:
        """See asyncpg."""
        self._idle.append(connection)


class Writer:
    """Where a term's commits go."""

    def __init__(self, database: Database, connection: Connection, epoch: int) -> None:
        self._database = database
        self._connection = connection
        self._epoch = epoch

    def encode(self, writes: WriteSet) -> Commit:
        """See `actors.journal.Writer`."""
        shelved = self._database.shelf.take(writes)
        assert all(run.stored is not Stored.HISTORY for run in writes.runs.values())
        tasks = commits.task_rows(writes)
        changes = counts.changes(tasks[: commits._WRITING], writes.tasks_deleted)
        ends: Counter[TaskState] = Counter()
        for sums in rollups.add_up([tasks[index] for index in commits._ENDING]).values():
            ends.update(dict(zip(rollups._STATES, sums, strict=False)))
        return Commit(self._database.journal.encode(writes), shelved, changes, ends)

    async def commit(self, encoded: Commit) -> None:
        """See `actors.journal.Writer`."""
        try:
            await self._database.commit(self._connection, self._epoch, encoded)
        except asyncpg.ConnectionDoesNotExistError as error:
            raise StoreUnavailable("simulated: the answer is lost") from error

    async def pulse(self) -> Micros:
        """See `actors.journal.Writer`."""
        return await election.renew(self._connection, 0, self._epoch)  # type: ignore[arg-type]
