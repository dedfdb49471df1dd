"""What a job consists of, in a word, for surfaces that show jobs of one form only."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from foliot_scheduler.core.model import Kind

if TYPE_CHECKING:
    from foliot_scheduler.core.model import JobPlan


class JobShape(StrEnum):
    """A job's form; the values are what PostgreSQL stores."""

    SCHEDULED_COMMAND = "scheduled_command"
    """A schedule and exactly one task, a command."""
    SCHEDULED_HTTP = "scheduled_http"
    """A schedule and exactly one task, an HTTP request."""
    OTHER = "other"


_OF_ONE_TASK = {Kind.COMMAND: JobShape.SCHEDULED_COMMAND, Kind.HTTP: JobShape.SCHEDULED_HTTP}


def shape_of(*, scheduled: bool, tasks: int, first: Kind | None) -> JobShape:
    """Say the shape of a job by whether it has a schedule, how many tasks, and the kind of the first."""
    if scheduled and tasks == 1 and first is not None:
        return _OF_ONE_TASK.get(first, JobShape.OTHER)
    return JobShape.OTHER


def shape_of_plan(plan: JobPlan) -> JobShape:
    """Say the shape of a planned job."""
    nodes = plan.nodes
    return shape_of(scheduled=plan.schedule is not None, tasks=len(nodes), first=nodes[0].plan.placement.kind if nodes else None)
