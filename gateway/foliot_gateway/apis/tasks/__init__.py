"""Document 2: single tasks with dependencies, priority, logs and checkpoints; workers; the system; webhooks.

`api` puts together the operations that the `…_operations` modules declare; the `…shapes` modules are their JSON; the
`…_handlers` modules ask the scheduler; `to_contract` and `from_contract` translate; `fields` gives the scheduler's errors
this API's words, `words` its states.
"""

from foliot_gateway.apis.tasks.api import TASKS

__all__ = ["TASKS"]
