"""`foliot audit`: shows who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from foliot.v1 import access_pb2
from foliot_gateway.cli.asking import ask, instant, print_json, print_table
from foliot_gateway.cli.keys import PAGE_SIZE, ROLE_NAMES

if TYPE_CHECKING:
    from foliot.client import Client
    from foliot_gateway.cli.settings import AuditSettings

_COLUMNS: Final = ("at", "project", "actor", "role", "method", "objects", "request_id")


def run(settings: AuditSettings) -> int:
    """Print the latest records of the caller's project, or of every project, newest first."""

    async def show(client: Client) -> None:
        found: list[dict[str, Any]] = []
        request = access_pb2.ListAuditRecordsRequest()
        while len(found) < settings.limit:
            request.page_size = min(PAGE_SIZE, settings.limit - len(found))
            page = await client.access.ListAuditRecords(request)
            found += [_shown(record) for record in page.records]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        if settings.json:
            print_json(found)
        else:
            print_table(_COLUMNS, [{**record, "objects": _in_brief(record)} for record in found])

    return ask(settings, "audit", show)


def _shown(record: access_pb2.AuditRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "at": instant(record.at),
        "project": record.project,
        "actor": record.actor or None,
        "role": ROLE_NAMES.get(record.role, str(record.role)),
        "method": record.method,
        "request_id": record.request_id or None,
        "object_ids": list(record.object_ids),
        "object_count": record.object_count,
    }


def _in_brief(record: dict[str, Any]) -> str:
    """Name the first of what was changed, and how many more there were."""
    more = record["object_count"] - 1
    return " ".join([*record["object_ids"][:1], *([f"and {more} more"] if more > 0 else [])])
