"""Which events go to which webhooks: at the transition itself, with the facts of that moment, to the project's own alone."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import Outcome, RetryPolicy
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.subscriptions import (
    RESULT_BYTES_MAX,
    CreateWebhook,
    DeleteWebhook,
    DeliveryRecord,
    SendTestEvent,
    TaskFacts,
    UpdateWebhook,
    Webhook,
    WebhookChange,
    WebhookEvent,
    WebhookFailed,
    WebhookId,
    WorkerFacts,
)
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, SECOND, Project, TaskId, WorkerId
from tests.unit.core.support import Node, World, plan

OTHER = Project("other")


def subscribe(world: World, *events: WebhookEvent, project: Project = DEFAULT_PROJECT, enabled: bool = True) -> WebhookId:
    reply = world.ask(CreateWebhook(project, "http://r.test/", "", frozenset(events), b"k" * 32, enabled))
    assert isinstance(reply, Webhook)
    return reply.id


def told(world: World, webhook: WebhookId | None = None) -> list[DeliveryRecord]:
    """What the journal holds for a webhook, or for all."""
    return [record for record in world.journal.deliveries if webhook in {None, record.webhook_id}]


def events_about(world: World, task_id: TaskId) -> list[tuple[str, TaskState]]:
    found = [(record.event, record.facts) for record in told(world)]
    return [(event.value, facts.state) for event, facts in found if isinstance(facts, TaskFacts) and facts.id == task_id]


def test_a_task_is_told_of_from_its_creation_to_its_end() -> None:
    world = World()
    subscribe(world)
    world.join()
    task = world.submit(plan(retry=RetryPolicy(max_attempts=2, jitter=0.0)))
    world.end(task, Outcome.FAILED, error="it went wrong")
    world.pass_time(2 * SECOND)
    world.end(task)
    assert events_about(world, task) == [
        ("task.created", TaskState.BLOCKED),
        ("task.started", TaskState.RUNNING),
        ("task.retrying", TaskState.SCHEDULED),
        ("task.started", TaskState.RUNNING),
        ("task.completed", TaskState.SUCCEEDED),
    ]
    created, started, retrying, _, completed = (record.facts for record in told(world) if isinstance(record.facts, TaskFacts))
    assert (created.started, created.result) == (None, b"")
    assert started.started is not None
    assert retrying.error == "it went wrong"
    assert (completed.result, completed.ended) == (b"out", world.now)


def test_ends_of_other_kinds_are_told_by_their_names() -> None:
    world = World()
    subscribe(world)
    parent = world.submit()
    child = world.submit(None, parent)
    world.cancel(parent)
    assert events_about(world, parent)[-1] == ("task.cancelled", TaskState.CANCELLED)
    assert events_about(world, child)[-1] == ("task.failed", TaskState.FAILED)
    world.retry(parent)
    assert ("task.retrying", TaskState.BLOCKED) in events_about(world, parent)


def test_a_lost_attempt_that_another_follows_is_retrying() -> None:
    world = World()
    subscribe(world)
    world.join()
    task = world.submit()
    world.pass_time(60 * SECOND)
    assert events_about(world, task)[-1] == ("task.retrying", TaskState.READY)


def test_the_tasks_of_a_run_are_told_of() -> None:
    world = World()
    subscribe(world, WebhookEvent.TASK_CREATED, WebhookEvent.TASK_COMPLETED)
    world.join()
    run = world.start(Node("a"), Node("b", ("a",)))
    tasks = world.tasks_of(run)
    for key in ("a", "b"):
        world.end(tasks[key])
        assert [event for event, _ in events_about(world, tasks[key])] == ["task.created", "task.completed"]


def test_a_webhook_is_told_only_of_what_it_subscribed_to_in_its_project() -> None:
    world = World()
    failures = subscribe(world, WebhookEvent.TASK_FAILED)
    everything = subscribe(world, project=OTHER)
    disabled = subscribe(world, enabled=False)
    world.join()
    world.end(world.submit())
    world.end(world.submit(), Outcome.FAILED)
    assert [record.event for record in told(world, failures)] == [WebhookEvent.TASK_FAILED]
    assert [record.event for record in told(world, everything)] == [WebhookEvent.WORKER_REGISTERED]
    assert told(world, disabled) == []


def test_workers_come_and_go() -> None:
    world = World()
    ours, theirs = subscribe(world), subscribe(world, project=OTHER)
    session = world.join("w1")
    world.join("w1")  # a new stream of a worker that was never away
    world.do(commands.WorkerLeft(session, WorkerId("w1")))  # the old one's end means nothing
    world.do(commands.WorkerLeft(world.sessions, WorkerId("w1")))
    world.join("w1")
    expected = [WebhookEvent.WORKER_REGISTERED, WebhookEvent.WORKER_OFFLINE, WebhookEvent.WORKER_REGISTERED]
    for webhook in (ours, theirs):
        assert [record.event for record in told(world, webhook)] == expected
    facts = told(world, ours)[1].facts
    assert isinstance(facts, WorkerFacts)
    assert (facts.id, facts.hostname, facts.status) == ("w1", "host", "offline")


def test_nobody_listens_at_no_cost() -> None:
    world = World()
    webhook = subscribe(world)
    world.ask(DeleteWebhook(DEFAULT_PROJECT, webhook))
    subscribe(world, enabled=False)
    assert not world.state.listening
    world.join()
    world.end(world.submit())
    assert not told(world)


def test_changes_count_from_the_next_event_on() -> None:
    world = World()
    webhook = subscribe(world, WebhookEvent.TASK_CREATED)
    world.ask(UpdateWebhook(DEFAULT_PROJECT, webhook, WebhookChange(events=frozenset({WebhookEvent.TASK_CANCELLED}))))
    task = world.submit()
    assert told(world) == []
    world.cancel(task)
    assert [record.event for record in told(world)] == [WebhookEvent.TASK_CANCELLED]


def test_each_time_it_is_enabled_a_new_generation_begins() -> None:
    world = World()
    webhook = subscribe(world)
    world.do(WebhookFailed(webhook, 1, "it hangs"))
    assert (world.state.webhooks[webhook].enabled, world.state.webhooks[webhook].disabled_reason) == (False, "it hangs")
    world.ask(UpdateWebhook(DEFAULT_PROJECT, webhook, WebhookChange(enabled=True)))
    assert (world.state.webhooks[webhook].generation, world.state.webhooks[webhook].disabled_reason) == (2, "")
    world.do(WebhookFailed(webhook, 1, "said of the time before"))
    assert world.state.webhooks[webhook].enabled
    world.submit()
    assert told(world, webhook)[-1].generation == 2


def test_a_test_is_sent_whatever_is_subscribed_to() -> None:
    world = World()
    webhook = subscribe(world, WebhookEvent.TASK_FAILED, enabled=False)
    reply = world.ask(SendTestEvent(DEFAULT_PROJECT, webhook))
    assert isinstance(reply, DeliveryRecord)
    assert (reply.event, reply.facts) == (WebhookEvent.TEST, None)
    assert told(world, webhook) == [reply]


def test_a_long_result_is_cut() -> None:
    world = World()
    subscribe(world, WebhookEvent.TASK_COMPLETED)
    world.join()
    task = world.submit()
    lease = world.lease_of(task)
    end = commands.AttemptEnd(lease.token, Outcome.SUCCEEDED, 0, "", b"x" * (1 << 20), b"", world.now, world.now)
    world.do(commands.AttemptsEnded(1, WorkerId("w1"), [end]))
    facts = told(world)[0].facts
    assert isinstance(facts, TaskFacts)
    assert len(facts.result) == RESULT_BYTES_MAX + 1


def test_there_are_only_so_many() -> None:
    world = World(CoreSettings(webhooks_max=3, project_webhooks_max=2))
    subscribe(world)
    subscribe(world)
    with pytest.raises(Refusal) as refused:
        subscribe(world)
    assert refused.value.reason == "wrong_state"
    subscribe(world, project=OTHER)
    with pytest.raises(Refusal) as refused:
        subscribe(world, project=Project("third"))
    assert refused.value.reason == "overloaded"


def test_nothing_of_another_project_is_changed() -> None:
    world = World()
    webhook = subscribe(world)
    for command in (
        UpdateWebhook(OTHER, webhook, WebhookChange(enabled=False)),
        DeleteWebhook(OTHER, webhook),
        SendTestEvent(OTHER, webhook),
    ):
        with pytest.raises(Refusal) as refused:
            world.ask(command)
        assert refused.value.reason == "not_found"
