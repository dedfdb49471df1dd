"""JobService: jobs, their versions, and the single tasks inside of them.

Every change of a job is a new version made from one that was read: the leader refuses it if the job has another by then, and
for a caller who named no version the change is made again from what the job has become.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.telemetry import current_traceparent
from foliot.v1 import job_pb2
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api import messages
from foliot_scheduler.api.answers import find_repeated
from foliot_scheduler.api.job_records import job_record, planned, restored
from foliot_scheduler.api.previews import preview
from foliot_scheduler.api.requests import (
    PAGE_SIZE_MAX,
    WITH_TASKS_PAGE_MAX,
    PageTokens,
    bad_page_token,
    check_token_or_offset,
    enum_of,
    filter_text,
    job_id_of,
    offset_of,
    once_of,
    page_size_of,
)
from foliot_scheduler.api.wishes import KeyedLocks, Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.access import READ, WRITE, Access
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.model import Job, JobState, Run
from foliot_scheduler.core.types import JobId, RunId
from foliot_scheduler.specs import job_changes
from foliot_scheduler.specs.enums import JOB_SHAPES, JOB_STATES
from foliot_scheduler.specs.jobs import KEY_BYTES_MAX
from foliot_scheduler.specs.records import JobPlans
from foliot_scheduler.specs.rules import Violations, check_text
from foliot_scheduler.store import reads
from foliot_scheduler.store.fires import list_fires, schedule_of
from foliot_scheduler.store.job_specs import read_specs
from foliot_scheduler.store.lists import BadPageEndError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import LeaderPort
    from foliot_scheduler.core.commands import Command, Once
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import JobRow

UPDATE_TRIES_MAX: Final = 5
"""How often a change is made anew because the job changed meanwhile; that many in a row are a quarrel between callers."""

SPECS_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of the specs of a page with tasks: half of the largest message."""

_SETTABLE_STATES: Final[dict[int, JobState]] = {
    job_pb2.JOB_STATE_ACTIVE: JobState.ACTIVE,
    job_pb2.JOB_STATE_PAUSED: JobState.PAUSED,
}
"""What UpdateJob may make of a job."""

_EXHAUSTED: Final[dict[int, bool]] = {
    job_pb2.SCHEDULE_PROGRESS_PENDING: False,
    job_pb2.SCHEDULE_PROGRESS_EXHAUSTED: True,
}
"""Whether the schedules of a list have no due time left."""


