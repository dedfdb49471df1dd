"""A change by HTTP leaves a record with the caller's credential and the request's id, which admins of its project read."""

from __future__ import annotations

import grpc
import httpx
import pytest

from foliot.v1 import access_pb2, access_pb2_grpc
from tests.processes import Stack


def records(stack: Stack, key: str) -> list[access_pb2.AuditRecord]:
    with grpc.insecure_channel(stack.addresses[0]) as channel:
        access = access_pb2_grpc.AccessServiceStub(channel)
        metadata = (("authorization", f"ApiKey {key}"),)
        return list(access.ListAuditRecords(access_pb2.ListAuditRecordsRequest(), metadata=metadata, timeout=20).records)


def test_a_change_by_http_is_told_with_its_request_and_its_key(secured_stack: Stack) -> None:
    operator, admin = secured_stack.create_key("operator", "audited"), secured_stack.create_key("admin", "audited")
    headers = {"authorization": f"ApiKey {operator}", "x-request-id": "the-request"}
    job = {"name": "j", "schedule": "@daily", "command": "true"}
    answer = httpx.post(f"{secured_stack.chadburn_url}/api/v1/jobs", json=job, headers=headers, timeout=20)
    assert answer.is_success, answer.text
    made, *_ = records(secured_stack, admin)
    assert (made.method, made.request_id, made.project) == ("JobService/CreateJob", "the-request", "audited")
    assert made.role == access_pb2.ROLE_OPERATOR
    assert made.actor, "the id of the key"
    assert operator not in str(made)
    with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
        records(secured_stack, operator)
