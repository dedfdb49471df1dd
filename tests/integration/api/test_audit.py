"""Who changed what: each call that changes something leaves one record, in the change's own commit."""

from __future__ import annotations

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import format_uuid
from foliot.v1 import access_pb2, job_pb2, task_pb2, webhook_pb2
from foliot_scheduler.core.types import Project
from foliot_scheduler.store import audit
from foliot_scheduler.store.pool import Pool
from tests.integration.api.api_stack import Stack, new_task


async def records(stack: Stack, project: str = "") -> list[access_pb2.AuditRecord]:
    """All records, oldest first, page by page."""
    client = stack.acting_in(project) if project else stack.client
    request = access_pb2.ListAuditRecordsRequest(page_size=2)
    found: list[access_pb2.AuditRecord] = []
    while True:
        page = await client.access.ListAuditRecords(request)
        found += page.records
        if not page.next_page_token:
            return found[::-1]
        request.page_token = page.next_page_token


async def test_changes_leave_records_and_reads_leave_none(stack: Stack) -> None:
    client = stack.client
    task = await stack.submit()
    many = await client.tasks.SubmitTasks(task_pb2.SubmitTasksRequest(tasks=[new_task() for _ in range(3)]))
    await client.tasks.CancelTask(task_pb2.CancelTaskRequest(task_id=task.id))
    await client.tasks.GetTask(task_pb2.GetTaskRequest(task_id=task.id))
    spec = job_pb2.JobSpec(name="j", schedule=job_pb2.Schedule(cron="@daily"))
    job = (await client.jobs.CreateJob(job_pb2.CreateJobRequest(spec=spec))).job
    await client.jobs.PauseJob(job_pb2.PauseJobRequest(job_id=job.id))
    run = (await client.jobs.TriggerJob(job_pb2.TriggerJobRequest(job_id=job.id))).run
    await client.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id=job.id))
    found = await records(stack)
    assert [(one.method, list(one.object_ids), one.object_count) for one in found] == [
        ("TaskService/SubmitTask", [task.id], 1),
        ("TaskService/SubmitTasks", list(many.task_ids), 3),
        ("TaskService/CancelTask", [task.id], 1),
        ("JobService/CreateJob", [job.id], 1),
        ("JobService/PauseJob", [job.id], 1),
        ("JobService/TriggerJob", [run.id], 1),
        ("JobService/DeleteJob", [job.id], 1),
    ]
    assert {(one.actor, one.role, one.project) for one in found} == {("", access_pb2.ROLE_ADMIN, "default")}
    assert found[0].at.ToMicroseconds() == task.created_at.ToMicroseconds()


async def test_what_workers_report_leaves_none(stack: Stack) -> None:
    await stack.submit()
    await stack.run_one()
    assert [one.method for one in await records(stack)] == ["TaskService/SubmitTask"]


async def test_what_is_refused_or_repeated_leaves_none(stack: Stack) -> None:
    request = task_pb2.SubmitTaskRequest(task=new_task(), idempotency_key="once")
    first = await stack.client.tasks.SubmitTask(request)
    again = await stack.client.tasks.SubmitTask(request)
    assert again.task.id == first.task.id
    await stack.client.tasks.CancelTask(task_pb2.CancelTaskRequest(task_id=first.task.id))
    with pytest.raises(FoliotError) as refused:
        await stack.client.tasks.CancelTask(task_pb2.CancelTaskRequest(task_id=first.task.id))
    assert refused.value.reason is ErrorReason.WRONG_STATE
    assert [one.method for one in await records(stack)] == ["TaskService/SubmitTask", "TaskService/CancelTask"]


async def test_changes_that_need_no_leader_leave_records_too(stack: Stack) -> None:
    made = await stack.client.access.CreateApiKey(
        access_pb2.CreateApiKeyRequest(name="k", project="acme", role=access_pb2.ROLE_VIEWER)
    )
    await stack.client.access.RevokeApiKey(access_pb2.RevokeApiKeyRequest(api_key_id=made.api_key.id))
    acme = stack.acting_in("acme")
    webhook = (await acme.webhooks.CreateWebhook(webhook_pb2.CreateWebhookRequest(url="http://127.0.0.1:1/"))).webhook
    tested = (await acme.webhooks.TestWebhook(webhook_pb2.TestWebhookRequest(webhook_id=webhook.id))).delivery
    redeliver = webhook_pb2.RedeliverWebhookRequest(webhook_id=webhook.id, delivery_id=tested.id)
    await acme.webhooks.RedeliverWebhook(redeliver)
    assert [(one.method, list(one.object_ids), one.project) for one in await records(stack)] == [
        ("AccessService/CreateApiKey", [made.api_key.id], "acme"),
        ("AccessService/RevokeApiKey", [made.api_key.id], "acme"),
        ("WebhookService/CreateWebhook", [webhook.id], "acme"),
        ("WebhookService/TestWebhook", [tested.id], "acme"),
        ("WebhookService/RedeliverWebhook", [tested.id], "acme"),
    ]


async def test_a_request_is_named_as_its_caller_does(stack: Stack, pool: Pool) -> None:
    request = task_pb2.SubmitTaskRequest(task=new_task())
    await stack.client.tasks.SubmitTask(request, metadata=(("foliot-request-id", "r" * 200),))
    (record,) = await records(stack)
    assert record.request_id == "r" * 128
    assert await pool.fetchval("SELECT count(*) FROM audit_record") == 1


async def test_a_page_that_is_none_of_this_list_is_refused(stack: Stack) -> None:
    with pytest.raises(FoliotError) as caught:
        await stack.client.access.ListAuditRecords(access_pb2.ListAuditRecordsRequest(page_token="AAAA"))
    assert [violation.field for violation in caught.value.fields] == ["page_token"]


async def test_admins_of_one_project_read_its_records_alone_and_others_all_in_order(stack: Stack, pool: Pool) -> None:
    made = []
    for project in ("a", "b", "c", "a", "b"):
        task = await stack.acting_in(project).tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=new_task()))
        made.append((project, task.task.id))
    assert [(one.project, one.object_ids[0]) for one in await records(stack)] == made
    for project in ("a", "c", "d"):
        found = await audit.list_records(pool, Project(project), limit=10)
        assert [format_uuid(one.ids) for one in reversed(found)] == [task_id for owner, task_id in made if owner == project]
