"""WorkerService: what workers and executors say by calls of their own, the lines their tasks write, and how they are shown.

The bidirectional Work stream is served by the part that is given here (worker_stream.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.logs import get_logger
from foliot.v1 import worker_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.api.requests import enum_of, offset_of, page_size_of, required_text, task_id_of
from foliot_scheduler.api.wishes import Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.access import READ, WORK, Access
from foliot_scheduler.core.model import Kind, Outcome, Task
from foliot_scheduler.core.types import Micros, TaskId, Token, WorkerId
from foliot_scheduler.specs.rules import Violations, check_count, check_text, is_longer
from foliot_scheduler.specs.tasks import QUEUE_BYTES_MAX, QUEUE_DEFAULT
from foliot_scheduler.store import logs, reads
from foliot_scheduler.store.errors import StoreError
from foliot_scheduler.store.logs import LogLine

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import LeaderPort, ServeWork
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Project, Span
    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import AttemptRow

WORKER_ID_BYTES_MAX: Final = 255
ADDRESS_BYTES_MAX: Final = 255
ERROR_BYTES_MAX: Final = 8 * 1024
OUTPUT_BYTES_MAX: Final = 1024 * 1024
QUEUES_MAX: Final = 100
LINES_MAX: Final = 1_000
LINE_BYTES_MAX: Final = 16 * 1024
LEVELS: Final = frozenset({"debug", "info", "warn", "error"})
ID_BYTES: Final = 16
WORKER_OFFSET_MAX: Final = 1_000_000

ATTEMPTS_WITHIN_S: Final = 1.0
"""How long a claim waits for the record of earlier attempts; its lease runs meanwhile."""

# PostgreSQL's instants end before those that 64 bits of microseconds can say.
_AT_MAX: Final = 253_402_300_799_999_999
"""The end of the year 9999."""


class _Standing(NamedTuple):
    """What a state of workers is in their rows."""

    offline: bool | None = None
    busy: bool | None = None


_STANDINGS: Final[dict[int, _Standing]] = {
    worker_pb2.WORKER_STATE_UNSPECIFIED: _Standing(),
    worker_pb2.WORKER_STATE_ACTIVE: _Standing(offline=False, busy=True),
    worker_pb2.WORKER_STATE_IDLE: _Standing(offline=False, busy=False),
    worker_pb2.WORKER_STATE_OFFLINE: _Standing(offline=True),
}
_CLAIMABLE: Final = {str(kind): kind for kind in Kind if kind is not Kind.MARKER}


log = get_logger(__name__)


class WorkerService:
    """Serves foliot.v1.WorkerService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
    WRITES: ClassVar[frozenset[str]] = frozenset({"ClaimTask", "HeartbeatTask", "CompleteTask", "FailTask"})
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "Work": WORK,
        "PushLogs": WORK,
        "ClaimTask": WORK,
        "HeartbeatTask": WORK,
        "CompleteTask": WORK,
        "FailTask": WORK,
        "ListWorkers": READ,
        "GetWorker": READ,
    }

    def __init__(self, *, leader: LeaderPort, reader: Reader, work: ServeWork, claim_ttl: Span, clock: Clock) -> None:
        """Take who serves the Work stream, and how long a claim lasts without a heartbeat."""
        self.Work = work
        self._leader = leader
        self._reader = reader
        self._claim_ttl = claim_ttl
        self._wishes = Wishes(leader, clock)

    # ---- executors

    async def ClaimTask(self, request: worker_pb2.ClaimTaskRequest, call: Call) -> worker_pb2.ClaimTaskResponse:
        """See the contract. The claimer is shown the environment as it is: it is to run the task."""
        reply = await self._wishes.grant(_claim_of(request, call.project))
        if reply is None:
            return worker_pb2.ClaimTaskResponse()
        assert isinstance(reply, Task)
        assert reply.lease is not None
        attempts = await self._earlier_attempts(reply) if reply.attempt > 1 else []
        task = messages.whole_task_message(messages.task_row(reply), attempts, None, masked=False)
        response = worker_pb2.ClaimTaskResponse(task=task, token=reply.lease.token)
        response.lease_ttl.FromMicroseconds(self._claim_ttl)
        return response

    async def _earlier_attempts(self, task: Task) -> Sequence[AttemptRow]:
        """Read the attempts before this one; none if that fails: the task is the claimer's, who must be told in any case."""
        try:
            async with asyncio.timeout(ATTEMPTS_WITHIN_S):
                return await reads.list_attempts(self._reader, task.id)
        except (StoreError, TimeoutError) as error:
            log.warning("api.attempts_left_out", reason=repr(error))
            return []

    async def HeartbeatTask(self, request: worker_pb2.HeartbeatTaskRequest, call: Call) -> worker_pb2.HeartbeatTaskResponse:
        """See the contract."""
        task_id, executor_id = task_id_of(request.task_id), _executor_of(request.executor_id)
        command = commands.RenewClaim(call.project, executor_id, task_id, _token_of(request))
        await self._claimed(command, call.project, task_id)
        return worker_pb2.HeartbeatTaskResponse()

    async def CompleteTask(self, request: worker_pb2.CompleteTaskRequest, call: Call) -> worker_pb2.CompleteTaskResponse:
        """See the contract."""
        task = await self._end(request, call.project, Outcome.SUCCEEDED, "")
        return worker_pb2.CompleteTaskResponse(task=messages.task_message(messages.task_row(task)))

    async def FailTask(self, request: worker_pb2.FailTaskRequest, call: Call) -> worker_pb2.FailTaskResponse:
        """See the contract."""
        violations = Violations()
        check_text("error", request.error, ERROR_BYTES_MAX, violations)
        violations.raise_if_any()
        task = await self._end(request, call.project, Outcome.FAILED, request.error)
        return worker_pb2.FailTaskResponse(task=messages.task_message(messages.task_row(task)))

    async def _end(
        self,
        request: worker_pb2.CompleteTaskRequest | worker_pb2.FailTaskRequest,
        project: Project,
        outcome: Outcome,
        error: str,
    ) -> Task:
        task_id = task_id_of(request.task_id)
        command = commands.EndClaim(
            project,
            _executor_of(request.executor_id),
            task_id,
            outcome,
            request.exit_code if request.HasField("exit_code") else None,
            error,
            cut_output(request.output),
            cut_output(request.error_output),
            _token_of(request),
        )
        reply = await self._claimed(command, project, task_id)
        assert isinstance(reply, Task)
        return reply

    async def _claimed(self, command: commands.RenewClaim | commands.EndClaim, project: Project, task_id: TaskId) -> Reply:
        """Have a wish about a claimed task granted; tells a task that has ended from one that never was."""
        try:
            return await self._wishes.grant(command)
        except FoliotError as error:
            if error.reason is not ErrorReason.NOT_FOUND:
                raise
            row = await reads.get_task(self._reader, project, task_id)
            if row is None:
                raise not_found("task") from None
            message = f"the task is not running: it is {row.state}"
            raise FoliotError(ErrorReason.WRONG_STATE, message, metadata={"state": row.state}) from None

    # ---- logs

    async def PushLogs(self, requests: AsyncIterator[worker_pb2.PushLogsRequest], call: Call) -> worker_pb2.PushLogsResponse:
        """See the contract."""
        project = None if call.caller.any_project else call.project
        stored = 0
        async for request in requests:
            stored += await logs.insert_logs(self._reader, log_lines(request), project)
        return worker_pb2.PushLogsResponse(stored=stored)

    # ---- workers

    async def ListWorkers(self, request: worker_pb2.ListWorkersRequest, call: Call) -> worker_pb2.ListWorkersResponse:
        """See the contract."""
        standing = enum_of("state", request.state, _STANDINGS)
        rows, total = await reads.list_workers(
            self._reader,
            call.project,
            offline=standing.offline,
            busy=standing.busy,
            executors_only=request.executors_only,
            limit=page_size_of(request.page_size),
            offset=offset_of(request.offset, most=WORKER_OFFSET_MAX),
        )
        if not request.with_tasks:
            return worker_pb2.ListWorkersResponse(workers=[messages.worker_message(row) for row in rows], total=total)
        holders = [(row.project, row.id) for row in rows if not row.offline]
        held = await reads.held_tasks(self._reader, call.project, holders)
        workers = [messages.worker_message(row, held.get((row.project, row.id), ())) for row in rows]
        return worker_pb2.ListWorkersResponse(workers=workers, total=total)

    async def GetWorker(self, request: worker_pb2.GetWorkerRequest, call: Call) -> worker_pb2.GetWorkerResponse:
        """See the contract."""
        worker_id = WorkerId(required_text("worker_id", request.worker_id, WORKER_ID_BYTES_MAX))
        row = await reads.get_worker(self._reader, call.project, worker_id)
        if row is None:
            raise not_found("worker")
        held = await reads.held_tasks(self._reader, call.project, [(row.project, row.id)])
        return worker_pb2.GetWorkerResponse(worker=messages.worker_message(row, held.get((row.project, row.id), ())))


