"""Who calls: the scheduler's answer, remembered for a while for each Authorization header.

Only what the gateway itself needs to know is taken from here: whose rate limit counts, and which project is the
caller's own. What a caller may do is decided by the scheduler, at each call anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import grpc

from foliot.client import Client
from foliot.kit.clock import Clock
from foliot.kit.errors import FoliotError
from foliot.v1 import access_pb2
from foliot_gateway.http.backend import Backend

KNOWN_S: Final = 60.0
"""How long an answer is believed."""
REFUSED_S: Final = 5.0
"""How long a refusal is: short, because a key may be made, or a token's time begin, any moment."""
UNKNOWN_S: Final = 1.0
"""How long nobody is asked again after no scheduler could say."""
REMEMBERED_MAX: Final = 10_000
"""How many headers are remembered: about 5 MB."""
LOOK_UP_TIMEOUT_S: Final = 0.5
"""How long a request waits to learn who calls: many times what it takes, and less than a person notices."""

_REFUSALS: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls."""

    authenticated: bool
    """Whether a credential was checked; False where authentication is off."""
    subject: str
    """The key's id or the token's subject; empty where authentication is off."""
    project: str
    """The project that the call reaches."""
    any_project: bool
    """Whether it may name any project."""
    role: access_pb2.Role.ValueType
    """What it may do."""
    requests_per_minute: int
    """Its rate limit; 0: the gateway's default."""


ANYBODY: Final = Caller(
    authenticated=False, subject="", project="default", any_project=True, role=access_pb2.ROLE_ADMIN, requests_per_minute=0
)
"""Who calls a scheduler that knows no credentials."""


@dataclass(frozen=True, slots=True)
class _Entry:
    known: Caller | FoliotError
    until: float


class Callers:
    """The callers by Authorization header, of which only a hash is kept."""

    def __init__(self, client: Client, clock: Clock) -> None:
        """Take the scheduler."""
        self._client = client
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._asked: dict[bytes, asyncio.Event] = {}

    def known(self, authorization: str) -> Caller | FoliotError | None:
        """Return what is known of a caller, without asking: an error where it was refused or nobody could say."""
        digest = _digest(authorization)
        entry = self._entries.get(digest)
        if entry is None or entry.until <= self._clock.monotonic():
            return None
        self._entries.move_to_end(digest)
        return entry.known

    async def find(self, authorization: str) -> Caller:
        """Return the caller with this Authorization header, empty for none.

        Raises FoliotError: the scheduler's refusal, or that none can be asked; FaultError for a header that cannot be
        passed on. However many ask at once, the scheduler is asked once.
        """
        digest = _digest(authorization)
        while (found := self.known(authorization)) is None:
            asked = self._asked.get(digest)
            if asked is not None:
                # Whoever asks may give up; then there is no answer, and the next one asks.
                await asked.wait()
                continue
            self._asked[digest] = asked = asyncio.Event()
            try:
                self._remember(digest, await self._ask(authorization))
            finally:
                del self._asked[digest]
                asked.set()
        if isinstance(found, FoliotError):
            raise found.with_traceback(None)
        return found

    async def _ask(self, authorization: str) -> _Entry:
        backend = Backend.of(self._client, authorization=authorization, timeout_s=LOOK_UP_TIMEOUT_S)
        try:
            said = await backend.ask(backend.access.GetCaller, access_pb2.GetCallerRequest())
        except FoliotError as error:
            now = self._clock.monotonic()
            if error.code is grpc.StatusCode.UNIMPLEMENTED:
                return _Entry(ANYBODY, now + KNOWN_S)
            return _Entry(error, now + (REFUSED_S if error.code in _REFUSALS else UNKNOWN_S))
        believed_s = KNOWN_S
        if said.HasField("expires_at"):
            left_s = (said.expires_at.ToMicroseconds() - self._clock.now_us()) / 1_000_000
            believed_s = min(KNOWN_S, max(UNKNOWN_S, left_s))
        caller = Caller(
            authenticated=said.authenticated,
            subject=said.subject,
            project=said.project,
            any_project=said.any_project,
            role=said.role,
            requests_per_minute=said.requests_per_minute,
        )
        return _Entry(caller, self._clock.monotonic() + believed_s)

    def _remember(self, digest: bytes, entry: _Entry) -> None:
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        if len(self._entries) > REMEMBERED_MAX:
            self._entries.popitem(last=False)


def _digest(authorization: str) -> bytes:
    return hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
