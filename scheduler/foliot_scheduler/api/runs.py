"""RunService: executions of jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import run_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.api.requests import (
    PageTokens,
    bad_page_token,
    check_token_or_offset,
    enums_of,
    job_id_of,
    offset_of,
    page_size_of,
    run_id_of,
)
from foliot_scheduler.api.watching import watch
from foliot_scheduler.api.wishes import Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.transitions import ENDED_RUN_STATES
from foliot_scheduler.specs.enums import RUN_STATES
from foliot_scheduler.store import reads
from foliot_scheduler.store.lists import BadPageEndError

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import ChangeHints, LeaderPort
    from foliot_scheduler.core.types import Project, RunId
    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import RunRow


class RunService:
    """Serves foliot.v1.RunService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = run_pb2.DESCRIPTOR.services_by_name["RunService"]
    WRITES: ClassVar[frozenset[str]] = frozenset({"CancelRun"})

    def __init__(self, *, leader: LeaderPort, reader: Reader, hints: ChangeHints, clock: Clock) -> None:
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
                limit=page_size_of(request.page_size),
                end=tokens.read(request.page_token),
                offset=offset_of(request.offset),
                with_total=request.with_total,
            )
        except BadPageEndError:
            raise bad_page_token() from None
        return run_pb2.ListRunsResponse(
            runs=[messages.run_message(row) for row in page.rows],
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

    async def WatchRun(self, request: run_pb2.WatchRunRequest, call: Call) -> AsyncIterator[run_pb2.WatchRunResponse]:
        """See the contract."""
        run_id = run_id_of(request.run_id)

        async def look() -> tuple[run_pb2.WatchRunResponse, bool]:
            row = await self._row(call.project, run_id)
            return run_pb2.WatchRunResponse(run=await self._whole(row)), row.state in ENDED_RUN_STATES

        async for response in watch(look, run_id, self._hints, self._clock):
            yield response

    async def _row(self, project: Project, run_id: RunId) -> RunRow:
        row = await reads.get_run(self._reader, project, run_id)
        if row is None:
            raise not_found("run")
        return row

    async def _whole(self, row: RunRow) -> run_pb2.Run:
        return messages.run_message(row, await reads.list_run_tasks(self._reader, row.id))
