"""The next due times of a schedule, worked out a few at a time so that nobody else on the event loop waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.v1 import job_pb2
from foliot_scheduler.api.messages import set_instant
from foliot_scheduler.api.requests import job_id_of
from foliot_scheduler.api.wishes import not_found
from foliot_scheduler.core.cron import parse_schedule
from foliot_scheduler.core.model import JobState
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs.jobs import check_schedule
from foliot_scheduler.specs.rules import Violations, check_timestamp, micros_of
from foliot_scheduler.store.fires import schedule_of

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.core.cron import CronSchedule
    from foliot_scheduler.core.types import Project
    from foliot_scheduler.store.reads import Reader

COUNT_MAX: Final = 1_000
COUNT_DEFAULT: Final = 10

_AT_A_STRETCH: Final = 100
"""Due times that are worked out before others get their turn: 4 ms of the rarest schedules, that of 29 February for one."""


async def preview(
    request: job_pb2.PreviewScheduleRequest, project: Project, reader: Reader, clock: Clock
) -> job_pb2.PreviewScheduleResponse:
    """Answer PreviewSchedule; a job that has no schedule, or is deleted, has no due time left. Raises FoliotError."""
    if not 0 <= request.count <= COUNT_MAX:
        raise FoliotError.invalid("count", f"must be 1 to {COUNT_MAX:,}, or 0", rule="out_of_range")
    violations = Violations()
    if request.HasField("after"):
        check_timestamp("after", request.after, violations)
    violations.raise_if_any()
    after = micros_of(request.after) if request.HasField("after") else Micros(clock.now_us())
    if request.job_id:
        if request.HasField("schedule"):
            raise FoliotError.invalid("schedule", "must not be set beside a job_id", rule="not_allowed")
        row = await schedule_of(reader, project, job_id_of(request.job_id))
        if row is None:
            raise not_found("job")
        if row.cron is None or row.state is JobState.DELETED:
            return job_pb2.PreviewScheduleResponse()
        cron, anchor = parse_schedule(row.cron, row.timezone or ""), row.created_at
    else:
        cron, anchor = _given(request), after
    response = job_pb2.PreviewScheduleResponse()
    for due in await _next_dues(cron, after, anchor, request.count or COUNT_DEFAULT, clock):
        set_instant(response.due_at.add(), due)
    return response


def _given(request: job_pb2.PreviewScheduleRequest) -> CronSchedule:
    if not request.HasField("schedule"):
        raise FoliotError.invalid("schedule", "is required where no job_id is", rule="required")
    violations = Violations()
    plan = check_schedule("schedule", request.schedule, violations)
    violations.raise_if_any()
    assert plan is not None, "a schedule without a violation is planned"
    return plan.cron


async def _next_dues(cron: CronSchedule, after: Micros, anchor: Micros, count: int, clock: Clock) -> list[Micros]:
    dues: list[Micros] = []
    while len(dues) < count:
        due = cron.next_after(dues[-1] if dues else after, anchor_us=anchor)
        if due is None:
            break
        dues.append(due)
        if len(dues) % _AT_A_STRETCH == 0:
            await clock.sleep(0)
    return dues
