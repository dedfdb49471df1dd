"""The gateway's own paths, on every listener: whether it can serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import system_pb2
from foliot_gateway.http.fault import Fault
from foliot_gateway.http.foliot_fault import RETRY_AFTER_DEFAULT_S, translate
from foliot_gateway.http.operation import Api, Call, NoBody, NoQuery, Operation, Reply, ReplyDoc
from foliot_gateway.http.problem import ProblemShape

HEALTH_TIMEOUT_S: Final = 2.0
"""How long a health check waits for the scheduler: shorter than the usual deadlines of load balancers (3 to 5 s)."""


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the service can take work."""

    status: Annotated[Literal["healthy", "unhealthy"], Meta(description="`healthy`: a replica leads, and PostgreSQL answers.")]
    database: Annotated[
        Literal["connected", "disconnected", "unknown"],
        Meta(description="Whether PostgreSQL answers; `unknown` where no scheduler could be asked."),
    ]
    reason: Annotated[str, Meta(description="Why it is unhealthy.")] = ""


async def get_health(call: Call[NoQuery, NoBody]) -> Reply:
    """`GET /api/v1/health`: 200 if a replica leads and PostgreSQL answers, 503 otherwise."""
    try:
        # As nobody: this answers everybody, also those whose credential is no longer good.
        backend = replace(call.backend, metadata=())
        found = await backend.ask(backend.system.GetStatus, system_pb2.GetStatusRequest(), timeout_s=HEALTH_TIMEOUT_S)
    except FoliotError as error:
        if error.reason is ErrorReason.DATABASE_UNAVAILABLE:
            return _unhealthy("disconnected", "PostgreSQL does not answer.")
        return _unhealthy("unknown", "No scheduler answers.")
    if found.database != "connected":
        return _unhealthy("disconnected", "PostgreSQL does not answer.")
    if not found.leader:
        return _unhealthy("connected", "No scheduler leads.")
    return Reply(status=200, body=Health(status="healthy", database="connected"))


def _unhealthy(database: Literal["connected", "disconnected", "unknown"], reason: str) -> Reply:
    return Reply(
        status=503,
        body=Health(status="unhealthy", database=database, reason=reason),
        headers={"retry-after": str(round(RETRY_AFTER_DEFAULT_S))},
    )


def _translate(error: FoliotError) -> Fault:
    return translate(error, rule_status=400, rename=str)


HEALTH: Final = Operation(
    method="GET",
    path="/api/v1/health",
    name="getHealth",
    tag="System",
    summary="Check the service's health",
    handler=get_health,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="The service can take work.",
            body=Health,
            example={"status": "healthy", "database": "connected"},
        ),
        ReplyDoc(
            status=503,
            description="It cannot at the moment.",
            body=Health,
            example={"status": "unhealthy", "database": "connected", "reason": "No scheduler leads."},
            headers={"Retry-After": "When to ask again, in seconds."},
        ),
    ),
)
"""Also an operation of the API whose document has it: see mounting."""

SYSTEM: Final = Api(
    name="system",
    title="System",
    description="Whether the service can take work.",
    claims=("/", HEALTH.path),
    operations=(HEALTH,),
    parameters={},
    errors=ProblemShape(),
    translate=_translate,
    rule_status=400,
)
