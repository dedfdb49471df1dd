from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from foliot.kit.errors import ErrorReason, FieldViolation, FoliotError
from foliot.v1 import job_pb2, run_pb2, spec_pb2
from foliot_gateway.apis.dag_jobs import examples, from_contract, shapes, to_contract
from foliot_gateway.apis.dag_jobs.fields import rename, translate_error
from foliot_gateway.apis.dag_jobs.identifiers import JOB
from foliot_gateway.http import times
from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.foliot_fault import translate

UUID = "0192f0c1-7a3e-7cc0-8a51-0d4c5e6f7a8b"


def policy_of(**fields: Any) -> spec_pb2.RetryPolicy:
    return to_contract.retry_policy(msgspec.convert(fields, shapes.RetryPolicy), "retryPolicy")


def task_of(**fields: Any) -> job_pb2.JobTask:
    task = msgspec.json.decode(json.dumps({"id": "t", **fields}), type=shapes.NewTask)
    return to_contract.job_tasks([task], stored={})[0]


def test_the_contract_and_back_gives_the_documented_job() -> None:
    new = msgspec.json.decode(json.dumps(examples.NEW_JOB), type=shapes.NewJob)
    stored = job_pb2.Job(id=UUID, spec=to_contract.job_spec(new), version=1, state=job_pb2.JOB_STATE_ACTIVE)
    stored.created_at.FromJsonString("2026-03-01T08:00:00Z")
    stored.updated_at.FromJsonString("2026-03-01T08:00:00Z")
    stored.next_due_at.FromJsonString("2026-03-02T05:00:00Z")
    stored.levels.add(keys=["extract"])
    stored.levels.add(keys=["report"])
    assert stored.spec.surface == "dag_jobs"
    assert json.loads(msgspec.json.encode(from_contract.job(stored))) == examples.JOB


@pytest.mark.parametrize(
    ("kind", "outcomes"),
    [
        ("ON_FAILURE", [spec_pb2.OUTCOME_FAILED]),
        ("ALWAYS", [spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_TIMED_OUT, spec_pb2.OUTCOME_NON_RETRYABLE]),
    ],
)
def test_types_of_retries_name_their_outcomes(kind: str, outcomes: list[int]) -> None:
    policy = policy_of(type=kind)
    assert list(policy.retry_on) == outcomes
    assert policy.max_attempts == 4
    assert (policy.initial_backoff.seconds, policy.multiplier, policy.max_backoff.seconds) == (1, 2, 60)
    assert not policy.HasField("jitter")
    assert from_contract.retry_policy(policy).type == kind


def test_no_retries_are_one_attempt() -> None:
    assert policy_of(type="NONE") == spec_pb2.RetryPolicy(max_attempts=1)
    assert from_contract.retry_policy(policy_of(type="NONE")).type == "NONE"
    with pytest.raises(FaultError) as raised:
        policy_of(type="NONE", maxRetries=2)
    assert raised.value.fault.fields[0].field == "retryPolicy.maxRetries"


def test_zero_retries_keep_their_type() -> None:
    for kind in ("ON_FAILURE", "ALWAYS"):
        policy = policy_of(type=kind, maxRetries=0)
        assert policy.max_attempts == 1
        assert (from_contract.retry_policy(policy).type, from_contract.retry_policy(policy).max_retries) == (kind, 0)


def test_durations_are_exact_to_the_microsecond() -> None:
    for seconds in (0.000001, 0.1, 1.5, 59.999999, 2_592_000.0):
        assert times.seconds(times.duration(seconds)) == seconds


def test_metadata_stays_as_it_was_written() -> None:
    text = '{"big": 123456789012345678901234567890, "exact": 1.10, "a": "\\u00e9"}'
    new = msgspec.json.decode(f'{{"name": "x", "metadata": {text}}}', type=shapes.NewJob)
    assert to_contract.job_spec(new).metadata_json == text


@pytest.mark.parametrize("kind", ["command", "http", "binary", "function"])
def test_null_work_is_no_work(kind: str) -> None:
    assert task_of(**{kind: None}).spec.WhichOneof("work") is None


def test_a_json_body_gets_its_content_type_unless_one_is_named() -> None:
    url = "https://example.com"
    assert dict(task_of(http={"url": url, "body": {"a": 1}}).spec.http.headers) == {"Content-Type": "application/json"}
    named = task_of(http={"url": url, "body": {"a": 1}, "headers": {"content-type": "application/ld+json"}})
    assert dict(named.spec.http.headers) == {"content-type": "application/ld+json"}
    text = task_of(http={"url": url, "body": '{"a": 1}'})
    assert (text.spec.http.body, dict(text.spec.http.headers)) == (b'{"a": 1}', {})


