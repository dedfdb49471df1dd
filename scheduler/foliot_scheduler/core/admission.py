"""Whether there is room for more work: limits on what lives at once and on what a project asks for in a second.

Theory of operation. What lives is held in the leader's memory, so there is a limit for all projects together, and a lower one for
each, so that no project alone fills the scheduler. Where a project's pace is limited, each task that it asks for takes its share
of a second; a wish is granted whole while the project is not ahead of its pace, and puts it ahead by all of its tasks: so large
wishes are not refused for their size, and the pace holds over time (GCRA with a tolerance of nothing and a debt). What a schedule
starts is bounded by the schedule and counts against what may live alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.types import SECOND, Micros, Span

if TYPE_CHECKING:
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import Project

FULL_RETRY: Final = Span(5 * SECOND)
"""When to come back to where as many tasks live as may: at thousands of ends a second there is room for thousands by then."""

PACES_KEPT: Final = 10_000
"""Projects whose pace is remembered before those that are not ahead of it are forgotten."""


def lacks_room(state: State, project: Project, count: int) -> Refusal | None:
    """Say why so many more live tasks of a project are too many; None: they are not."""
    settings = state.settings
    live = len(state.tasks)
    if live + count > settings.live_tasks_max:
        return Refusal(
            "overloaded", f"{live} tasks have not ended; the limit is {settings.live_tasks_max}", retry_after=FULL_RETRY
        )
    own = state.live_by_project.get(project, 0)
    if own + count > settings.project_live_tasks_max:
        return Refusal(
            "overloaded",
            f"{own} tasks of the project {project} have not ended; the limit of one project is {settings.project_live_tasks_max}",
            {"project": project},
            retry_after=FULL_RETRY,
        )
    return None


def admit(state: State, project: Project, count: int) -> None:
    """Let a caller's wish for so many more tasks pass. Raises Refusal if they are too many, or ahead of their project's pace."""
    refusal = lacks_room(state, project, count)
    if refusal is not None:
        raise refusal
    free_at = state.ahead_until.get(project)
    if free_at is not None and free_at > state.now:
        rate = state.settings.project_tasks_per_second
        raise Refusal(
            "overloaded",
            f"the project {project} asks for more than {rate} tasks a second, which is the limit of one project",
            {"project": project},
            retry_after=Span(free_at - state.now),
        )


def note_admitted(state: State, project: Project, count: int) -> None:
    """Count what was admitted and granted against its project's pace."""
    rate = state.settings.project_tasks_per_second
    if not rate:
        return
    ahead_until = state.ahead_until
    if len(ahead_until) >= PACES_KEPT:
        for other in [one for one, until in ahead_until.items() if until <= state.now]:
            del ahead_until[other]
    ahead_until[project] = Micros(max(ahead_until.get(project, state.now), state.now) + count * SECOND // rate)
