"""Document 3: cron jobs that run one command, and their executions.

`api` declares the operations; `shapes` is their JSON; `to_contract` and `from_contract` translate it; `handlers` ask the
scheduler; `fields` gives its errors this API's words.
"""

from foliot_gateway.apis.chadburn.api import CHADBURN

__all__ = ["CHADBURN"]