def test_a_change_of_a_task_keeps_what_this_api_cannot_say() -> None:
    before = job_pb2.JobTask(key="t")
    before.spec.queue = "gpu"
    before.spec.labels["zone"] = "a"
    before.spec.command.line = "old"
    before.spec.timeout.seconds = 5
    changed = to_contract.changed_task(shapes.TaskChange(function="count"), before)
    assert (changed.spec.queue, dict(changed.spec.labels)) == ("gpu", {"zone": "a"})
    assert changed.spec.WhichOneof("work") == "function"
    assert changed.spec.timeout.seconds == 5
    replaced = to_contract.job_tasks([shapes.NewTask(id="t")], stored={"t": before})[0]
    assert replaced.spec.queue == "gpu"
    assert replaced.spec.WhichOneof("work") is None
    assert not replaced.spec.HasField("timeout")


def test_environment_values_are_masked_whatever_the_scheduler_sends() -> None:
    task = task_of(command={"line": "x", "environment": {"KEY": "value"}})
    shown = from_contract.task(task).command
    assert isinstance(shown, shapes.Command)
    assert shown.environment == {"KEY": shapes.MASK}


def test_every_state_has_a_status() -> None:
    for state in spec_pb2.TaskState.values():
        run = run_pb2.Run(id=UUID, tasks=[run_pb2.RunTask(key="a", state=state)])
        assert from_contract.execution(run).tasks[0].status
    for run_state in run_pb2.RunState.values():
        assert from_contract.execution_record(run_pb2.Run(id=UUID, state=run_state)).status


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("spec.name", "name"),
        ("spec.tasks", "tasks"),
        ("spec.tasks[3].key", "tasks[3].id"),
        ("spec.tasks[3].spec.timeout", "tasks[3].timeoutSeconds"),
        ("spec.tasks[3].dependencies[0]", "tasks[3].dependencies[0]"),
        ("spec.tasks[0].spec.command.environment['a.b']", "tasks[0].command.environment['a.b']"),
        ("spec.tasks[0].spec.command.working_directory", "tasks[0].command.workingDirectory"),
        ("spec.tasks[0].spec.http.request_timeout", "tasks[0].http.timeoutSeconds"),
        ("spec.tasks[0].spec.function.function", "tasks[0].function.name"),
        ("spec.tasks[0].spec.function.input_json", "tasks[0].function.input"),
        ("spec.schedule.cron", "schedule"),
        ("spec.schedule.timezone", "timezone"),
        ("spec.retry.max_attempts", "retryPolicy.maxRetries"),
        ("spec.metadata_json", "metadata"),
        ("task.spec.priority", "priority"),
        ("task.key", "id"),
        ("task.spec.retry.initial_backoff", "retryPolicy.backoffSeconds"),
        ("idempotency_key", "Idempotency-Key"),
        ("page_size", "limit"),
    ],
)
def test_fields_are_named_as_this_api_names_them(path: str, shown: str) -> None:
    assert rename(path) == shown


def test_ids_have_one_spelling() -> None:
    assert JOB.uuid(JOB.shown(UUID)) == UUID
    for wrong in (UUID, f"job-{UUID.upper()}", f"job-{UUID}x", "job-", "", f"exec-{UUID}", f"job-job-{UUID}"):
        with pytest.raises(FaultError) as raised:
            JOB.uuid(wrong)
        assert raised.value.fault.status == 404


def test_every_reason_has_a_status_of_its_own_kind() -> None:
    for reason in ErrorReason:
        fault = translate(FoliotError(reason, "why"), rule_status=422, rename=str)
        assert 400 <= fault.status < 600
        assert (fault.retry_after_s is not None) is (fault.status in {429, 503})
        assert (fault.code == "internal") is (reason in {ErrorReason.INTERNAL, ErrorReason.UNSPECIFIED})


def test_facts_come_out_as_lists() -> None:
    cycle = FoliotError(ErrorReason.DEPENDENCY_CYCLE, "a cycle", metadata={"path": "a -> b -> a"})
    assert translate_error(cycle).facts == {"path": ["a", "b", "a"]}
    held = FoliotError(ErrorReason.HAS_DEPENDENTS, "held", metadata={"ids": "b,c"})
    assert translate_error(held).facts == {"tasks": ["b", "c"]}
    cut = FoliotError(ErrorReason.HAS_DEPENDENTS, "held", metadata={"ids": "b,c,half", "truncated": "true"})
    assert translate_error(cut).facts == {"tasks": ["b", "c"]}
    conflict = FoliotError(ErrorReason.VERSION_CONFLICT, "old", metadata={"version": "7"})
    assert translate_error(conflict).facts == {"version": 7}


def test_a_deleted_job_is_not_found() -> None:
    error = FoliotError(ErrorReason.WRONG_STATE, "deleted", metadata={"state": "JOB_STATE_DELETED"})
    assert translate_error(error).status == 404


def test_bad_fields_are_told_in_words() -> None:
    violation = FieldViolation("spec.tasks[0].spec.timeout", "must be more than 0", "out_of_range")
    fault = translate_error(FoliotError(ErrorReason.INVALID_FIELD, "spec.…", fields=[violation]))
    assert (fault.status, fault.detail) == (422, "`tasks[0].timeoutSeconds`: must be more than 0.")
