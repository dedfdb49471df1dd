"""Webhooks in the engine: who listens to what, and the events that go to them.

Theory of operation. `state.webhooks` holds every subscription; `state.listening` holds, for each project with an enabled one,
whom each event goes to. It is empty when nobody listens, and that is all a transition looks at: whoever makes one says
`if state.listening: note_task(...)`. What is noted is written by the commit that makes the transition durable, so an event
is told if and only if it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core.effects import Refusal, Repeated
from foliot_scheduler.core.subscriptions import (
    RESULT_BYTES_MAX,
    SUBSCRIBABLE,
    CreateWebhook,
    DeleteWebhook,
    DeliveryId,
    DeliveryRecord,
    SendTestEvent,
    TaskFacts,
    UpdateWebhook,
    Webhook,
    WebhookEvent,
    WebhookFailed,
    WebhookId,
    WorkerFacts,
)
from foliot_scheduler.core.transitions import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core.model import Task, Worker
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.subscriptions import WebhookCommand
    from foliot_scheduler.core.types import Micros, Project

_END_EVENTS = {
    TaskState.SUCCEEDED: WebhookEvent.TASK_COMPLETED,
    TaskState.FAILED: WebhookEvent.TASK_FAILED,
    TaskState.CANCELLED: WebhookEvent.TASK_CANCELLED,
    TaskState.SKIPPED: WebhookEvent.TASK_CANCELLED,
}


def note_task(state: State, task: Task, event: WebhookEvent, *, started: Micros | None = None) -> None:
    """Tell the project's webhooks what happens to a task; `started` stands in for a start that the task does not know yet."""
    webhooks = state.listening.get(task.project, {}).get(event)
    if not webhooks:
        return
    result = task.output[: RESULT_BYTES_MAX + 1] if task.ended is not None else b""
    facts = TaskFacts(task.id, task.plan.name, task.state, started or task.started, task.ended, task.error, result)
    _note(state, webhooks, event, facts)


def note_end(state: State, task: Task) -> None:
    """Tell the project's webhooks how a task ended."""
    note_task(state, task, _END_EVENTS[task.state])


def note_worker(state: State, worker: Worker, event: WebhookEvent) -> None:
    """Tell webhooks what happens to a worker: its project's, or those of all projects if it serves all."""
    status = "offline" if worker.offline else "active" if worker.leases else "idle"
    profile = worker.profile
    facts = WorkerFacts(profile.id, profile.hostname, profile.version, status, worker.registered, worker.last_heard)
    projects = state.listening if worker.project is None else (worker.project,)
    for project in projects:
        _note(state, state.listening.get(project, {}).get(event, ()), event, facts)


def _note(state: State, webhooks: Iterable[Webhook], event: WebhookEvent, facts: TaskFacts | WorkerFacts) -> None:
    state.effects.writes.deliveries.extend(
        [
            DeliveryRecord(DeliveryId(state.new_id()), webhook.id, webhook.generation, event, state.now, facts)
            for webhook in webhooks
        ]
    )


def handle(state: State, command: WebhookCommand) -> Webhook | DeliveryRecord | Repeated | None:
    """Apply a command about a webhook."""
    match command:
        case CreateWebhook():
            return _create(state, command)
        case UpdateWebhook():
            return _update(state, command)
        case DeleteWebhook():
            _delete(state, command)
        case SendTestEvent():
            return _test(state, command)
        case WebhookFailed():
            _failed(state, command)
    return None


def _create(state: State, command: CreateWebhook) -> Webhook | Repeated:
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    settings = state.settings
    if len(state.webhooks) >= settings.webhooks_max:
        raise Refusal("overloaded", f"there are {len(state.webhooks)} webhooks in all projects together; that is the limit")
    if sum(webhook.project == command.project for webhook in state.webhooks.values()) >= settings.project_webhooks_max:
        raise Refusal("wrong_state", f"the project has {settings.project_webhooks_max} webhooks; that is the limit")
    webhook = Webhook(
        WebhookId(state.new_id()),
        command.project,
        command.url,
        command.description,
        command.events,
        command.secret,
        command.enabled,
        state.now,
        state.now,
    )
    state.webhooks[webhook.id] = webhook
    _changed(state, webhook)
    state.remember(command.project, command.once, webhook.id)
    return webhook.snapshot()


def _find(state: State, project: Project, webhook_id: WebhookId) -> Webhook:
    webhook = state.webhooks.get(webhook_id)
    if webhook is None or webhook.project != project:
        raise Refusal("not_found", "no such webhook")
    return webhook


def _update(state: State, command: UpdateWebhook) -> Webhook:
    webhook = _find(state, command.project, command.webhook_id)
    change = command.change
    if change.url is not None:
        webhook.url = change.url
    if change.description is not None:
        webhook.description = change.description
    if change.events is not None:
        webhook.events = change.events
    if change.secret is not None:
        webhook.secret = change.secret
    if change.enabled is not None and change.enabled != webhook.enabled:
        webhook.enabled = change.enabled
        webhook.disabled_reason = ""
        webhook.generation += change.enabled
    _changed(state, webhook)
    return webhook.snapshot()


def _delete(state: State, command: DeleteWebhook) -> None:
    webhook = _find(state, command.project, command.webhook_id)
    del state.webhooks[webhook.id]
    writes = state.effects.writes
    writes.webhooks.pop(webhook.id, None)
    writes.webhooks_deleted.append(webhook.id)
    _index(state, webhook.project)


def _test(state: State, command: SendTestEvent) -> DeliveryRecord | Repeated:
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    webhook = _find(state, command.project, command.webhook_id)
    delivery = DeliveryRecord(DeliveryId(state.new_id()), webhook.id, webhook.generation, WebhookEvent.TEST, state.now, None)
    state.effects.writes.deliveries.append(delivery)
    state.remember(command.project, command.once, delivery.id)
    return delivery


def _failed(state: State, command: WebhookFailed) -> None:
    webhook = state.webhooks.get(command.webhook_id)
    if webhook is not None and webhook.enabled and webhook.generation == command.generation:
        webhook.enabled = False
        webhook.disabled_reason = command.reason
        _changed(state, webhook)


def _changed(state: State, webhook: Webhook) -> None:
    webhook.updated = state.now
    state.effects.writes.webhooks[webhook.id] = webhook
    _index(state, webhook.project)


def _index(state: State, project: Project) -> None:
    """Note anew whom the events of one project go to."""
    state.listening.pop(project, None)
    index(state, [webhook for webhook in state.webhooks.values() if webhook.project == project])


def index(state: State, webhooks: Iterable[Webhook]) -> None:
    """Note whom events go to."""
    for webhook in webhooks:
        if webhook.enabled:
            listening = state.listening.setdefault(webhook.project, {})
            for event in sorted(webhook.events or SUBSCRIBABLE):
                listening.setdefault(event, []).append(webhook)
