"""Changes of a stored job: named fields, and one task added, replaced or removed."""

from __future__ import annotations

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import CommandWork, RetryPolicy, TaskSpec
from foliot_scheduler.specs.job_changes import add_task, delete_task, merge_job, replace_task
from foliot_scheduler.specs.masking import MASK


def stored() -> JobSpec:
    return JobSpec(
        name="old",
        tags=["a", "b"],
        schedule=Schedule(cron="@daily"),
        retry=RetryPolicy(max_attempts=3),
        tasks=[
            JobTask(key="first", spec=TaskSpec(command=CommandWork(line="x", environment={"TOKEN": "secret"}))),
            JobTask(key="second", dependencies=["first"]),
        ],
    )


def test_only_named_fields_change() -> None:
    merged = merge_job(stored(), JobSpec(name="new", tags=["c"], description="left out"), ["name", "tags"])
    expected = stored()
    expected.name = "new"
    del expected.tags[:]
    expected.tags.append("c")
    assert merged == expected


def test_a_named_field_that_is_not_set_is_cleared() -> None:
    merged = merge_job(stored(), JobSpec(), ["schedule", "retry", "tags"])
    assert not merged.HasField("schedule")
    assert not merged.HasField("retry")
    assert not merged.tags


def test_replaced_tasks_keep_masked_secrets() -> None:
    update = JobSpec(tasks=[JobTask(key="first", spec=TaskSpec(command=CommandWork(line="y", environment={"TOKEN": MASK})))])
    merged = merge_job(stored(), update, ["tasks"])
    assert len(merged.tasks) == 1
    assert (merged.tasks[0].spec.command.line, merged.tasks[0].spec.command.environment["TOKEN"]) == ("y", "secret")


@pytest.mark.parametrize(("names", "field"), [([], "update_fields"), (["name", "surface"], "update_fields[1]")])
def test_update_fields_must_name_known_fields(names: list[str], field: str) -> None:
    with pytest.raises(FoliotError) as caught:
        merge_job(stored(), JobSpec(), names)
    assert [violation.field for violation in caught.value.fields] == [field]


def test_an_added_task_comes_last() -> None:
    merged = add_task(stored(), JobTask(key="third", dependencies=["second"]))
    assert [task.key for task in merged.tasks] == ["first", "second", "third"]


def test_an_added_task_has_a_key_of_its_own() -> None:
    with pytest.raises(FoliotError) as caught:
        add_task(stored(), JobTask(key="first"))
    assert caught.value.reason is ErrorReason.DUPLICATE_KEY
    assert caught.value.metadata == {"ids": "first"}


def test_an_added_task_that_breaks_a_rule_is_named_by_the_request() -> None:
    with pytest.raises(FoliotError) as caught:
        add_task(stored(), JobTask(key="x", spec=TaskSpec(command=CommandWork())))
    assert [violation.field for violation in caught.value.fields] == ["task.spec.command.line"]


def test_a_replaced_task_stays_in_its_place_and_keeps_masked_secrets() -> None:
    fresh = JobTask(key="first", spec=TaskSpec(command=CommandWork(line="z", environment={"TOKEN": MASK})))
    merged = replace_task(stored(), fresh)
    assert [task.key for task in merged.tasks] == ["first", "second"]
    assert (merged.tasks[0].spec.command.line, merged.tasks[0].spec.command.environment["TOKEN"]) == ("z", "secret")
    assert fresh.spec.command.environment["TOKEN"] == MASK


def test_a_task_that_is_not_there_is_not_replaced() -> None:
    with pytest.raises(FoliotError) as caught:
        replace_task(stored(), JobTask(key="ghost"))
    assert caught.value.reason is ErrorReason.NOT_FOUND


def test_a_replacing_task_needs_a_key() -> None:
    with pytest.raises(FoliotError) as caught:
        replace_task(stored(), JobTask())
    assert [violation.field for violation in caught.value.fields] == ["task.key"]


def test_a_removed_task_is_gone() -> None:
    assert [task.key for task in delete_task(stored(), "second").tasks] == ["first"]


def test_a_task_that_others_depend_on_stays() -> None:
    with pytest.raises(FoliotError) as caught:
        delete_task(stored(), "first")
    assert caught.value.reason is ErrorReason.HAS_DEPENDENTS
    assert caught.value.metadata == {"ids": "second"}


def test_a_task_that_is_not_there_is_not_removed() -> None:
    with pytest.raises(FoliotError) as caught:
        delete_task(stored(), "ghost")
    assert caught.value.reason is ErrorReason.NOT_FOUND
