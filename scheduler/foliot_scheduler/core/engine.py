"""The engine: one door for commands, one for effects.

Pure: the same commands at the same times, with the same ids and draws, give the same effects. It has one owner, which applies
commands in batches and carries out the effects in the order their docstring states. Effects gather until they are taken, so that
whatever was decided while one commit ran goes into the next, several changes to one row as a single write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from foliot_scheduler.core import (
    commands,
    dependents,
    jobs,
    leases,
    redrives,
    submissions,
    subscriptions,
    tasks,
    webhooks,
    workers,
)
from foliot_scheduler.core.effects import Effects, HeartbeatEcho, Refusal, Reply
from foliot_scheduler.core.state import CoreSettings, State
from foliot_scheduler.core.timers import (
    AttemptOverdue,
    BatchUnacknowledged,
    ClaimSilent,
    JobDue,
    TaskDue,
    Timer,
    WorkerSilent,
)
from foliot_scheduler.core.types import Micros

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core.types import Draw, NewId


class Engine:
    """Applies commands to the state of one shard, for one term of its leader."""

    def __init__(self, *, epoch: int, new_id: NewId, draw: Draw, settings: CoreSettings | None = None) -> None:
        """Take the term's epoch, a source of UUIDv7 ids, and a source of numbers in [0, 1) for backoff."""
        self.state = State(epoch=epoch, settings=settings or CoreSettings(), new_id=new_id, draw=draw)

    def apply(self, batch: Iterable[commands.Command], now: Micros) -> None:
        """Go on with what the last step left, apply commands in order, then all due by `now`; give waiting tasks to workers.

        What follows gathers until `take_effects`. `now` never goes backwards: an earlier one counts as the latest seen. A wish
        that is refused changes nothing.
        """
        state = self.state
        state.now = max(now, state.now)
        state.decisions_left = state.settings.decisions_per_step
        self._settle()
        replies = state.effects.replies
        for command in batch:
            try:
                replies.append(_handle(state, command))
            except Refusal as refusal:
                replies.append(refusal)
            self._settle()
        for timer in state.timers.take_due(state.now):
            _go_off(state, timer)
            self._settle()
        leases.dispatch(state)
        state.timers.drop_outdated()

    def take_effects(self) -> Effects:
        """Return what followed from all commands since the last call, with one reply for each of them in order."""
        state = self.state
        effects, state.effects = state.effects, Effects()
        return effects

    def take_heartbeats(self) -> list[HeartbeatEcho]:
        """Return the renewals to confirm, ahead of the other effects: they wait for no commit."""
        effects = self.state.effects
        heartbeats, effects.heartbeats = effects.heartbeats, []
        return heartbeats

    def step(self, batch: Iterable[commands.Command], now: Micros) -> Effects:
        """Apply commands and return what follows from them."""
        self.apply(batch, now)
        return self.take_effects()

    def next_due(self) -> int | None:
        """When something happens by itself next, in µs since the epoch; None: never."""
        state = self.state
        return state.now if state.undecided else state.timers.next_due()

    def _settle(self) -> None:
        state = self.state
        while state.settling or state.ended_runs or (state.undecided and state.decisions_left):
            tasks.settle(state)
            if state.ended_runs:
                jobs.run_ended(state, state.ended_runs.popleft())


def _go_off(state: State, timer: Timer) -> None:
    match timer:
        case TaskDue(task):
            tasks.due(state, task)
        case JobDue(job):
            if len(state.effects.writes.tasks) > state.settings.fires_below:
                state.timers.add(Micros(state.now + 1), timer)
            else:
                jobs.fire(state, job)
        case WorkerSilent(worker):
            workers.silent(state, worker)
        case ClaimSilent(lease):
            workers.claim_silent(state, lease)
        case BatchUnacknowledged(batch):
            leases.batch_unacknowledged(state, batch)
        case AttemptOverdue(lease):
            leases.attempt_overdue(state, lease)
        case _:
            assert_never(timer)


def _handle(state: State, command: commands.Command) -> Reply:  # noqa: C901, PLR0911, PLR0912 - one straight line for each command
    match command:
        case commands.AttemptsEnded():
            leases.attempts_ended(state, command)
        case commands.SubmitTasks():
            return submissions.submit(state, command)
        case commands.LeasesAcknowledged():
            leases.leases_acknowledged(state, command)
        case commands.Heartbeat():
            workers.heartbeat(state, command)
        case commands.AttemptsStarted():
            leases.attempts_started(state, command)
        case commands.CheckpointReported():
            leases.checkpoint_reported(state, command)
        case commands.ClaimTask():
            return workers.claim(state, command)
        case commands.RenewClaim():
            workers.renew_claim(state, command)
        case commands.EndClaim():
            return workers.end_claim(state, command)
        case commands.UpdateTask():
            return submissions.update(state, command)
        case commands.DeleteTask():
            submissions.delete(state, command)
        case commands.CancelTask():
            return submissions.cancel(state, command)
        case commands.RetryTask():
            return submissions.retry(state, command)
        case commands.PutBackDependents():
            dependents.put_back(state, command)
        case commands.SaveCheckpoint():
            return submissions.save_checkpoint(state, command)
        case commands.TriggerJob():
            return jobs.trigger(state, command)
        case commands.CreateJob():
            return jobs.create(state, command)
        case commands.UpdateJob():
            return jobs.update(state, command)
        case commands.SetJobState():
            return jobs.set_state(state, command)
        case commands.RedriveRun():
            return redrives.redrive(state, command)
        case commands.CancelRun():
            return jobs.cancel_run(state, command)
        case commands.JobsDue():
            jobs.jobs_due(state, command)
        case commands.WorkerJoined():
            return workers.joined(state, command)
        case commands.WorkerLeft():
            workers.left(state, command)
        case commands.WorkerDraining():
            workers.draining(state, command)
        case commands.LeasesReleased():
            leases.leases_released(state, command)
        case (
            subscriptions.CreateWebhook()
            | subscriptions.UpdateWebhook()
            | subscriptions.DeleteWebhook()
            | subscriptions.SendTestEvent()
            | subscriptions.WebhookFailed()
        ):
            return webhooks.handle(state, command)
        case commands.Tick():
            pass  # time passes with every batch; this one only makes sure there is a batch
        case _:
            assert_never(command)
    return None
