"""Document 5: schedules that call HTTP targets, their runs, dead letters and redrive.

`api` declares the operations; `shapes` is their JSON; `to_contract` and `from_contract` translate it; `handlers` ask the
scheduler; `fields` gives its errors this API's words; `identifiers` says how ids carry their project.
"""

from foliot_gateway.apis.schedules.api import SCHEDULES

__all__ = ["SCHEDULES"]
