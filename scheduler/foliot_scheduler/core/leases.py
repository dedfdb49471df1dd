"""Leases: giving tasks to workers, and taking their word for how it went.

Theory of operation. A lease gives one attempt of one task to one worker and carries a fencing token that no other lease ever
had. Whatever a worker says of an attempt quotes the token; a token that is not in `state.leases`, or is another worker's, is
stale and changes nothing. A lease ends in exactly one of these ways: its result is recorded, it is lost (the worker went
silent, never confirmed it, or gave it back), or it is withdrawn because its task was cancelled. Leases handed out together
share one durable row, which goes when the last of them has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import prefetch, tasks
from foliot_scheduler.core.commands import AttemptEnd
from foliot_scheduler.core.effects import (
    Acknowledgement,
    AttemptRecord,
    Cancellation,
    CheckpointAcknowledgement,
    CheckpointRecord,
    LeaseGrant,
)
from foliot_scheduler.core.model import Lease, LeaseBatch, Outcome, Task, Worker
from foliot_scheduler.core.retry import backoff, is_retried
from foliot_scheduler.core.runs import note_started
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.core.suspicion import is_suspect, may_have_run, uncounted_losses
from foliot_scheduler.core.timers import AttemptOverdue, BatchUnacknowledged
from foliot_scheduler.core.transitions import TaskEvent, next_task_state
from foliot_scheduler.core.types import Micros, Token
from foliot_scheduler.core.webhooks import note_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core import commands
    from foliot_scheduler.core.state import State


def grant(state: State, worker: Worker, waiting: list[Task]) -> list[Lease]:
    """Lease ready tasks to a worker, as one batch; those whose concurrency limits are full stay behind."""
    woken: list[Task] = []
    entered = [task for task in waiting if not task.plan.limits or state.gates.enter(task, woken)]
    tasks.push_woken(state, woken)
    if not entered:
        return []
    first = state.next_tokens(len(entered))
    now = state.now
    batch = LeaseBatch(
        first,
        worker.profile.id,
        now,
        tuple([task.id for task in entered]),
        tuple([task.attempt + 1 for task in entered]),
        len(entered),
        project=worker.project or "",
    )
    leases = []
    token = first
    worker_id, address = worker.profile.id, worker.profile.hostname
    for task in entered:
        task.state = next_task_state(task.state, TaskEvent.LEASED)
        task.attempt += 1
        task.worker_id = worker_id
        task.worker_address = address
        task.started = None
        lease = Lease(token, task, task.attempt, worker, batch)
        task.lease = lease
        state.leases[token] = worker.leases[token] = lease
        leases.append(lease)
        if task.suspect:
            worker.suspect = lease
        if task.run is not None:
            note_started(state, task.run)
        if state.listening:
            note_task(state, task, WebhookEvent.TASK_STARTED, started=now)
        token = Token(token + 1)
    state.batches[first] = batch
    state.effects.writes.batches_opened[first] = batch
    state.effects.writes.workers_counted[worker] = None
    return leases


def dispatch(state: State) -> None:
    """Give waiting tasks to workers with room, and places at full limits to those that a worker has room for."""
    while True:
        _deal_out(state)
        woken: list[Task] = []
        state.gates.dealt_out(woken)
        if not woken:
            return
        tasks.push_woken(state, woken)


def _deal_out(state: State) -> None:
    """Give waiting tasks to workers with room, spread evenly."""
    while state.ready.count:
        offers = [(w, *prefetch.room(w, state.now)) for w in state.workers.values() if w.session and not w.draining]
        offers = [offer for offer in offers if offer[1] > 0]
        if not offers:
            return
        share = max(1, -(-state.ready.count // len(offers)))
        progress = False
        for worker, free, accepts in offers:
            wanted = min(free, share)
            waiting = []
            if state.ready.suspects and worker.suspect is None:
                waiting = state.ready.take_suspect(worker.accepts, worker.project)
            if wanted > len(waiting):
                if worker.project is None:
                    waiting += state.ready.take(accepts, wanted - len(waiting))
                else:
                    waiting += state.ready.take_of(worker.project, accepts, wanted - len(waiting))
            if not waiting:
                continue
            progress = True
            leases = grant(state, worker, waiting)
            if leases:
                batch = leases[0].batch
                state.effects.leases.append(LeaseGrant(worker.profile.id, worker.session, batch, leases))
                state.timers.add(Micros(state.now + state.settings.acknowledge_within), BatchUnacknowledged(batch))
        if not progress:
            return


def close(state: State, lease: Lease) -> None:
    """Take a lease out of the books; the caller says what becomes of its task."""
    del state.leases[lease.token]
    worker = lease.worker
    del worker.leases[lease.token]
    if worker.suspect is lease:
        worker.suspect = None
    task = lease.task
    task.lease = None
    if task.plan.limits:
        woken: list[Task] = []
        state.gates.leave(task, woken)
        tasks.push_woken(state, woken)
    batch = lease.batch
    batch.open -= 1
    writes = state.effects.writes
    writes.workers_counted[worker] = None
    if not batch.open:
        del state.batches[batch.first_token]
        if writes.batches_opened.pop(batch.first_token, None) is None:
            writes.batches_closed.append(batch.first_token)


def withdraw(state: State, lease: Lease) -> None:
    """Take a lease back because its task was cancelled, and tell the worker to stop."""
    worker = lease.worker
    close(state, lease)
    tell_to_stop(state, worker, [lease.token])


def tell_to_stop(state: State, worker: Worker, tokens: list[Token]) -> None:
    """Tell a worker that leases no longer count."""
    if worker.session and tokens:
        state.effects.cancellations.append(Cancellation(worker.profile.id, worker.session, tokens))


def attempts_ended(state: State, command: commands.AttemptsEnded) -> None:
    """Record results; those of leases the worker does not hold are refused as stale."""
    recorded: list[Token] = []
    stale: list[Token] = []
    worker = state.workers.get(command.worker_id)
    for attempt_end in command.ends:
        lease = state.leases.get(attempt_end.token)
        if lease is None or lease.worker is not worker:
            stale.append(attempt_end.token)
        else:
            record_end(state, lease, attempt_end)
            recorded.append(attempt_end.token)
    if worker is not None:
        prefetch.take_pace(worker, state.now)
    state.effects.acknowledgements.append(Acknowledgement(command.worker_id, command.session, recorded, stale))


def record_end(state: State, lease: Lease, attempt_end: AttemptEnd) -> None:
    """Record how an attempt ended and decide what follows."""
    task = lease.task
    prefetch.note_ended(lease.worker, lease)
    close(state, lease)
    outcome = attempt_end.outcome
    if outcome is Outcome.CANCELLED or outcome is Outcome.LOST:
        # A worker that stops ends its attempts itself; nobody asked for the task to be cancelled, so it goes elsewhere.
        requeue(state, lease, "the worker stopped before the attempt had ended", counts=False)
        return
    task.outcome = outcome
    task.exit_code = attempt_end.exit_code
    task.error = attempt_end.error
    task.started = _shown_start(state, lease, attempt_end.started)
    if outcome is Outcome.SUCCEEDED:
        lease.worker.succeeded += 1
        task.output = attempt_end.output
        task.error_output = attempt_end.error_output
        tasks.end(state, task, TaskEvent.SUCCEEDED)
        return
    lease.worker.failed += 1
    task.failed_attempts += 1
    if is_retried(task.plan.retry, outcome, task.failed_attempts):
        _note_attempt(state, lease, outcome)
        task.state = next_task_state(task.state, TaskEvent.RETRIED)
        state.write_task(task)
        if state.listening:
            note_task(state, task, WebhookEvent.TASK_RETRYING)
        wait = backoff(task.plan.retry, task.failed_attempts, state.draw)
        tasks.postpone(state, task, Micros(state.now + wait))
    else:
        # Output is kept with ended tasks only: up to 2 MiB each, it must not wait in memory with those that are tried again.
        task.output = attempt_end.output
        task.error_output = attempt_end.error_output
        tasks.end(state, task, TaskEvent.FAILED)


def _note_attempt(state: State, lease: Lease, outcome: Outcome) -> None:
    task = lease.task
    state.effects.writes.attempts.append(
        AttemptRecord(
            task.id,
            lease.attempt,
            lease.worker.profile.id,
            task.worker_address,
            task.started,
            state.now,
            outcome,
            task.exit_code,
            task.error,
        )
    )


def requeue(state: State, lease: Lease, reason: str, *, counts: bool) -> None:
    """Have a task whose lease is closed and whose attempt came to nothing run again, or end when that happened too often.

    A loss that `counts` may be the task's fault. One that does not never ends the task, but may have it wait for a moment.
    """
    task = lease.task
    task.outcome = Outcome.LOST
    task.error = reason
    task.exit_code = None
    if counts:
        task.lost_attempts += 1
    if task.lost_attempts > state.settings.lost_attempts_max:
        task.error = f"lost {task.lost_attempts} times, so it is not tried again: {reason}"
        tasks.end(state, task, TaskEvent.FAILED)
        return
    _note_attempt(state, lease, Outcome.LOST)
    task.started = None
    state.write_task(task)
    task.suspect = is_suspect(task, state.settings)
    if not counts and uncounted_losses(task) > state.settings.uncounted_losses_free:
        task.state = next_task_state(task.state, TaskEvent.RETRIED)
        tasks.postpone(state, task, Micros(state.now + state.settings.uncounted_loss_wait))
    else:
        task.state = next_task_state(task.state, TaskEvent.REQUEUED)
        state.ready.push(task, front=True)
    if state.listening:
        note_task(state, task, WebhookEvent.TASK_RETRYING)


def lose(state: State, lost: list[Lease], reason: str, *, counts: bool) -> None:
    """End leases that a worker did not keep, given in their order; `counts` says that it may be the fault of their tasks."""
    for lease in reversed(lost):  # each goes to the front of its queue: the first comes last, to be the first again
        close(state, lease)
        requeue(state, lease, reason, counts=counts)


def lose_dead(state: State, worker: Worker, lost: list[Lease], reason: str) -> None:
    """End leases whose worker is dead or silent, in their order: whatever can have been running then may be to blame for it."""
    suspects = may_have_run(worker, lost)
    for lease in reversed(lost):
        close(state, lease)
        requeue(state, lease, reason, counts=lease.token in suspects)


def attempts_started(state: State, command: commands.AttemptsStarted) -> None:
    """Write tasks that have been running for a while as running, and watch their timeouts."""
    worker = state.workers.get(command.worker_id)
    for token, started in command.attempts:
        lease = state.leases.get(token)
        if lease is None or lease.worker is not worker or lease.task.started is not None:
            continue  # stale, or said before
        lease.task.started = _shown_start(state, lease, started)
        state.write_task(lease.task)
        watch_timeout(state, lease)


def _shown_start(state: State, lease: Lease, started: Micros) -> Micros:
    """When an attempt started: by its worker's clock, but not before the lease nor after now.

    A skewed clock must not make a child look older than its parent, nor an attempt end before its start.
    """
    if lease.batch.leased <= started <= state.now:
        return started
    return min(max(started, lease.batch.leased), state.now)


def watch_timeout(state: State, lease: Lease) -> None:
    """Set the timer that ends an attempt whose worker does not."""
    task = lease.task
    started = task.started or lease.batch.leased
    state.timers.add(Micros(started + task.plan.timeout + state.settings.overdue_grace), AttemptOverdue(lease))


def attempt_overdue(state: State, lease: Lease) -> None:
    """A worker did not stop an attempt at its timeout: record it as timed out, and tell the worker to stop it."""
    if state.leases.get(lease.token) is not lease:
        return
    started = lease.task.started or lease.batch.leased
    tell_to_stop(state, lease.worker, [lease.token])
    record_end(
        state, lease, AttemptEnd(lease.token, Outcome.TIMED_OUT, None, "ran past its timeout", b"", b"", started, state.now)
    )


def batch_unacknowledged(state: State, batch: LeaseBatch) -> None:
    """Withdraw leases that the worker never confirmed: they most likely never reached it."""
    if batch.acknowledged or batch.first_token not in state.batches:
        return
    held = [state.leases[token] for token in _tokens(batch) if token in state.leases]
    if held:
        tell_to_stop(state, held[0].worker, [lease.token for lease in held])
    lose(state, held, "the worker did not confirm the lease", counts=False)


def _tokens(batch: LeaseBatch) -> Iterable[Token]:
    return (Token(batch.first_token + i) for i in range(len(batch.task_ids)))


def leases_acknowledged(state: State, command: commands.LeasesAcknowledged) -> None:
    """Note that lease batches have arrived."""
    for first in command.batches:
        batch = state.batches.get(first)
        if batch is not None and batch.worker_id == command.worker_id:
            batch.acknowledged = True


def leases_released(state: State, command: commands.LeasesReleased) -> None:
    """Take back leases that a worker does not want to end: not started, or stopped because it stops itself."""
    worker = state.workers.get(command.worker_id)
    if worker is not None:
        returned = [worker.leases[token] for token in sorted(set(command.tokens)) if token in worker.leases]
        lose(state, returned, "the worker gave the lease back", counts=False)


def checkpoint_reported(state: State, command: commands.CheckpointReported) -> None:
    """Save the progress of an attempt, if the worker still holds it."""
    lease = state.leases.get(command.token)
    error = ""
    if lease is None or lease.worker is not state.workers.get(command.worker_id):
        error = "the lease has ended"
    else:
        save_checkpoint(state, lease.task, command.checkpoint)
    state.effects.checkpoint_acknowledgements.append(
        CheckpointAcknowledgement(command.worker_id, command.session, command.token, command.sequence, error)
    )


def save_checkpoint(state: State, task: Task, checkpoint: str) -> None:
    """Keep a running task's progress for its next attempt."""
    task.checkpoint = checkpoint
    state.effects.writes.checkpoints[task.id] = CheckpointRecord(task.id, task.attempt, checkpoint, state.now)
    state.write_task(task)
