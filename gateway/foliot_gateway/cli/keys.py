"""`foliot keys`: makes, lists and revokes API keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from foliot.kit.clock import SystemClock
from foliot.v1 import access_pb2
from foliot_gateway.cli.asking import ask, instant, print_json, print_table, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foliot.client import Client
    from foliot_gateway.cli.settings import CreateKeySettings, KeysSettings, RevokeKeySettings

PAGE_SIZE: Final = 1_000

_COLUMNS: Final = ("id", "name", "project", "role", "hint", "created_at", "expires_at", "revoked_at")

_ROLES: Final = {
    "viewer": access_pb2.ROLE_VIEWER,
    "operator": access_pb2.ROLE_OPERATOR,
    "admin": access_pb2.ROLE_ADMIN,
    "worker": access_pb2.ROLE_WORKER,
}
ROLE_NAMES: Final = {number: name for name, number in _ROLES.items()}


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
            print_json(shown)
            return
        _print_fields(shown)
        sys.stdout.write("\nThe secret is not stored and cannot be shown again. Send it as: Authorization: ApiKey <secret>\n")

    return ask(settings, "keys", run)


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
            print_json(found)
        else:
            print_table(_COLUMNS, found)

    return ask(settings, "keys", run)


def revoke(settings: RevokeKeySettings) -> int:
    """End a key."""

    async def run(client: Client) -> None:
        answer = await client.access.RevokeApiKey(access_pb2.RevokeApiKeyRequest(api_key_id=settings.api_key_id))
        if settings.json:
            print_json(_shown(answer.api_key))
        else:
            sys.stdout.write(f"revoked {answer.api_key.id} ({answer.api_key.name}); every replica refuses it within 5 s\n")

    return ask(settings, "keys", run)


def _shown(key: access_pb2.ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "project": key.project,
        "role": ROLE_NAMES.get(key.role, str(key.role)),
        "hint": key.hint,
        "created_at": instant(key.created_at),
        "expires_at": instant(key.expires_at) if key.HasField("expires_at") else None,
        "revoked_at": instant(key.revoked_at) if key.HasField("revoked_at") else None,
        "requests_per_minute": key.requests_per_minute,
    }


def _print_fields(shown: Mapping[str, Any]) -> None:
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        sys.stdout.write(f"{name:{width}}  {text_of(value)}\n")
