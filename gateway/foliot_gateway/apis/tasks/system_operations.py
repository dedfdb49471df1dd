"""The declaration of the operations on the system."""

from __future__ import annotations

from typing import Any, Final

from foliot_gateway.apis.tasks import examples, system_handlers
from foliot_gateway.apis.tasks import system_shapes as shapes
from foliot_gateway.apis.tasks.envelopes import One
from foliot_gateway.http.operation import NoBody, NoQuery, Operation, ReplyDoc

TAG: Final = "System status and metrics"

SYSTEM_OPERATIONS: Final[tuple[Operation[Any, Any], ...]] = (
    Operation(
        method="GET",
        path="/api/system/status",
        name="getSystemStatus",
        tag=TAG,
        summary="Get the status of the system",
        description="As the replica that is asked sees it. 200 whatever the status is; 503 where no replica answers.",
        handler=system_handlers.get_status,
        query=NoQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The status.", body=One[shapes.SystemStatus], example=examples.SYSTEM_STATUS),),
    ),
    Operation(
        method="GET",
        path="/api/system/metrics",
        name="getSystemMetrics",
        tag=TAG,
        summary="Get metrics over time",
        description="Of the caller's tasks.",
        handler=system_handlers.get_metrics,
        query=shapes.MetricsQuery,
        body=NoBody,
        replies=(ReplyDoc(status=200, description="The metrics.", body=shapes.MetricsAnswer, example=examples.METRICS),),
    ),
)
