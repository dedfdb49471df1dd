"""The nouns of webhooks: what is subscribed to, by whom, and what an event tells.

A webhook is a project's subscription. An event that somebody subscribes to becomes a `DeliveryRecord` at the transition itself,
one for each webhook, with the facts as they are at that moment; how they read as JSON and how they are sent is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, NewType

if TYPE_CHECKING:
    from foliot_scheduler.core.commands import Once
    from foliot_scheduler.core.transitions import TaskState
    from foliot_scheduler.core.types import Micros, Project, TaskId, WorkerId

WebhookId = NewType("WebhookId", bytes)
DeliveryId = NewType("DeliveryId", bytes)
"""Ids are the 16 bytes of a UUIDv7, as those of tasks are."""

RESULT_BYTES_MAX: Final = 64 * 1024
"""How much of a task's output an event carries: receivers want to know what happened, and a thousand of these wait in memory."""

CUT_RESULT: Final = "… (cut)"
"""What ends a result that was longer."""


class WebhookEvent(StrEnum):
    """What can be told; the values are what PostgreSQL stores and what payloads say."""

    TASK_CREATED = "task.created"
    TASK_STARTED = "task.started"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    """Cancelled, or skipped because its trigger rule cannot hold any more."""
    TASK_RETRYING = "task.retrying"
    WORKER_REGISTERED = "worker.registered"
    WORKER_OFFLINE = "worker.offline"
    TEST = "webhook.test"
    """Somebody asked for it."""


SUBSCRIBABLE: Final = frozenset(WebhookEvent) - {WebhookEvent.TEST}


@dataclass(slots=True, eq=False)
class Webhook:
    """A project's subscription."""

    id: WebhookId
    project: Project
    url: str
    description: str
    events: frozenset[WebhookEvent]
    """What it is told of; empty: everything."""
    secret: bytes = field(repr=False)
    """The key that signs its deliveries."""
    enabled: bool
    created: Micros
    updated: Micros
    generation: int = 1
    """Counts how often it was enabled. Deliveries carry it, so that those from before it was disabled are not sent when it is
    enabled again."""
    disabled_reason: str = ""

    def snapshot(self) -> Webhook:
        """A copy as it stands now, for a reply that leaves later."""
        return replace(self)


class TaskFacts(NamedTuple):
    """A task as it is when something happens to it."""

    id: TaskId
    name: str
    state: TaskState
    started: Micros | None
    ended: Micros | None
    error: str
    result: bytes
    """The beginning of its output, at most RESULT_BYTES_MAX and one byte more, which tells that there is more; empty before its
    end."""


class WorkerFacts(NamedTuple):
    """A worker as it is when something happens to it."""

    id: WorkerId
    hostname: str
    version: str
    status: str
    """active, idle or offline."""
    registered: Micros
    last_heard: Micros


@dataclass(slots=True)
class DeliveryRecord:
    """One event on its way to one webhook."""

    id: DeliveryId
    webhook_id: WebhookId
    generation: int
    """The webhook's, when it happened."""
    event: WebhookEvent
    happened: Micros
    facts: TaskFacts | WorkerFacts | None
    """None for a test."""


# ------------------------------------------------------------------------------------------------------------------ commands


@dataclass(frozen=True, slots=True)
class CreateWebhook:
    """Subscribe. Replies with the webhook."""

    project: Project
    url: str
    description: str
    events: frozenset[WebhookEvent]
    secret: bytes = field(repr=False)
    enabled: bool = True
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """New values of a webhook; None leaves a field as it is."""

    url: str | None = None
    description: str | None = None
    events: frozenset[WebhookEvent] | None = None
    secret: bytes | None = field(default=None, repr=False)
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class UpdateWebhook:
    """Change a subscription. Replies with the webhook."""

    project: Project
    webhook_id: WebhookId
    change: WebhookChange


@dataclass(frozen=True, slots=True)
class DeleteWebhook:
    """End a subscription. Replies with None."""

    project: Project
    webhook_id: WebhookId


@dataclass(frozen=True, slots=True)
class SendTestEvent:
    """Send a test event, to a disabled webhook too. Replies with the delivery."""

    project: Project
    webhook_id: WebhookId
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class WebhookFailed:
    """Its receiver wants no more, or has failed for too long: disable it, if it was not enabled anew since. Replies with None."""

    webhook_id: WebhookId
    generation: int
    reason: str


WebhookCommand = CreateWebhook | UpdateWebhook | DeleteWebhook | SendTestEvent | WebhookFailed
