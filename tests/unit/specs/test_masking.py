"""Secrets: masked on the way out, kept when the mask comes back."""

from __future__ import annotations

import pytest

from foliot.v1.job_pb2 import JobSpec, JobTask
from foliot.v1.spec_pb2 import BinaryWork, CommandWork, FunctionWork, HttpWork, TaskSpec
from foliot_scheduler.specs.masking import MASK, mask_job_spec, mask_task_spec, unmask_job_spec, unmask_task_spec


def with_environment(**environment: str) -> TaskSpec:
    return TaskSpec(command=CommandWork(line="true", environment=environment))


def test_every_environment_value_is_masked() -> None:
    spec = with_environment(PASSWORD="hunter2", LANG="C", EMPTY="")
    mask_task_spec(spec)
    assert dict(spec.command.environment) == {"PASSWORD": MASK, "LANG": MASK, "EMPTY": MASK}


def test_the_environment_of_a_binary_is_masked_too() -> None:
    spec = TaskSpec(binary=BinaryWork(environment={"A": "b"}, url="https://user:pass@host/f"))
    mask_task_spec(spec)
    assert dict(spec.binary.environment) == {"A": MASK}
    assert spec.binary.url == f"https://user:{MASK}@host/f"


def test_headers_that_carry_credentials_are_masked_and_others_are_shown() -> None:
    spec = TaskSpec(http=HttpWork(url="http://h/?a:b@c", headers={"Authorization": "Bearer x", "X-Job": "invoice"}))
    mask_task_spec(spec)
    assert dict(spec.http.headers) == {"Authorization": MASK, "X-Job": "invoice"}
    assert spec.http.url == "http://h/?a:b@c"


def test_references_to_secrets_are_shown() -> None:
    spec = TaskSpec(http=HttpWork(headers={"Authorization": "secret://token"}, bearer_secret="secret://other"))
    before = spec.SerializeToString(deterministic=True)
    mask_task_spec(spec)
    assert spec.SerializeToString(deterministic=True) == before


def test_a_mask_keeps_the_stored_value_and_anything_else_replaces_it() -> None:
    spec = with_environment(KEPT=MASK, CHANGED="new", ADDED="x")
    unmask_task_spec(spec, with_environment(KEPT="old", CHANGED="old", DROPPED="old"))
    assert dict(spec.command.environment) == {"KEPT": "old", "CHANGED": "new", "ADDED": "x"}


def test_a_mask_without_a_stored_value_stays_for_the_rules_to_refuse() -> None:
    spec = with_environment(NEW=MASK)
    unmask_task_spec(spec, TaskSpec(function=FunctionWork(function="f")))
    assert dict(spec.command.environment) == {"NEW": MASK}


@pytest.mark.parametrize(
    "stored",
    [
        with_environment(A="1", B="2"),
        TaskSpec(binary=BinaryWork(environment={"A": "b"}, url="https://user:pass@host/f")),
        TaskSpec(http=HttpWork(url="https://u:p@h/x", headers={"cookie": "a=b", "x-api-key": "k", "accept": "*/*"})),
    ],
    ids=["command", "binary", "http"],
)
def test_what_was_shown_can_be_sent_back_unchanged(stored: TaskSpec) -> None:
    spec = TaskSpec()
    spec.CopyFrom(stored)
    mask_task_spec(spec)
    assert spec != stored
    unmask_task_spec(spec, stored)
    assert spec == stored


def test_the_tasks_of_a_job_keep_their_values_by_key() -> None:
    stored = JobSpec(tasks=[JobTask(key=key, spec=with_environment(A=key)) for key in ("a", "b")])
    spec = JobSpec(tasks=[JobTask(key=key, spec=with_environment(A="?")) for key in ("b", "c", "a")])
    mask_job_spec(spec)
    unmask_job_spec(spec, stored)
    assert {task.key: task.spec.command.environment["A"] for task in spec.tasks} == {"a": "a", "b": "b", "c": MASK}
