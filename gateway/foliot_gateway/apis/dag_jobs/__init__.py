"""Document 1: jobs that are DAGs of tasks, with schedule, retry policy, trigger, status and history.

`api` declares the operations; `shapes` is their JSON; `to_contract` and `from_contract` translate it; `handlers` ask the
scheduler; `fields` gives its errors this API's words.
"""

from foliot_gateway.apis.dag_jobs.api import DAG_JOBS

__all__ = ["DAG_JOBS"]
