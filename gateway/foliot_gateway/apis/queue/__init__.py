"""Document 4: a queue of binary jobs, which executors claim, keep alive by heartbeats, complete and fail; bulk calls; admin.

A job here is a binary task on its own, whichever API made it. `api` declares the operations; `shapes` is their JSON; `words`
are its statuses and priorities; `to_contract` and `from_contract` translate; the modules of handlers ask the scheduler;
`errors` gives its errors this API's shape and words.
"""

from foliot_gateway.apis.queue.api import QUEUE, queue_api

__all__ = ["QUEUE", "queue_api"]
