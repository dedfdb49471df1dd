"""Workers: those with a stream, and executors that claim by unary calls.

Theory of operation. A worker's heartbeat renews all of its leases at once, in memory only. The end of its stream takes nothing
from it: it has until `lease_until` to come back and say what it still holds. What it then does not name, it has lost. An
executor has no stream; each task it claims has an end of its own, renewed by a call that names the task. It is known by its
project and id, so that it is never taken for a worker of the same id, nor for another project's executor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import leases, prefetch
from foliot_scheduler.core.commands import AttemptEnd
from foliot_scheduler.core.effects import Disconnect, HeartbeatEcho, Refusal
from foliot_scheduler.core.model import Lease, Task, Worker, WorkerProfile
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.core.timers import ClaimSilent, WorkerSilent
from foliot_scheduler.core.types import Micros, Span, Token
from foliot_scheduler.core.webhooks import note_worker

if TYPE_CHECKING:
    from foliot_scheduler.core import commands
    from foliot_scheduler.core.state import State

EXECUTOR_CAPACITY = 10_000
"""How many tasks one executor may have claimed at once: a bound against one that claims and never ends, far above real use."""


EXECUTORS_KEPT_MAX = 10_000
"""How many executors are kept that were never given anything: about 1 KB each, for an hour. One more that finds nothing to claim
is forgotten at once; one that is given a task is always kept."""


def write_worker(state: State, worker: Worker) -> None:
    """Note that a worker's row changes with this commit."""
    worker.row_written = state.now
    state.effects.writes.workers[worker.project or "", worker.profile.id] = worker


def joined(state: State, command: commands.WorkerJoined) -> tuple[Token, ...]:
    """Put a worker on a stream, and return the tokens it named that no longer count."""
    profile = command.profile
    worker = state.workers.get(profile.id)
    is_new = worker is None or worker.offline
    if worker is None:
        worker = state.workers[profile.id] = Worker(profile, state.now, command.session, Micros(0), project=command.project)
        watch(state, worker, Micros(state.now + state.settings.lease_ttl))
    else:
        if worker.session:
            state.effects.disconnects.append(Disconnect(profile.id, worker.session))
        worker.profile = profile
        worker.project = command.project
        worker.session = command.session
    worker.draining = False
    worker.offline = False
    prefetch.forget_pace(worker, state.now)
    held = set(command.held)
    missing = [lease for token, lease in worker.leases.items() if token not in held]
    if command.process and worker.process and command.process != worker.process:
        leases.lose_dead(state, worker, missing, "the worker ended and was started again")
    else:
        leases.lose(state, missing, "the worker came back without it", counts=False)
    worker.process = command.process
    for token in worker.leases:
        state.leases[token].batch.acknowledged = True
    _heard(state, worker, state.settings.lease_ttl)
    write_worker(state, worker)
    if is_new and state.listening:
        note_worker(state, worker, WebhookEvent.WORKER_REGISTERED)
    return tuple(token for token in command.held if token not in worker.leases)


def left(state: State, command: commands.WorkerLeft) -> None:
    """Note that a worker's stream has ended; its leases go on until they end."""
    worker = state.workers.get(command.worker_id)
    if worker is not None and worker.session == command.session:
        worker.session = 0
        if not worker.leases:
            _gone(state, worker)


def draining(state: State, command: commands.WorkerDraining) -> None:
    """Give a worker no more leases."""
    worker = state.workers.get(command.worker_id)
    if worker is not None and worker.session == command.session:
        worker.draining = True


def heartbeat(state: State, command: commands.Heartbeat) -> None:
    """Renew the leases of a worker."""
    worker = state.workers.get(command.worker_id)
    if worker is None or worker.session != command.session:
        return  # an older stream of it: it will notice by itself
    if command.resources is not None:
        worker.resources = command.resources
    _heard(state, worker, state.settings.lease_ttl)
    if worker.row_written + state.settings.worker_row_every <= state.now:
        write_worker(state, worker)
    state.effects.heartbeats.append(HeartbeatEcho(command.worker_id, command.session, command.sequence))


def _heard(state: State, worker: Worker, ttl: Span) -> None:
    worker.last_heard = state.now
    worker.lease_until = Micros(state.now + ttl)
    if worker.watched_at > worker.lease_until:
        watch(state, worker, worker.lease_until)  # it was silent, and its timer waits to forget it


def watch(state: State, worker: Worker, at: Micros) -> None:
    """Look at `at` whether a worker was heard; each look sets the next, so one for each worker is enough."""
    worker.watched_at = at
    state.timers.add(at, WorkerSilent(worker))


def silent(state: State, worker: Worker) -> None:
    """A worker's timer went off: take its leases if it was not heard meanwhile, and forget it when that was long ago."""
    name, project = worker.profile.id, worker.project
    known = state.executors.get((project, name)) if worker.is_executor and project is not None else state.workers.get(name)
    if known is not worker or worker.watched_at > state.now:
        return  # left over from a silence: it came back since, and has an earlier timer
    if worker.lease_until > state.now:
        watch(state, worker, worker.lease_until)
        return
    if worker.session:
        state.effects.disconnects.append(Disconnect(worker.profile.id, worker.session))
        worker.session = 0
    if not worker.is_executor:  # an executor's claims have ends of their own
        leases.lose_dead(state, worker, list(worker.leases.values()), "the worker went silent")
    if not worker.leases and not worker.offline:
        _gone(state, worker)
    forget_at = Micros(worker.last_heard + state.settings.worker_kept)
    if worker.leases or forget_at > state.now:
        watch(state, worker, max(forget_at, Micros(state.now + state.settings.lease_ttl)))
    elif worker.is_executor and project is not None:
        del state.executors[project, name]
    else:
        del state.workers[name]