def _token_of(
    request: worker_pb2.HeartbeatTaskRequest | worker_pb2.CompleteTaskRequest | worker_pb2.FailTaskRequest,
) -> Token | None:
    return Token(request.token) if request.token else None


def _executor_of(text: str) -> WorkerId:
    return WorkerId(required_text("executor_id", text, WORKER_ID_BYTES_MAX))


def _claim_of(request: worker_pb2.ClaimTaskRequest, project: Project) -> commands.ClaimTask:
    violations = Violations()
    check_text("executor_id", request.executor_id, WORKER_ID_BYTES_MAX, violations, required=True)
    check_text("executor_address", request.executor_address, ADDRESS_BYTES_MAX, violations)
    check_count("queues", len(request.queues), QUEUES_MAX, "queues", violations)
    for number, queue in enumerate(request.queues):
        check_text(f"queues[{number}]", queue, QUEUE_BYTES_MAX, violations, required=True)
    for number, kind in enumerate(request.kinds):
        if kind not in _CLAIMABLE:
            violations.add(f"kinds[{number}]", f"must be one of {', '.join(_CLAIMABLE)}", "not_one_of")
    violations.raise_if_any()
    return commands.ClaimTask(
        project,
        WorkerId(request.executor_id),
        request.executor_address,
        frozenset(request.queues or (QUEUE_DEFAULT,)),
        frozenset(_CLAIMABLE[kind] for kind in request.kinds or ("binary",)),
        request.standalone,
    )


