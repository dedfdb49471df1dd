"""RunService: executions of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.telemetry import current_traceparent
from foliot.v1 import run_pb2
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api import messages
from foliot_scheduler.api.answers import find_repeated
from foliot_scheduler.api.errors import refused
from foliot_scheduler.api.job_records import job_record
from foliot_scheduler.api.requests import (
    PAGE_SIZE_MAX,
    WITH_TASKS_PAGE_MAX,
    PageTokens,
    bad_page_token,
    check_token_or_offset,
    enums_of,
    job_id_of,
    offset_of,
    once_of,
    page_size_of,
    run_id_of,
)
from foliot_scheduler.api.watching import watch
from foliot_scheduler.api.wishes import Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.access import READ, WRITE, Access
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.model import Run
from foliot_scheduler.core.redrives import already_redriven
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import ENDED_RUN_STATES, RunState
from foliot_scheduler.core.types import RunId
from foliot_scheduler.specs.enums import RUN_STATES
from foliot_scheduler.specs.records import JobPlans
from foliot_scheduler.store import reads
from foliot_scheduler.store.lists import BadPageEndError
from foliot_scheduler.store.run_tasks import tasks_of_runs

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import ChangeHints, LeaderPort
    from foliot_scheduler.core.commands import Once
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import RunRow


class RunService:
    """Serves foliot.v1.RunService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = run_pb2.DESCRIPTOR.services_by_name["RunService"]
    WRITES: ClassVar[frozenset[str]] = frozenset({"CancelRun", "RedriveRun"})
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "CancelRun": WRITE,
        "RedriveRun": WRITE,
        "GetRun": READ,
        "ListRuns": READ,
        "WatchRun": READ,
        "ListDeadLetters": READ,
    }

    def __init__(self, *, leader: LeaderPort, reader: Reader, hints: ChangeHints, clock: Clock) -> None:
        self._leader = leader
        self._reader = reader
        self._hints = hints
        self._clock = clock
        self._wishes = Wishes(leader, clock)

    async def GetRun(self, request: run_pb2.GetRunRequest, call: Call) -> run_pb2.GetRunResponse:
        """See the contract."""
        row = await self._row(call.project, run_id_of(request.run_id))
        return run_pb2.GetRunResponse(run=await self._whole(row))

    async def ListRuns(self, request: run_pb2.ListRunsRequest, call: Call) -> run_pb2.ListRunsResponse:
        """See the contract."""
        check_token_or_offset(request)
        tokens = PageTokens(request)
        try:
            page = await reads.list_runs(
                self._reader,
                call.project,
                job_id=job_id_of(request.job_id) if request.job_id else None,
                states=enums_of("states", request.states, RUN_STATES),
                limit=page_size_of(request.page_size, most=WITH_TASKS_PAGE_MAX if request.with_tasks else PAGE_SIZE_MAX),
                end=tokens.read(request.page_token),
                offset=offset_of(request.offset),
                with_total=request.with_total,
            )
        except BadPageEndError:
            raise bad_page_token() from None
        return run_pb2.ListRunsResponse(
            runs=await self._listed(page.rows, with_tasks=request.with_tasks),
            next_page_token=tokens.write(page.end),
            total=page.total or 0,
        )

    async def CancelRun(self, request: run_pb2.CancelRunRequest, call: Call) -> run_pb2.CancelRunResponse:
        """See the contract."""
        run_id = run_id_of(request.run_id)
        try:
            await self._wishes.grant(commands.CancelRun(call.project, run_id))
        except FoliotError as error:
            if error.reason is not ErrorReason.NOT_FOUND:
                raise
            # The leader knows live runs only: one that has ended is there, in the wrong state.
            row = await self._row(call.project, run_id)
            raise FoliotError(ErrorReason.WRONG_STATE, f"the run has ended: {row.state}", metadata={"state": row.state}) from None
        # Read back, for the leader's answer does not say how many of its tasks are where.
        return run_pb2.CancelRunResponse(run=messages.run_message(await self._row(call.project, run_id)))

    async def ListDeadLetters(self, request: run_pb2.ListDeadLettersRequest, call: Call) -> run_pb2.ListDeadLettersResponse:
        """See the contract."""
        tokens = PageTokens(request)
        try:
            page = await reads.list_dead_letters(
                self._reader,
                call.project,
                job_id=job_id_of(request.job_id) if request.job_id else None,
                shape=JobShape.SCHEDULED_HTTP if request.http_only else None,
                limit=page_size_of(request.page_size, most=WITH_TASKS_PAGE_MAX if request.with_tasks else PAGE_SIZE_MAX),
                end=tokens.read(request.page_token),
            )
        except BadPageEndError:
            raise bad_page_token() from None
        return run_pb2.ListDeadLettersResponse(
            runs=await self._listed(page.rows, with_tasks=request.with_tasks), next_page_token=tokens.write(page.end)
        )

    async def RedriveRun(self, request: run_pb2.RedriveRunRequest, call: Call) -> run_pb2.RedriveRunResponse:
        """See the contract."""
        run_id, once = run_id_of(request.run_id), once_of(request, call)
        reply: Reply = await find_repeated(self._reader, call.project, once)
        if reply is None:
            reply = await self._redrive(call.project, run_id, once)
        if isinstance(reply, Repeated):
            started = RunId(reply.ids)
        else:
            assert isinstance(reply, Run)
            started = reply.id
        return run_pb2.RedriveRunResponse(run=messages.run_message(await self._row(call.project, started)))

    async def _redrive(self, project: Project, run_id: RunId, once: Once | None) -> Reply:
        epoch = self._leader.epoch
        row = await self._row(project, run_id)
        if row.state is not RunState.FAILED:
            message = f"only a run that failed can be redriven; this one is {row.state}"
            raise FoliotError(ErrorReason.WRONG_STATE, message, metadata={"state": row.state})
        if row.redriven_by is not None:
            raise refused(already_redriven(row.redriven_by))
        record = None
        if not self._leader.knows_job(row.job_id):
            job = await reads.get_job(self._reader, project, row.job_id)
            # A row that is gone was that of a deleted job: the leader says so.
            record = None if job is None else await job_record(job, JobPlans())
        if self._leader.epoch != epoch:
            raise no_leader()  # what was read in an earlier term of this replica may have changed in another's since
        command = commands.RedriveRun(project, run_id, row.job_id, once, current_traceparent(), record)
        return await self._wishes.grant(command)

    async def WatchRun(self, request: run_pb2.WatchRunRequest, call: Call) -> AsyncIterator[run_pb2.WatchRunResponse]:
        """See the contract."""
        run_id = run_id_of(request.run_id)

        async def look() -> tuple[run_pb2.WatchRunResponse, bool]:
            row = await self._row(call.project, run_id)
            return run_pb2.WatchRunResponse(run=await self._whole(row)), row.state in ENDED_RUN_STATES

        async for response in watch(look, run_id, self._hints, self._clock):
            yield response

    async def _listed(self, found: Sequence[RunRow], *, with_tasks: bool) -> list[run_pb2.Run]:
        tasks = await tasks_of_runs(self._reader, found) if with_tasks else {}
        shown = sum(map(len, tasks.values()))
        return [messages.run_message(row, tasks.get(row.id, ()), tasks_shown=shown) for row in found]

    async def _row(self, project: Project, run_id: RunId) -> RunRow:
        row = await reads.get_run(self._reader, project, run_id)
        if row is None:
            raise not_found("run")
        return row

    async def _whole(self, row: RunRow) -> run_pb2.Run:
        return messages.run_message(row, await reads.list_run_tasks(self._reader, row.id))
