"""JobService: jobs, their versions, and the single tasks inside of them.

Every change of a job is a new version made from one that was read: the leader refuses it if the job has another by then, and
for a caller who named no version the change is made again from what the job has become.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.telemetry import current_traceparent
from foliot.v1 import job_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.api.answers import find_repeated
from foliot_scheduler.api.errors import no_leader
from foliot_scheduler.api.requests import (
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
from foliot_scheduler.api.wishes import Wishes, not_found
from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.model import Job, JobState, Run
from foliot_scheduler.core.types import JobId, RunId
from foliot_scheduler.specs import job_changes
from foliot_scheduler.specs.enums import JOB_STATES
from foliot_scheduler.specs.jobs import KEY_BYTES_MAX, plan_job, restore_job
from foliot_scheduler.specs.records import JobPlans, job_from_row
from foliot_scheduler.specs.rules import Violations, check_text
from foliot_scheduler.store import reads
from foliot_scheduler.store.lists import BadPageEndError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import LeaderPort
    from foliot_scheduler.core.commands import Command, Once
    from foliot_scheduler.core.effects import Reply
    from foliot_scheduler.core.model import JobPlan
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.reads import Reader
    from foliot_scheduler.store.rows import JobRow

UPDATE_TRIES_MAX: Final = 5
"""How often a change is made anew because the job changed meanwhile; that many in a row are a quarrel between callers."""

BIG_JOB_TASKS: Final = 500
"""From how many tasks on a job is planned in a thread: planning takes some 10 µs a task, and must not hold up the event loop."""

BIG_JOB_BYTES: Final = 30 * BIG_JOB_TASKS
"""The same for a spec that is not parsed yet: a task takes some 30 bytes, or more."""


class JobService:
    """Serves foliot.v1.JobService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = job_pb2.DESCRIPTOR.services_by_name["JobService"]
    WRITES: ClassVar[frozenset[str]] = frozenset(DESCRIPTOR.methods_by_name) - {"GetJob", "ListJobs"}

    def __init__(self, *, leader: LeaderPort, reader: Reader, clock: Clock) -> None:
        self._leader = leader
        self._reader = reader
        self._clock = clock
        self._plans = JobPlans()
        self._wishes = Wishes(leader, clock)

    # ---- creating and reading

    async def CreateJob(self, request: job_pb2.CreateJobRequest, call: Call) -> job_pb2.CreateJobResponse:
        """See the contract."""
        if not request.HasField("spec"):
            raise FoliotError.invalid("spec", "is required", rule="required")
        once = once_of(request)
        plan = await _planned(request.spec)
        reply: Reply = await find_repeated(self._reader, self._clock, call.project, once)
        if reply is None:
            reply = await self._wishes.grant(commands.CreateJob(call.project, plan, request.paused, once))
        if isinstance(reply, Repeated):
            row = await self._row(call.project, JobId(reply.ids))
            return job_pb2.CreateJobResponse(job=messages.job_message(row))
        return job_pb2.CreateJobResponse(job=_shown(reply))

    async def GetJob(self, request: job_pb2.GetJobRequest, call: Call) -> job_pb2.GetJobResponse:
        """See the contract."""
        row = await self._row(call.project, job_id_of(request.job_id))
        graph = (await self._restored(row)).graph
        return job_pb2.GetJobResponse(job=messages.job_message(row, graph=graph))

    async def ListJobs(self, request: job_pb2.ListJobsRequest, call: Call) -> job_pb2.ListJobsResponse:
        """See the contract."""
        state = enum_of("state", request.state, JOB_STATES) if request.state else None
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
                limit=page_size_of(request.page_size),
                end=tokens.read(request.page_token),
                offset=offset_of(request.offset),
                with_total=request.with_total,
            )
        except BadPageEndError:
            raise bad_page_token() from None
        return job_pb2.ListJobsResponse(
            jobs=[messages.job_message(row, work=False) for row in page.rows],
            next_page_token=tokens.write(page.end),
            total=page.total or 0,
        )

    async def _row(self, project: Project, job_id: JobId) -> JobRow:
        row = await reads.get_job(self._reader, project, job_id)
        if row is None:
            raise not_found("job")
        return row

    # ---- changing

    async def UpdateJob(self, request: job_pb2.UpdateJobRequest, call: Call) -> job_pb2.UpdateJobResponse:
        """See the contract."""
        if request.version < 0:
            raise FoliotError.invalid("version", "must be at least 1, or 0 for any", rule="out_of_range")
        job = await self._change(
            call.project,
            job_id_of(request.job_id),
            lambda stored: job_changes.merge_job(stored, request.spec, request.update_fields),
            version=request.version,
        )
        return job_pb2.UpdateJobResponse(job=_shown(job))

    async def AddJobTask(self, request: job_pb2.AddJobTaskRequest, call: Call) -> job_pb2.AddJobTaskResponse:
        """See the contract."""
        _require_task(given=request.HasField("task"))
        job_id = job_id_of(request.job_id)
        once = once_of(request)
        reply: Reply = await find_repeated(self._reader, self._clock, call.project, once)
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
        change: Callable[[job_pb2.JobSpec], job_pb2.JobSpec],
        *,
        version: int = 0,
        once: Once | None = None,
    ) -> Reply:
        """Make a new version of a job, and reply with it; from `version`, or from whichever it has if that is 0."""
        for attempt in range(1, UPDATE_TRIES_MAX + 1):
            epoch = self._leader.epoch
            row = await self._row(project, job_id)
            if row.state is JobState.DELETED:
                raise not_found("job")
            if version and version != row.version:
                raise _version_conflict(row.version)
            plan = await _planned(change(job_pb2.JobSpec.FromString(row.spec)))
            record = None if self._leader.knows_job(job_id) else await self._record(row)
            if self._leader.epoch != epoch:
                raise no_leader()  # what was read in an earlier term of this replica may have changed in another's since
            try:
                reply = await self._wishes.grant(commands.UpdateJob(project, job_id, plan, row.version, record, once))
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
        job_id, once = job_id_of(request.job_id), once_of(request)
        reply: Reply = await find_repeated(self._reader, self._clock, call.project, once)
        if reply is None:
            traceparent = current_traceparent()
            reply = await self._about(
                call.project,
                job_id,
                lambda record: commands.TriggerJob(call.project, job_id, once, traceparent, record),
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
            return None if row is None else await self._record(row)

        return await self._wishes.about_job(job_id, read, command)

    async def _record(self, row: JobRow) -> Job:
        await self._restored(row)
        return job_from_row(row, self._plans)

    async def _restored(self, row: JobRow) -> JobPlan:
        if len(row.spec) > BIG_JOB_BYTES and self._plans.find(row.id, row.version) is None:
            plan = await asyncio.to_thread(restore_job, row.spec)
            if self._plans.find(row.id, row.version) is None:
                self._plans.keep(row.id, row.version, plan)
        return self._plans.restore(row.id, row.version, row.spec)


async def _planned(spec: job_pb2.JobSpec) -> JobPlan:
    if len(spec.tasks) < BIG_JOB_TASKS:
        return plan_job(spec)
    return await asyncio.to_thread(plan_job, spec)


def _shown(reply: Reply) -> job_pb2.Job:
    assert isinstance(reply, Job)
    return messages.job_message(messages.job_row(reply))


def _require_task(*, given: bool) -> None:
    if not given:
        raise FoliotError.invalid("task", "is required", rule="required")


def _version_conflict(current: int) -> FoliotError:
    message = f"the job has version {current}"
    return FoliotError(ErrorReason.VERSION_CONFLICT, message, metadata={"version": str(current)})