def cut_output(output: bytes) -> bytes:
    """Cut an output that is too long; its last line then says so."""
    if len(output) <= OUTPUT_BYTES_MAX:
        return output
    notice = b"\n[cut: %d bytes in all]\n" % len(output)
    return output[: OUTPUT_BYTES_MAX - len(notice)] + notice


def log_lines(request: worker_pb2.PushLogsRequest) -> list[LogLine]:
    """Read the lines of a message. Raises FoliotError naming the fields at fault."""
    violations = Violations()
    check_count("lines", len(request.lines), LINES_MAX, "lines", violations)
    violations.raise_if_any()
    lines = []
    for number, line in enumerate(request.lines):
        _check_line(f"lines[{number}]", line, violations)
        message = line.message.replace("\0", "\ufffd")
        if is_longer(message, LINE_BYTES_MAX):
            message = message.encode()[: LINE_BYTES_MAX - 3].decode(errors="ignore") + "…"
        lines.append(LogLine(TaskId(line.task_id), line.number, Micros(line.at_us), line.attempt, line.level, message))
    violations.raise_if_any()
    return lines


def _check_line(path: str, line: worker_pb2.TaskLogLine, violations: Violations) -> None:
    if len(line.task_id) != ID_BYTES:
        violations.add(f"{path}.task_id", f"must have {ID_BYTES} bytes", "malformed")
    if line.attempt < 1:
        violations.add(f"{path}.attempt", "must be at least 1", "out_of_range")
    if line.number < 1:
        violations.add(f"{path}.number", "must be at least 1", "out_of_range")
    if not 0 <= line.at_us <= _AT_MAX:
        violations.add(f"{path}.at_us", "must be from 1970 to 9999", "out_of_range")
    if line.level not in LEVELS:
        violations.add(f"{path}.level", f"must be one of {', '.join(sorted(LEVELS))}", "not_one_of")
