"""Redrives: another run for one that failed for good.

Theory of operation. A run that failed is a dead letter until it is redriven, which its row says and which happens once. The row
comes from PostgreSQL with the command, or rather its reader has looked at it; whatever was redriven since then is remembered
here. That has to be remembered only for longer than a call takes, as a row that is read later tells of it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from foliot_scheduler.core import jobs
from foliot_scheduler.core.admission import note_admitted
from foliot_scheduler.core.effects import Redriven, Refusal, Repeated
from foliot_scheduler.core.model import JobState, Trigger

if TYPE_CHECKING:
    from foliot_scheduler.core import commands
    from foliot_scheduler.core.model import Run
    from foliot_scheduler.core.state import State


def redrive(state: State, command: commands.RedriveRun) -> Run | Repeated:
    """Start another run of a dead letter's job, as the job is now, and take the dead letter out of the list."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    known = state.redriven.get(command.run_id)
    if known is not None:
        raise already_redriven(known[1])
    job = state.jobs.get(command.job_id, command.record)
    if job is None or job.project != command.project or job.state is JobState.DELETED:
        raise Refusal("wrong_state", "the job of the run was deleted", {"state": JobState.DELETED})
    jobs.adopt(state, job)
    jobs.check_room(state, job)
    note_admitted(state, job.project, len(job.plan.nodes))
    run = jobs.start(state, job, Trigger.REDRIVE, None, command.traceparent, redrive_of=command.run_id)
    state.effects.writes.redriven.append(Redriven(command.run_id, run.id))
    state.redriven[command.run_id] = (state.now, run.id)
    while next(iter(state.redriven.values()))[0] + state.settings.key_kept < state.now:
        state.redriven.popitem(last=False)
    state.remember(command.project, command.once, run.id)
    return run.snapshot()


def already_redriven(by: bytes) -> Refusal:
    """The refusal of a second redrive, with the id of the run that the first started."""
    return Refusal("wrong_state", "the run was redriven already", {"redriven_by": str(uuid.UUID(bytes=by))})