class JobService:
    """Serves foliot.v1.JobService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = job_pb2.DESCRIPTOR.services_by_name["JobService"]
    WRITES: ClassVar[frozenset[str]] = frozenset(DESCRIPTOR.methods_by_name) - {
        "GetJob",
        "ListJobs",
        "PreviewSchedule",
        "ListFires",
    }
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "CreateJob": WRITE,
        "UpdateJob": WRITE,
        "AddJobTask": WRITE,
        "UpdateJobTask": WRITE,
        "DeleteJobTask": WRITE,
        "PauseJob": WRITE,
        "ResumeJob": WRITE,
        "DeleteJob": WRITE,
        "TriggerJob": WRITE,
        "GetJob": READ,
        "ListJobs": READ,
        "PreviewSchedule": READ,
        "ListFires": READ,
    }

    def __init__(self, *, leader: LeaderPort, reader: Reader, clock: Clock) -> None:
        self._leader = leader
        self._reader = reader
        self._clock = clock
        self._plans = JobPlans()
        self._wishes = Wishes(leader, clock)
        self._changing = KeyedLocks()

    # ---- creating and reading

    async def CreateJob(self, request: job_pb2.CreateJobRequest, call: Call) -> job_pb2.CreateJobResponse:
        """See the contract."""
        if not request.HasField("spec"):
            raise FoliotError.invalid("spec", "is required", rule="required")
        once = once_of(request, call)
        plan = await planned(request.spec)
        reply: Reply = await find_repeated(self._reader, call.project, once)
        if reply is None:
            reply = await self._wishes.grant(commands.CreateJob(call.project, plan, request.paused, once))
        if isinstance(reply, Repeated):
            row = await self._row(call.project, JobId(reply.ids))
            return job_pb2.CreateJobResponse(job=messages.job_message(row))
        return job_pb2.CreateJobResponse(job=_shown(reply))

    async def GetJob(self, request: job_pb2.GetJobRequest, call: Call) -> job_pb2.GetJobResponse:
        """See the contract."""
        row = await self._row(call.project, job_id_of(request.job_id))
        graph = (await restored(row, self._plans)).graph
        return job_pb2.GetJobResponse(job=messages.job_message(row, graph=graph))

    async def ListJobs(self, request: job_pb2.ListJobsRequest, call: Call) -> job_pb2.ListJobsResponse:
        """See the contract."""
        state = enum_of("state", request.state, JOB_STATES) if request.state else None
        shape = enum_of("shape", request.shape, JOB_SHAPES) if request.shape else None
        exhausted = enum_of("progress", request.progress, _EXHAUSTED) if request.progress else None
        check_token_or_offset(request)
        tokens = PageTokens(request)
        try:
            page = await reads.list_jobs(
                self._reader,
                call.project,
                state=state,
                name=filter_text("name", request.name),
                tag=filter_text("tag", request.tag),
                surface=filter_text("surface", request.surface),
                shape=shape,
                exhausted=exhausted,
                limit=page_size_of(request.page_size, most=WITH_TASKS_PAGE_MAX if request.with_tasks else PAGE_SIZE_MAX),
                end=tokens.read(request.page_token),
                offset=offset_of(request.offset),
                with_total=request.with_total,
            )
        except BadPageEndError:
            raise bad_page_token() from None
        found = page.rows
        if request.with_tasks:
            found = await read_specs(self._reader, found, bytes_max=SPECS_BYTES_MAX)
        return job_pb2.ListJobsResponse(
            jobs=[messages.job_message(row, with_tasks=request.with_tasks) for row in found],
            next_page_token=tokens.write(page.end),
            total=page.total or 0,
        )

    async def _row(self, project: Project, job_id: JobId) -> JobRow:
        row = await reads.get_job(self._reader, project, job_id)
        if row is None:
            raise not_found("job")
        return row

    # ---- due times

    async def PreviewSchedule(self, request: job_pb2.PreviewScheduleRequest, call: Call) -> job_pb2.PreviewScheduleResponse:
        """See the contract."""
        return await preview(request, call.project, self._reader, self._clock)

    async def ListFires(self, request: job_pb2.ListFiresRequest, call: Call) -> job_pb2.ListFiresResponse:
        """See the contract."""
        job_id = job_id_of(request.job_id)
        tokens = PageTokens(request)
        limit, end = page_size_of(request.page_size), tokens.read(request.page_token)
        if await schedule_of(self._reader, call.project, job_id) is None:
            raise not_found("job")
        try:
            page = await list_fires(self._reader, job_id, skipped_only=request.skipped_only, limit=limit, end=end)
        except BadPageEndError:
            raise bad_page_token() from None
        return job_pb2.ListFiresResponse(
            fires=[messages.fire_message(row) for row in page.rows], next_page_token=tokens.write(page.end)
        )

    # ---- changing

    async def UpdateJob(self, request: job_pb2.UpdateJobRequest, call: Call) -> job_pb2.UpdateJobResponse:
        """See the contract."""
        if request.version < 0:
            raise FoliotError.invalid("version", "must be at least 1, or 0 for any", rule="out_of_range")
        state = enum_of("state", request.state, _SETTABLE_STATES) if request.state else None

        def change(stored: job_pb2.JobSpec) -> job_pb2.JobSpec | None:
            if state is not None and not request.update_fields:
                return None
            return job_changes.merge_job(stored, request.spec, request.update_fields)

        job = await self._change(call.project, job_id_of(request.job_id), change, version=request.version, state=state)
        return job_pb2.UpdateJobResponse(job=_shown(job))

    async def AddJobTask(self, request: job_pb2.AddJobTaskRequest, call: Call) -> job_pb2.AddJobTaskResponse:
        """See the contract."""
        _require_task(given=request.HasField("task"))
        job_id = job_id_of(request.job_id)
        once = once_of(request, call)
        reply: Reply = await find_repeated(self._reader, call.project, once)
        if reply is None:
            reply = await self._change(call.project, job_id, lambda stored: job_changes.add_task(stored, request.task), once=once)
        if isinstance(reply, Repeated):
            return job_pb2.AddJobTaskResponse(job=messages.job_message(await self._row(call.project, job_id)))
        return job_pb2.AddJobTaskResponse(job=_shown(reply))

    async def UpdateJobTask(self, request: job_pb2.UpdateJobTaskRequest, call: Call) -> job_pb2.UpdateJobTaskResponse:
        """See the contract."""
        _require_task(given=request.HasField("task"))
        job_id = job_id_of(request.job_id)
        job = await self._change(call.project, job_id, lambda stored: job_changes.replace_task(stored, request.task))
        return job_pb2.UpdateJobTaskResponse(job=_shown(job))

    async def DeleteJobTask(self, request: job_pb2.DeleteJobTaskRequest, call: Call) -> job_pb2.DeleteJobTaskResponse:
        """See the contract."""
        job_id = job_id_of(request.job_id)
        violations = Violations()
        check_text("key", request.key, KEY_BYTES_MAX, violations, required=True)
        violations.raise_if_any()
        job = await self._change(call.project, job_id, lambda stored: job_changes.delete_task(stored, request.key))
        return job_pb2.DeleteJobTaskResponse(job=_shown(job))

    async def _change(
        self,
        project: Project,
        job_id: JobId,
        change: Callable[[job_pb2.JobSpec], job_pb2.JobSpec | None],
        *,
        version: int = 0,
        once: Once | None = None,
        state: JobState | None = None,
    ) -> Reply:
        """Make a new version of a job, and reply with it; from `version`, or from whichever it has if that is 0.

        `change` gives the new spec, or None if that stays as it is.
        """
        # One after the other, or all but one of those that change it at once would have to begin again. Only a change that says
        # which version it is of, or the job's end, still comes in between.
        async with self._changing.hold(job_id):
            for attempt in range(1, UPDATE_TRIES_MAX + 1):
                epoch = self._leader.epoch
                row = await self._row(project, job_id)
                if row.state is JobState.DELETED:
                    raise not_found("job")
                if version and version != row.version:
                    raise _version_conflict(row.version)
                spec = change(job_pb2.JobSpec.FromString(row.spec))
                plan = None if spec is None else await planned(spec)
                record = None if self._leader.knows_job(job_id) else await job_record(row, self._plans)
                if self._leader.epoch != epoch:
                    raise no_leader()  # what was read in an earlier term of this replica may have changed in another's since
                try:
                    reply = await self._wishes.grant(commands.UpdateJob(project, job_id, plan, row.version, record, once, state))
                except FoliotError as error:
                    if error.reason is not ErrorReason.VERSION_CONFLICT or version or attempt == UPDATE_TRIES_MAX:
                        raise
                else:
                    return reply
            raise AssertionError("the last try returns or raises")

    async def PauseJob(self, request: job_pb2.PauseJobRequest, call: Call) -> job_pb2.PauseJobResponse:
        """See the contract."""
        return job_pb2.PauseJobResponse(job=_shown(await self._set_state(request.job_id, call.project, "pause")))

    async def ResumeJob(self, request: job_pb2.ResumeJobRequest, call: Call) -> job_pb2.ResumeJobResponse:
        """See the contract."""
        return job_pb2.ResumeJobResponse(job=_shown(await self._set_state(request.job_id, call.project, "resume")))

    async def DeleteJob(self, request: job_pb2.DeleteJobRequest, call: Call) -> job_pb2.DeleteJobResponse:
        """See the contract."""
        await self._set_state(request.job_id, call.project, "delete")
        return job_pb2.DeleteJobResponse()

    async def _set_state(self, job_id_text: str, project: Project, action: str) -> Reply:
        job_id = job_id_of(job_id_text)
        return await self._about(project, job_id, lambda record: commands.SetJobState(project, job_id, action, record))

    async def TriggerJob(self, request: job_pb2.TriggerJobRequest, call: Call) -> job_pb2.TriggerJobResponse:
        """See the contract."""
        job_id, once = job_id_of(request.job_id), once_of(request, call)
        reply: Reply = await find_repeated(self._reader, call.project, once)
        if reply is None:
            traceparent, obeys = current_traceparent(), request.obeys_concurrency_policy
            reply = await self._about(
                call.project,
                job_id,
                lambda record: commands.TriggerJob(call.project, job_id, once, traceparent, record, obeys),
            )
        if isinstance(reply, Repeated):
            run_id = RunId(reply.ids)
        else:
            assert isinstance(reply, Run)
            run_id = reply.id
        # Read back, for the leader's answer does not say how many of its tasks are where.
        row = await reads.get_run(self._reader, call.project, run_id)
        if row is None:
            raise not_found("run")
        return job_pb2.TriggerJobResponse(run=messages.run_message(row))

    async def _about(self, project: Project, job_id: JobId, command: Callable[[Job | None], Command]) -> Reply:
        async def read() -> Job | None:
            row = await reads.get_job(self._reader, project, job_id)
            return None if row is None else await job_record(row, self._plans)

        return await self._wishes.about_job(job_id, read, command)


def _shown(reply: Reply) -> job_pb2.Job:
    assert isinstance(reply, Job)
    return messages.job_message(messages.job_row(reply))


def _require_task(*, given: bool) -> None:
    if not given:
        raise FoliotError.invalid("task", "is required", rule="required")


def _version_conflict(current: int) -> FoliotError:
    message = f"the job has version {current}"
    return FoliotError(ErrorReason.VERSION_CONFLICT, message, metadata={"version": str(current)})
