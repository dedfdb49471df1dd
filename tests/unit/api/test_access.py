"""What each RPC asks of its caller: declared for every RPC of the contract, beside the service that answers it."""

from __future__ import annotations

import pytest

from foliot_scheduler.api.access import AccessService
from foliot_scheduler.api.interceptors import Service
from foliot_scheduler.api.jobs import JobService
from foliot_scheduler.api.runs import RunService
from foliot_scheduler.api.system import SystemService
from foliot_scheduler.api.tasks import TaskService
from foliot_scheduler.api.webhooks import WebhookService
from foliot_scheduler.api.workers import WorkerService
from foliot_scheduler.core.access import OPEN, READ, WORK, WRITE, Role

SERVICES: list[type[Service]] = [AccessService, JobService, RunService, SystemService, TaskService, WebhookService, WorkerService]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)
def test_every_rpc_says_who_may_call_it(service: type[Service]) -> None:
    assert set(service.ACCESS) == set(service.DESCRIPTOR.methods_by_name)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)
def test_what_changes_something_is_not_for_viewers(service: type[Service]) -> None:
    for method, access in service.ACCESS.items():
        if not method.startswith(("Get", "List", "Watch", "Preview", "Announce", "Count")):
            assert Role.VIEWER not in access.roles, method


def test_workers_only_work() -> None:
    allowed = {method for service in SERVICES for method, access in service.ACCESS.items() if Role.WORKER in access.roles}
    executors = {"ClaimTask", "HeartbeatTask", "CompleteTask", "FailTask"}
    assert allowed == executors | {"Work", "PushLogs", "GetCaller", "AnnounceGateway", "GetStatus"}


def test_only_the_status_is_open_to_everybody() -> None:
    assert {method for service in SERVICES for method, access in service.ACCESS.items() if access.open} == {"GetStatus"}


def test_roles_are_named_from_the_weakest() -> None:
    order = [Role.WORKER, Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for access in (READ, WRITE, WORK, OPEN):
        assert sorted(access.roles, key=order.index) == list(access.roles)