def _gone(state: State, worker: Worker) -> None:
    worker.offline = True
    write_worker(state, worker)
    if state.listening:
        note_worker(state, worker, WebhookEvent.WORKER_OFFLINE)


def claim(state: State, command: commands.ClaimTask) -> Task | None:
    """Lease the next waiting task to an executor; None when nothing waits."""
    key = (command.project, command.executor_id)
    worker = state.executors.get(key)
    streaming = state.workers.get(command.executor_id)
    if streaming is not None and streaming.project == command.project:
        raise Refusal("wrong_state", f"{command.executor_id} is the name of a worker with a stream", {"state": "connected"})
    profile = WorkerProfile(
        command.executor_id,
        command.address,
        "",
        EXECUTOR_CAPACITY,
        command.queues,
        (),
        command.kinds,
        frozenset(),
        (),
    )
    if worker is None:
        worker = Worker(profile, state.now, 0, Micros(0), project=command.project, is_executor=True)
    elif len(worker.leases) >= EXECUTOR_CAPACITY:
        raise Refusal("overloaded", f"executor {command.executor_id} holds {EXECUTOR_CAPACITY} tasks")
    worker.profile = profile
    lease = _lease_next(state, worker, command)
    if key not in state.executors:
        if lease is None and len(state.executors) >= EXECUTORS_KEPT_MAX:
            return None
        state.executors[key] = worker
        watch(state, worker, Micros(state.now + state.settings.claim_ttl))
        worker.offline = True  # until now
    _heard_executor(state, worker, changed=lease is not None)
    if lease is None:
        return None
    lease.batch.acknowledged = True
    task = lease.task
    task.started = state.now
    state.write_task(task)
    _renew(state, lease)
    state.timers.add(Micros(state.now + state.settings.claim_ttl), ClaimSilent(lease))
    leases.watch_timeout(state, lease)
    return task.snapshot()


def _lease_next(state: State, worker: Worker, command: commands.ClaimTask) -> Lease | None:
    while True:
        waiting = state.ready.take_of(command.project, worker.accepts, 1, standalone=command.standalone)
        if not waiting and state.ready.suspects:
            # An executor's claim of a task is nothing to the others it has: each lives by heartbeats of its own.
            waiting = state.ready.take_suspect(worker.accepts, command.project, standalone=command.standalone)
        if not waiting:
            return None
        granted = leases.grant(state, worker, waiting)
        if granted:
            return granted[0]
        # Its concurrency limits are full: it waits elsewhere now, so try the next.


def _heard_executor(state: State, worker: Worker, *, changed: bool) -> None:
    """Note that an executor has spoken; `changed` says that it holds more or less than its row tells."""
    _heard(state, worker, state.settings.claim_ttl)
    was_gone, worker.offline = worker.offline, False
    if changed or was_gone or worker.row_written + state.settings.worker_row_every <= state.now:
        write_worker(state, worker)
    if was_gone and state.listening:
        note_worker(state, worker, WebhookEvent.WORKER_REGISTERED)


def _renew(state: State, lease: Lease) -> None:
    lease.until = Micros(state.now + state.settings.claim_ttl)


def _claimed(state: State, command: commands.RenewClaim | commands.EndClaim) -> Lease:
    task = state.tasks.get(command.task_id)
    if task is None or task.project != command.project:
        raise Refusal("not_found", "no such task is running")
    lease = task.lease
    if lease is None or not lease.worker.is_executor:
        raise Refusal("wrong_state", "the task is not claimed", {"state": task.state})
    if lease.worker.profile.id != command.executor_id:
        raise Refusal("stale_lease", "the task is claimed by another executor")
    if command.token is not None and command.token != lease.token:
        raise Refusal("stale_lease", "the executor has claimed the task again since")
    return lease


def renew_claim(state: State, command: commands.RenewClaim) -> None:
    """Renew the lease of a claimed task."""
    lease = _claimed(state, command)
    _heard_executor(state, lease.worker, changed=False)
    _renew(state, lease)


def end_claim(state: State, command: commands.EndClaim) -> Task:
    """Record the end of a claimed task."""
    lease = _claimed(state, command)
    task, worker = lease.task, lease.worker
    leases.record_end(
        state,
        lease,
        AttemptEnd(
            lease.token,
            command.outcome,
            command.exit_code,
            command.error,
            command.output,
            command.error_output,
            task.started or lease.batch.leased,
            state.now,
        ),
    )
    _heard_executor(state, worker, changed=True)
    return task.snapshot()


def claim_silent(state: State, lease: Lease) -> None:
    """A claim's timer went off: take it back if it was not renewed meanwhile."""
    if state.leases.get(lease.token) is not lease or lease.until is None:
        return
    if lease.until > state.now:
        state.timers.add(lease.until, ClaimSilent(lease))
        return
    leases.lose(state, [lease], "the executor went silent", counts=True)
    worker = lease.worker
    if not worker.leases and worker.lease_until <= state.now and not worker.offline:
        _gone(state, worker)  # its own timer, which is due at the same time, may have gone off while it still held the lease
    write_worker(state, worker)
