"""The documented HTTP APIs, one module or package for each: its JSON shapes and its translation to the contract."""

from foliot_gateway.apis.chadburn import CHADBURN
from foliot_gateway.apis.dag_jobs import DAG_JOBS
from foliot_gateway.apis.queue import QUEUE
from foliot_gateway.apis.schedules import SCHEDULES
from foliot_gateway.apis.tasks import TASKS
from foliot_gateway.http.operation import Api

APIS: dict[str, Api] = {api.name: api for api in (DAG_JOBS, TASKS, CHADBURN, SCHEDULES, QUEUE)}
"""Every API by its name in the configuration."""
