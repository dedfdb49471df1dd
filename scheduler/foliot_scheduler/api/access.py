"""AccessService: API keys, who a caller is, and who changed what.

Keys are written to PostgreSQL by whichever replica takes the call: no decision of the engine depends on them, so they need
neither the leader nor its commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import access_pb2
from foliot_scheduler.api import messages
from foliot_scheduler.api.audits import wish_record
from foliot_scheduler.api.calls import check_project
from foliot_scheduler.api.credentials import new_secret
from foliot_scheduler.api.requests import PageTokens, api_key_id_of, bad_page_token, enum_of, page_size_of
from foliot_scheduler.api.wishes import not_found
from foliot_scheduler.core.access import ADMINISTER, ANY_PROJECT, ANYONE, Access
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.specs.enums import ROLE_NUMBERS, ROLES
from foliot_scheduler.specs.rules import Violations, check_range, check_text, check_timestamp, micros_of
from foliot_scheduler.store import api_keys, audit
from foliot_scheduler.store.api_keys import KEYS_MAX, ApiKeyRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import ServiceDescriptor

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.store.pool import Pool

NAME_BYTES_MAX: Final = 255
REQUESTS_PER_MINUTE_MAX: Final = 100_000_000
_ID_BYTES: Final = 16


class AccessService:
    """Serves foliot.v1.AccessService; a method for each RPC, which the contract documents."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = access_pb2.DESCRIPTOR.services_by_name["AccessService"]
    WRITES: ClassVar[frozenset[str]] = frozenset()
    ACCESS: ClassVar[Mapping[str, Access]] = {
        "CreateApiKey": ADMINISTER,
        "ListApiKeys": ADMINISTER,
        "RevokeApiKey": ADMINISTER,
        "ListAuditRecords": ADMINISTER,
        "GetCaller": ANYONE,
    }

    def __init__(self, *, store: Pool, clock: Clock, on_revoked: Callable[[], None]) -> None:
        """Take where keys are kept, and whom to tell that one was revoked."""
        self._store = store
        self._clock = clock
        self._on_revoked = on_revoked

    async def CreateApiKey(self, request: access_pb2.CreateApiKeyRequest, call: Call) -> access_pb2.CreateApiKeyResponse:
        """See the contract."""
        secret = new_secret(self._clock)
        key = self._new_key(request, call, hint=secret.hint)
        record = wish_record(self._clock, key.id, project=key.project)
        if not await api_keys.insert_key(self._store, key, secret.digest, record):
            message = f"the project has {KEYS_MAX:,} keys that work; revoke some first"
            raise FoliotError(ErrorReason.WRONG_STATE, message, metadata={"state": "full"})
        return access_pb2.CreateApiKeyResponse(api_key=messages.api_key_message(key), secret=secret.text)

    def _new_key(self, request: access_pb2.CreateApiKeyRequest, call: Call, *, hint: str) -> ApiKeyRow:
        now = Micros(self._clock.now_us())
        violations = Violations()
        check_text("name", request.name, NAME_BYTES_MAX, violations, required=True)
        check_range("requests_per_minute", request.requests_per_minute, violations, least=0, most=REQUESTS_PER_MINUTE_MAX)
        expires = None
        if request.HasField("expires_at"):
            check_timestamp("expires_at", request.expires_at, violations)
            expires = micros_of(request.expires_at)
            if not violations and expires <= now:
                violations.add("expires_at", "must be in the future", "out_of_range")
        violations.raise_if_any()
        role = enum_of("role", request.role, ROLES)
        return ApiKeyRow(
            id=self._clock.uuid7(),
            name=request.name,
            project=_project_of(request.project, call),
            role=role,
            hint=hint,
            created_at=now,
            expires_at=expires,
            revoked_at=None,
            requests_per_minute=request.requests_per_minute,
        )

    async def ListApiKeys(self, request: access_pb2.ListApiKeysRequest, call: Call) -> access_pb2.ListApiKeysResponse:
        """See the contract."""
        tokens = PageTokens(request)
        limit, end = page_size_of(request.page_size), tokens.read(request.page_token)
        if end and len(end) != _ID_BYTES:
            raise bad_page_token()
        found = await api_keys.list_keys(self._store, _reach(call), limit=limit + 1, end=end)
        page = found[:limit]
        return access_pb2.ListApiKeysResponse(
            api_keys=[messages.api_key_message(key) for key in page],
            next_page_token=tokens.write(page[-1].id if len(found) > limit else b""),
        )

    async def RevokeApiKey(self, request: access_pb2.RevokeApiKeyRequest, call: Call) -> access_pb2.RevokeApiKeyResponse:
        """See the contract."""
        key_id = api_key_id_of(request.api_key_id)
        record = wish_record(self._clock, key_id)
        key = await api_keys.revoke_key(self._store, key_id, _reach(call), now=Micros(self._clock.now_us()), record=record)
        if key is None:
            raise not_found("API key")
        self._on_revoked()
        return access_pb2.RevokeApiKeyResponse(api_key=messages.api_key_message(key))

    async def ListAuditRecords(
        self, request: access_pb2.ListAuditRecordsRequest, call: Call
    ) -> access_pb2.ListAuditRecordsResponse:
        """See the contract."""
        tokens = PageTokens(request)
        limit, end = page_size_of(request.page_size), tokens.read(request.page_token)
        if end and len(end) != _ID_BYTES:
            raise bad_page_token()
        found = await audit.list_records(self._store, _reach(call), limit=limit + 1, end=end)
        page = found[:limit]
        return access_pb2.ListAuditRecordsResponse(
            records=[messages.audit_record_message(record) for record in page],
            next_page_token=tokens.write(page[-1].id if len(found) > limit else b""),
        )

    async def GetCaller(self, request: access_pb2.GetCallerRequest, call: Call) -> access_pb2.GetCallerResponse:
        """See the contract."""
        caller = call.caller
        response = access_pb2.GetCallerResponse(
            authenticated=caller.authenticated,
            subject=caller.subject,
            project=call.project,
            any_project=caller.any_project,
            role=ROLE_NUMBERS[caller.role],
            requests_per_minute=caller.requests_per_minute,
        )
        messages.set_instant(response.expires_at, caller.expires)
        return response


def _reach(call: Call) -> Project | None:
    """The project whose keys a caller manages; None: every one's."""
    return None if call.caller.any_project else call.project


def _project_of(named: str, call: Call) -> Project:
    """The project of a new key: never more than its maker reaches."""
    if not named or (named == call.project and not call.caller.any_project):
        return call.project
    if not call.caller.any_project:
        raise FoliotError(ErrorReason.PERMISSION_DENIED, f"the credential is for the project {call.caller.project} alone")
    if named != ANY_PROJECT:
        check_project("project", named)
    return Project(named)
