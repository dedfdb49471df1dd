"""The declaration of `tasks`: its operations, from which both its routes and its part of the OpenAPI document are made."""

from __future__ import annotations

from typing import Final

from foliot_gateway.apis.tasks import examples
from foliot_gateway.apis.tasks.fields import RULE_STATUS, translate_error
from foliot_gateway.apis.tasks.system_operations import SYSTEM_OPERATIONS
from foliot_gateway.apis.tasks.task_operations import TASK_OPERATIONS
from foliot_gateway.apis.tasks.webhook_operations import WEBHOOK_OPERATIONS
from foliot_gateway.apis.tasks.worker_operations import WORKER_OPERATIONS
from foliot_gateway.http.envelope import EnvelopeShape
from foliot_gateway.http.operation import Api, PathParameter

TASKS: Final = Api(
    name="tasks",
    title="Tasks",
    description="Single tasks with dependencies, priority, logs and checkpoints; workers; the system; webhooks.",
    claims=("/api",),
    operations=(*TASK_OPERATIONS, *WORKER_OPERATIONS, *SYSTEM_OPERATIONS, *WEBHOOK_OPERATIONS),
    parameters={
        "id": PathParameter(description="The task's id.", example=examples.TASK_ID),
        "worker_id": PathParameter(description="The worker's id.", example=examples.WORKER_ID),
        "webhook_id": PathParameter(description="The webhook's id.", example=examples.WEBHOOK_ID),
        "delivery_id": PathParameter(description="The delivery's id.", example=examples.DELIVERY_ID),
    },
    errors=EnvelopeShape(),
    translate=translate_error,
    rule_status=RULE_STATUS,
)
