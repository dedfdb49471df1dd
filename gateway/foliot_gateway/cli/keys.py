"""`foliot keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from foliot.client import Client, Tls
from foliot.kit.clock import SystemClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.tls import client_tls
from foliot.v1 import access_pb2
from foliot_gateway.cli.starting import naming_options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from foliot_gateway.cli.settings import CreateKeySettings, KeysSettings, RevokeKeySettings

PAGE_SIZE: Final = 1_000

HINT_AFTER_S: Final = 2.0
"""When to say that nobody answers: a call goes on trying for 30 s, as a fail-over may take, and people should know why."""

_ROLES: Final = {
    "viewer": access_pb2.ROLE_VIEWER,
    "operator": access_pb2.ROLE_OPERATOR,
    "admin": access_pb2.ROLE_ADMIN,
    "worker": access_pb2.ROLE_WORKER,
}
_ROLE_NAMES: Final = {number: name for name, number in _ROLES.items()}


def create(settings: CreateKeySettings) -> int:
    """Make a key and print its secret, this once."""

    async def run(client: Client) -> None:
        request = access_pb2.CreateApiKeyRequest(
            name=settings.name,
            project=settings.project or "",
            role=_ROLES[settings.role],
            requests_per_minute=settings.requests_per_minute,
        )
        if settings.expires is not None:
            request.expires_at.FromDatetime(SystemClock().now() + settings.expires)
        # Making a key is not repeated; this is, and finds a replica that answers.
        await client.access.GetCaller(access_pb2.GetCallerRequest())
        made = await client.access.CreateApiKey(request)
        shown = {**_shown(made.api_key), "secret": made.secret}
        if settings.json:
            _print_json(shown)
            return
        _print_fields(shown)
        sys.stdout.write("\nThe secret is not stored and cannot be shown again. Send it as: Authorization: ApiKey <secret>\n")

    return _run(settings, run)


def list_(settings: KeysSettings) -> int:
    """Print every key of the caller's project, newest first."""

    async def run(client: Client) -> None:
        found: list[dict[str, Any]] = []
        request = access_pb2.ListApiKeysRequest(page_size=PAGE_SIZE)
        while True:
            page = await client.access.ListApiKeys(request)
            found += [_shown(key) for key in page.api_keys]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        if settings.json:
            _print_json(found)
        else:
            _print_table(found)

    return _run(settings, run)


def revoke(settings: RevokeKeySettings) -> int:
    """End a key."""

    async def run(client: Client) -> None:
        answer = await client.access.RevokeApiKey(access_pb2.RevokeApiKeyRequest(api_key_id=settings.api_key_id))
        if settings.json:
            _print_json(_shown(answer.api_key))
        else:
            sys.stdout.write(f"revoked {answer.api_key.id} ({answer.api_key.name}); every replica refuses it within 5 s\n")

    return _run(settings, run)


def _run(settings: KeysSettings, work: Callable[[Client], Coroutine[None, None, None]]) -> int:
    addresses = [str(address) for address in settings.scheduler]

    def say_what_takes_long() -> None:
        sys.stderr.write(f"foliot keys: no answer from {', '.join(addresses)} yet, trying again\n")

    async def run() -> None:
        hint = asyncio.get_running_loop().call_later(HINT_AFTER_S, say_what_takes_long)
        tls = Tls.of(client_tls(settings.tls_ca, settings.tls_cert, settings.tls_key))
        async with Client(addresses, credentials=settings.api_key, tls=tls) as client:
            await work(client)
        hint.cancel()

    try:
        with naming_options():
            asyncio.run(run())
    except FoliotError as error:
        where = f" ({', '.join(addresses)} as --scheduler)" if error.reason is ErrorReason.NO_LEADER else ""
        sys.stderr.write(f"foliot keys: error: {error.message}{where}\n")
        return 1
    return 0


def _shown(key: access_pb2.ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "project": key.project,
        "role": _ROLE_NAMES.get(key.role, str(key.role)),
        "hint": key.hint,
        "created_at": _instant(key.created_at),
        "expires_at": _instant(key.expires_at) if key.HasField("expires_at") else None,
        "revoked_at": _instant(key.revoked_at) if key.HasField("revoked_at") else None,
        "requests_per_minute": key.requests_per_minute,
    }


def _instant(stamp: Timestamp) -> str:
    return stamp.ToJsonString()


def _print_json(shown: object) -> None:
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


def _print_fields(shown: Mapping[str, Any]) -> None:
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        sys.stdout.write(f"{name:{width}}  {_text(value)}\n")


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("id", "name", "project", "role", "hint", "created_at", "expires_at", "revoked_at")
    table = [columns, *([_text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(columns))]
    for line in table:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _text(value: object) -> str:
    """Write a value for a terminal: a name must not move the cursor or forge a line."""
    return "-" if value is None else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))
