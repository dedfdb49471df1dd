"""What clients ask for, as messages of the contract; nothing is sent here."""

from __future__ import annotations

import json
from typing import Final

from foliot.v1 import job_pb2, spec_pb2, task_pb2
from tests.chaos.history import Node

RULES: Final = {
    "all_success": spec_pb2.TRIGGER_RULE_ALL_SUCCESS,
    "all_done": spec_pb2.TRIGGER_RULE_ALL_DONE,
    "one_success": spec_pb2.TRIGGER_RULE_ONE_SUCCESS,
    "one_failed": spec_pb2.TRIGGER_RULE_ONE_FAILED,
    "none_failed": spec_pb2.TRIGGER_RULE_NONE_FAILED,
    "always": spec_pb2.TRIGGER_RULE_ALWAYS,
}

POLICIES: Final = {
    "allow": job_pb2.CONCURRENCY_POLICY_ALLOW,
    "forbid": job_pb2.CONCURRENCY_POLICY_FORBID,
    "queue": job_pb2.CONCURRENCY_POLICY_QUEUE,
}

DIAMOND: Final = {
    "top": Node(),
    "left": Node(("top",)),
    "right": Node(("top",)),
    "bottom": Node(("left", "right")),
}
"""Fans out and in again."""

RULED: Final = {
    "well": Node(),
    "badly": Node(),
    "mends": Node(("well", "badly"), "one_failed"),
    "after": Node(("well", "badly"), "all_done"),
    "one": Node(("well", "badly"), "one_success"),
    "all": Node(("well", "badly")),
    "clean": Node(("well", "one"), "none_failed"),
    "anyway": Node(("badly",), "always"),
}
"""Has every trigger rule, and a task, `badly`, that fails for good."""

FAILING: Final = "badly"
"""The task of `RULED` that fails."""

_ALWAYS: Final = 1_000
"""More attempts than anything has."""


def function(name: str, *, seconds: float = 0.0, fail_first: int = 0, steps: int = 0, attempts: int = 3) -> spec_pb2.TaskSpec:
    """A task of the worker program."""
    given = json.dumps({"seconds": seconds, "fail_first": fail_first, "steps": steps})
    spec = spec_pb2.TaskSpec(name=name, function=spec_pb2.FunctionWork(function="chaos.work", input_json=given))
    spec.checkpoint_enabled = steps > 0
    spec.retry.max_attempts = attempts
    spec.retry.initial_backoff.FromMilliseconds(200)
    spec.retry.max_backoff.FromSeconds(1)
    spec.timeout.FromSeconds(60)
    return spec


def command(name: str, line: str) -> spec_pb2.TaskSpec:
    """A task that is a command."""
    spec = spec_pb2.TaskSpec(name=name, command=spec_pb2.CommandWork(line=line))
    spec.timeout.FromSeconds(60)
    return spec


def new_task(spec: spec_pb2.TaskSpec, parents: list[str] | None = None) -> task_pb2.NewTask:
    """A task to submit, that waits for others."""
    return task_pb2.NewTask(spec=spec, dependencies=parents or [])


def graph_job(name: str, nodes: dict[str, Node], *, seconds: float) -> job_pb2.JobSpec:
    """A job of function tasks without a schedule."""
    spec = job_pb2.JobSpec(name=name)
    for key, node in nodes.items():
        failing = key == FAILING
        work = function(key, seconds=seconds, fail_first=_ALWAYS if failing else 0, attempts=1 if failing else 3)
        spec.tasks.add(key=key, dependencies=node.parents, trigger_rule=RULES[node.rule], spec=work)
    return spec


def scheduled_job(name: str, policy: str, *, seconds: float) -> job_pb2.JobSpec:
    """A job of one function task that fires every second."""
    spec = job_pb2.JobSpec(name=name)
    spec.tasks.add(key="tick", spec=function("tick", seconds=seconds))
    spec.schedule.cron = "* * * * * *"
    spec.schedule.concurrency_policy = POLICIES[policy]
    return spec
