"""TaskService: tasks on their own, and the tasks of runs one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.telemetry import current_traceparent
from foliot.v1 import task_pb2
from foliot_scheduler.api import messages, task_requests
from foliot_scheduler.api.answers import created_ids, find_repeated
from foliot_scheduler.api.requests import (
    PAGE_SIZE_MAX,
    WITH_TASKS_PAGE_MAX,
    PageTokens,
    bad_page_token,
    check_token_or_offset,
    enum_of,
    offset_of,
    once_of,
    page_size_of,
    task_id_of,
)
from foliot_scheduler.api.watching import watch
from foliot_scheduler.api.wishes import KeyedLocks, Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.access import READ, WRITE, Access
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.transitions import ENDED_TASK_STATES
from foliot_scheduler.core.types import TaskId
from foliot_scheduler.specs.enums import TASK_STATE_NUMBERS
from foliot_scheduler.specs.records import JobPlans, task_from_row
from foliot_scheduler.store import reads
from foliot_scheduler.store.lists import BadPageEndError, TaskSort
from foliot_scheduler.store.outputs import read_outputs
from foliot_scheduler.store.rows import TaskRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import ChangeHints, LeaderPort
    from foliot_scheduler.core.commands import Command, NewTask, Once
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.specs.tasks import TaskPlans
    from foliot_scheduler.store.reads import Reader

LOG_OFFSET_MAX: Final = 2**31 - 1
LEVELS: Final = ("debug", "info", "warn", "error")

LISTED_OUTPUT_BYTES_MAX: Final = 16 * 1024
"""Of each task that is listed with its output: a page of 100 stays far below the largest message, whatever its specs hold."""

_SORTS: Final[dict[int, TaskSort]] = {
    task_pb2.TASK_SORT_UNSPECIFIED: TaskSort.CREATED,
    task_pb2.TASK_SORT_CREATED_AT: TaskSort.CREATED,
    task_pb2.TASK_SORT_UPDATED_AT: TaskSort.UPDATED,
    task_pb2.TASK_SORT_PRIORITY: TaskSort.PRIORITY,
    task_pb2.TASK_SORT_NAME: TaskSort.NAME,
    task_pb2.TASK_SORT_STATE: TaskSort.STATE,
}


class TaskService:
    """Serves foliot.v1.TaskService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = task_pb2.DESCRIPTOR.services_by_name["TaskService"]
    WRITES: ClassVar[frozenset[str]] = frozenset(
        {"SubmitTask", "SubmitTasks", "UpdateTask", "DeleteTask", "CancelTask", "CancelTasks", "RetryTask", "SaveCheckpoint"}
    )
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "SubmitTask": WRITE,
        "SubmitTasks": WRITE,
        "UpdateTask": WRITE,
        "DeleteTask": WRITE,
        "CancelTask": WRITE,
        "CancelTasks": WRITE,
        "RetryTask": WRITE,
        "SaveCheckpoint": WRITE,
        "GetTask": READ,
        "CountTasks": READ,
        "ListTasks": READ,
        "ListTaskLogs": READ,
        "WatchTask": READ,
    }

    def __init__(self, *, leader: LeaderPort, reader: Reader, plans: TaskPlans, hints: ChangeHints, clock: Clock) -> None:
        self._leader = leader
        self._reader = reader
        self._plans = plans
        self._job_plans = JobPlans()
        self._hints = hints
        self._clock = clock
        self._wishes = Wishes(leader, clock)
        self._updating = KeyedLocks()

    # ---- creating

    async def SubmitTask(self, request: task_pb2.SubmitTaskRequest, call: Call) -> task_pb2.SubmitTaskResponse:
        """See the contract."""
        reply = await self._submit(call.project, [task_requests.new_task(request, self._plans)], once_of(request, call))
        return task_pb2.SubmitTaskResponse(task=await self._answer(call.project, reply))

    async def SubmitTasks(self, request: task_pb2.SubmitTasksRequest, call: Call) -> task_pb2.SubmitTasksResponse:
        """See the contract."""
        new = task_requests.new_tasks(request.tasks, self._plans)
        reply = await self._submit(call.project, new, once_of(request, call))
        match reply:
            case Repeated():
                ids = [TaskId(task_id) for task_id in created_ids(reply)]
            case Task():
                ids = [reply.id]
            case _:
                assert isinstance(reply, list)
                ids = reply
        return task_pb2.SubmitTasksResponse(task_ids=messages.id_texts(ids))

    async def _submit(self, project: Project, new: list[NewTask], once: Once | None) -> Reply:
        repeated = await find_repeated(self._reader, project, once)
        if repeated is not None:
            return repeated
        traceparent = current_traceparent()
        return await self._after(
            project,
            {dependency for task in new for dependency in task.depends_on},
            lambda ended: self._wishes.grant(commands.SubmitTasks(project, new, once, traceparent, ended)),
        )

    async def _after(
        self,
        project: Project,
        dependencies: Collection[TaskId],
        grant: Callable[[dict[TaskId, TaskState]], Awaitable[Reply]],
    ) -> Reply:
        """Have a wish granted for a task that waits for others; `grant` is told how those ended that are not live."""
        return await self._wishes.after_tasks(
            dependencies, lambda task_ids: reads.task_states(self._reader, project, task_ids), grant
        )

    # ---- reading

    async def GetTask(self, request: task_pb2.GetTaskRequest, call: Call) -> task_pb2.GetTaskResponse:
        """See the contract."""
        row = await self._row(call.project, task_id_of(request.task_id))
        attempts = await reads.list_attempts(self._reader, row.id)
        dependencies = await self._dependencies(row)
        return task_pb2.GetTaskResponse(task=messages.whole_task_message(row, attempts, dependencies))

    async def ListTasks(self, request: task_pb2.ListTasksRequest, call: Call) -> task_pb2.ListTasksResponse:
        """See the contract."""
        wanted = task_requests.task_filter(request.filter)
        sort = enum_of("sort", request.sort, _SORTS)
        page_size = page_size_of(request.page_size, most=WITH_TASKS_PAGE_MAX if request.with_outputs else PAGE_SIZE_MAX)
        check_token_or_offset(request)
        tokens = PageTokens(request)
        try:
            page = await reads.list_tasks(
                self._reader,
                call.project,
                wanted,
                sort=sort,
                ascending=request.ascending,
                limit=page_size,
                end=tokens.read(request.page_token),
                offset=offset_of(request.offset),
                with_total=request.with_total,
            )
        except BadPageEndError:
            raise bad_page_token() from None
        found = [messages.task_message(row) for row in page.rows]
        if request.with_outputs:
            ended = [row.id for row in page.rows if row.state in ENDED_TASK_STATES]
            outputs = await read_outputs(self._reader, ended, bytes_max=LISTED_OUTPUT_BYTES_MAX)
            for row, message in zip(page.rows, found, strict=True):
                message.output = outputs.get(row.id, b"")
        return task_pb2.ListTasksResponse(
            tasks=found,
            next_page_token=tokens.write(page.end),
            total=page.total or 0,
        )

    async def CountTasks(self, request: task_pb2.CountTasksRequest, call: Call) -> task_pb2.CountTasksResponse:
        """See the contract."""
        counts = await reads.count_tasks(self._reader, call.project, task_requests.task_filter(request.filter))
        return task_pb2.CountTasksResponse(
            counts=[
                task_pb2.StatePriorityCount(state=TASK_STATE_NUMBERS[state], priority=priority, count=count)
                for (state, priority), count in counts.items()
            ]
        )

    async def ListTaskLogs(self, request: task_pb2.ListTaskLogsRequest, call: Call) -> task_pb2.ListTaskLogsResponse:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        limit = page_size_of(request.page_size)
        offset = offset_of(request.offset, most=LOG_OFFSET_MAX)
        if request.level and request.level not in LEVELS:
            raise FoliotError.invalid("level", f"must be one of {', '.join(LEVELS)}", rule="not_one_of")
        await self._row(call.project, task_id)
        rows, total = await reads.list_logs(self._reader, task_id, level=request.level or None, limit=limit, offset=offset)
        return task_pb2.ListTaskLogsResponse(lines=[messages.log_line(row) for row in rows], total=total)

    async def WatchTask(self, request: task_pb2.WatchTaskRequest, call: Call) -> AsyncIterator[task_pb2.WatchTaskResponse]:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        dependencies = await self._dependencies(await self._row(call.project, task_id))

        async def look() -> tuple[task_pb2.WatchTaskResponse, bool]:
            row = await self._row(call.project, task_id)
            message = messages.task_message(row, dependencies=dependencies)
            return task_pb2.WatchTaskResponse(task=message), row.state in ENDED_TASK_STATES

        async for response in watch(look, task_id, self._hints, self._clock):
            yield response

    async def _row(self, project: Project, task_id: TaskId) -> TaskRow:
        row = await reads.get_task(self._reader, project, task_id)
        if row is None:
            raise not_found("task")
        return row

    async def _dependencies(self, row: TaskRow) -> Sequence[TaskId] | None:
        """The ids of the tasks that a task of a run waits for, which its job says; None for a task on its own."""
        if row.run_id is None or row.job_id is None:
            return None
        run = await reads.get_run(self._reader, row.project, row.run_id)
        if run is None:
            return None
        spec = await reads.get_job_version(self._reader, row.job_id, run.job_version)
        if spec is None:
            return None
        parents = self._job_plans.restore(row.job_id, run.job_version, spec).graph.parents[row.position]
        if not parents:
            return ()
        ids = [task.id for task in await reads.list_run_tasks(self._reader, row.run_id)]
        return [ids[position] for position in parents]

    # ---- changing

    async def UpdateTask(self, request: task_pb2.UpdateTaskRequest, call: Call) -> task_pb2.UpdateTaskResponse:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        # Two updates of other fields must both count: the second is merged into what the first has left.
        async with self._updating.hold(task_id):
            row = await self._row(call.project, task_id)
            change = task_requests.task_change(request, row.spec, self._plans, in_run=row.run_id is not None)
            reply = await self._after(
                call.project,
                change.depends_on or (),
                lambda ended: self._about(
                    call.project,
                    task_id,
                    lambda record: commands.UpdateTask(call.project, task_id, change, ended, record),
                ),
            )
        return task_pb2.UpdateTaskResponse(task=await self._answer(call.project, reply))

    async def DeleteTask(self, request: task_pb2.DeleteTaskRequest, call: Call) -> task_pb2.DeleteTaskResponse:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        await self._about(call.project, task_id, lambda record: commands.DeleteTask(call.project, task_id, record))
        return task_pb2.DeleteTaskResponse()

    async def CancelTask(self, request: task_pb2.CancelTaskRequest, call: Call) -> task_pb2.CancelTaskResponse:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        reply = await self._cancel(call.project, task_id, only_waiting=request.only_waiting)
        return task_pb2.CancelTaskResponse(task=await self._answer(call.project, reply))

    async def CancelTasks(self, request: task_pb2.CancelTasksRequest, call: Call) -> task_pb2.CancelTasksResponse:
        """See the contract. Those that are live go to the leader together, and so into one commit."""
        ids = task_requests.ids_to_cancel(request)
        not_live = [task_id for task_id in ids if not self._leader.knows_task(task_id)]
        states = await reads.task_states(self._reader, call.project, not_live) if not_live else {}

        async def refusal(task_id: TaskId) -> FoliotError | None:
            """Cancel one and return why it was not."""
            state = states.get(task_id)
            if state in ENDED_TASK_STATES and not self._leader.knows_task(task_id):
                return FoliotError(ErrorReason.WRONG_STATE, f"the task has ended: {state}")
            try:
                await self._cancel(call.project, task_id, only_waiting=request.only_waiting)
            except FoliotError as error:
                if error.reason not in {ErrorReason.NOT_FOUND, ErrorReason.WRONG_STATE}:
                    raise
                return error
            return None

        refusals = await asyncio.gather(*(refusal(task_id) for task_id in ids))
        return task_pb2.CancelTasksResponse(
            refusals=[
                task_pb2.CancelRefusal(task_id=text, reason=error.reason.name, message=error.message)
                for text, error in zip(request.task_ids, refusals, strict=True)
                if error is not None
            ]
        )

    async def _cancel(self, project: Project, task_id: TaskId, *, only_waiting: bool) -> Reply:
        return await self._about(project, task_id, lambda record: commands.CancelTask(project, task_id, record, only_waiting))

    async def RetryTask(self, request: task_pb2.RetryTaskRequest, call: Call) -> task_pb2.RetryTaskResponse:
        """See the contract."""
        task_id, once = task_id_of(request.task_id), once_of(request, call)
        reply: Reply = await find_repeated(self._reader, call.project, once)
        if reply is None:
            reply = await self._about(
                call.project, task_id, lambda record: commands.RetryTask(call.project, task_id, once, record)
            )
        return task_pb2.RetryTaskResponse(task=await self._answer(call.project, reply))

    async def SaveCheckpoint(self, request: task_pb2.SaveCheckpointRequest, call: Call) -> task_pb2.SaveCheckpointResponse:
        """See the contract."""
        task_id = task_id_of(request.task_id)
        task_requests.check_checkpoint(request)
        command = commands.SaveCheckpoint(call.project, task_id, request.checkpoint_json, request.attempt)
        try:
            reply = await self._wishes.grant(command)
        except FoliotError as error:
            if error.reason is not ErrorReason.NOT_FOUND:
                raise
            # The leader knows live tasks only: one that has ended is there, in the wrong state.
            row = await self._row(call.project, task_id)
            raise FoliotError(
                ErrorReason.WRONG_STATE,
                f"only a running task saves checkpoints; the task is {row.state}",
                metadata={"state": row.state},
            ) from None
        return task_pb2.SaveCheckpointResponse(task=await self._answer(call.project, reply))

    async def _about(self, project: Project, task_id: TaskId, command: Callable[[Task | None], Command]) -> Reply:
        async def read() -> Task | None:
            row = await reads.get_task(self._reader, project, task_id)
            return None if row is None else task_from_row(row, self._plans)

        return await self._wishes.about_task(task_id, read, command)

    async def _answer(self, project: Project, reply: Reply) -> task_pb2.Task:
        """Show the task of a reply: as the leader has it, or as it stands now if the request was made before."""
        if isinstance(reply, Repeated):
            return messages.task_message(await self._row(project, TaskId(created_ids(reply)[0])))
        assert isinstance(reply, Task)
        return messages.task_message(messages.task_row(reply))
