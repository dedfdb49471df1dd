"""Webhooks with real processes: every event reaches a receiver, and what was committed survives the death of the scheduler."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from foliot.client import Client
from foliot.v1 import job_pb2, spec_pb2, task_pb2
from foliot.v1 import webhook_pb2 as pb
from tests.integration.worker.http_server import Answer, HttpServer, Request
from tests.processes import Stack

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

WITHIN_S = 40.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the Standard Webhooks specification."""


class Log:
    """What arrived, by event and id."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._arrived = asyncio.Condition()

    async def handle(self, request: Request) -> Answer:
        """Take a message whose signature is right."""
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
        ours = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(request.headers["webhook-signature"], ours):
            return Answer(401)
        async with self._arrived:
            self.messages.append(json.loads(request.body))
            self._arrived.notify_all()
        return Answer(204)

    async def wait_for(self, event: str, **about: str) -> dict[str, Any]:
        """Wait for a message about the task or worker whose fields are as given."""

        def found() -> list[dict[str, Any]]:
            return [
                message
                for message in self.messages
                if message["event"] == event and about.items() <= (message.get("task") or message.get("worker") or {}).items()
            ]

        async with asyncio.timeout(WITHIN_S), self._arrived:
            await self._arrived.wait_for(found)
        return found()[0]

    def count(self) -> dict[str, int]:
        """How many messages there are of each event."""
        counts: dict[str, int] = defaultdict(int)
        for message in self.messages:
            counts[message["event"]] += 1
        return counts


@asynccontextmanager
async def subscribed(client: Client, **fields: Any) -> AsyncIterator[tuple[Log, str]]:
    """A receiver of everything in the client's project, and its webhook's id."""
    log = Log()
    async with HttpServer(log.handle) as server:
        request = pb.CreateWebhookRequest(url=server.url("/hook"), secret=SECRET, **fields)
        webhook = (await client.webhooks.CreateWebhook(request)).webhook
        yield log, webhook.id


def command(name: str, line: str, *, attempts: int = 1) -> task_pb2.SubmitTaskRequest:
    spec = spec_pb2.TaskSpec(name=name, command=spec_pb2.CommandWork(line=line))
    if attempts > 1:
        wait: Duration = spec.retry.initial_backoff
        wait.FromMilliseconds(1)
        spec.retry.max_attempts = attempts
    return task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(spec=spec))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A database and a scheduler; the tests start workers."""
    with Stack(tmp_path_factory.mktemp("webhooks"), gateway=False) as stack:
        stack.start(workers=0)
        yield stack


@pytest.mark.timeout(120)
async def test_all_eight_events_reach_their_receiver_and_no_other_projects(stack: Stack) -> None:
    async with (
        Client(stack.addresses) as client,
        subscribed(client) as (log, _),
        subscribed(client.acting_as(project="other")) as (strangers, _),
    ):
        worker = stack.start_worker()
        registered = await log.wait_for("worker.registered")
        assert registered["worker"]["status"] == "idle"
        assert registered["worker"].keys() >= {"id", "hostname", "status"}

        done = (await client.tasks.SubmitTask(command("Example Task", "echo it went well"))).task
        completed = await log.wait_for("task.completed", id=f"task-{done.id}")
        assert completed.keys() == {"event", "timestamp", "task"}
        task = completed["task"]
        assert (task["name"], task["status"], task["result"]) == ("Example Task", "completed", "it went well\n")
        assert task["started_at"] <= task["completed_at"] <= completed["timestamp"]
        await log.wait_for("task.created", id=f"task-{done.id}", status="pending")
        await log.wait_for("task.started", id=f"task-{done.id}", status="running")

        failed = (await client.tasks.SubmitTask(command("fails", "exit 3", attempts=2))).task
        await log.wait_for("task.retrying", id=f"task-{failed.id}", status="pending")
        assert (await log.wait_for("task.failed", id=f"task-{failed.id}", status="failed"))["task"]["error"]

        sleeper = (await client.tasks.SubmitTask(command("sleeps", "sleep 600"))).task
        await log.wait_for("task.started", id=f"task-{sleeper.id}")
        await client.tasks.CancelTask(task_pb2.CancelTaskRequest(task_id=sleeper.id))
        await log.wait_for("task.cancelled", id=f"task-{sleeper.id}", status="cancelled")

        # The tasks of a run are told of as well.
        nodes = [
            job_pb2.JobTask(key="a", spec=spec_pb2.TaskSpec(name="a", command=spec_pb2.CommandWork(line="true"))),
            job_pb2.JobTask(key="b", dependencies=["a"], spec=spec_pb2.TaskSpec(name="b")),
        ]
        job = (await client.jobs.CreateJob(job_pb2.CreateJobRequest(spec=job_pb2.JobSpec(name="j", tasks=nodes)))).job
        await client.jobs.TriggerJob(job_pb2.TriggerJobRequest(job_id=job.id))
        await log.wait_for("task.completed", name="b")
        await log.wait_for("task.created", name="a")

        worker.signal(signal.SIGKILL)
        await log.wait_for("worker.offline", id=registered["worker"]["id"], status="offline")
        await strangers.wait_for("worker.offline", id=registered["worker"]["id"])
        assert set(strangers.count()) == {"worker.registered", "worker.offline"}, "workers serve all projects, tasks are of one"


@pytest.mark.timeout(120)
async def test_what_was_committed_is_sent_after_the_scheduler_was_killed(stack: Stack) -> None:
    async with Client(stack.addresses, project="survivors") as client, subscribed(client) as (log, webhook_id):
        admin = await asyncpg.connect(stack.database_url)
        # The sender cannot claim what it cannot read: the scheduler dies between the commit and the first try.
        transaction = admin.transaction()
        await transaction.start()
        await admin.execute("LOCK TABLE webhook_health IN ACCESS EXCLUSIVE MODE")
        names = [f"task {number}" for number in range(5)]
        for name in names:
            await client.tasks.SubmitTask(command(name, "true"))
        scheduler = stack.schedulers[0]
        assert scheduler is not None
        scheduler.kill()
        assert not log.messages
        await transaction.rollback()
        await admin.close()
        stack.start_scheduler(0)
        for name in names:
            await log.wait_for("task.created", name=name)
        listed = pb.ListWebhookDeliveriesRequest(webhook_id=webhook_id, state=pb.DELIVERY_STATE_FAILED)
        assert (await client.webhooks.ListWebhookDeliveries(listed)).total == 0
