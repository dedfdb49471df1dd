"""Credentials: the text form of API keys, and who a credential stands for, remembered for a short while.

Theory of operation. A credential is checked once and its caller remembered under the SHA-256 of what was sent, so that the
calls of a busy client cost a hash and a look into a dictionary. What is remembered counts for KEPT_S, and is read again then: so
a revoked key is refused by every replica within that time, without anybody being told. What was refused is remembered too, in
a place of its own: somebody who tries secret after secret pushes out nobody's credentials but their own guesses.

Credentials that were good when they were looked up last have look-ups of their own: they wait for one another alone, and are no
more than are remembered. All others share a few, and of those only so many may wait; more are told to come back. So a flood of
guesses neither fills the memory nor keeps those out who are known.

Secrets are never written anywhere: not to logs, not to errors, not to the database.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import format_uuid
from foliot_scheduler.core.access import ANY_PROJECT, Caller, Role

if TYPE_CHECKING:
    from foliot.kit.clock import Clock
    from foliot_scheduler.store.api_keys import ApiKeyRow

SECRET_PREFIX: Final = "fol_"  # noqa: S105 -- by which people and scanners know a key of ours
SECRET_BYTES: Final = 32
"""Drawn at random: as many as the hash has, and beyond all guessing."""

HINT_CHARS: Final = len(SECRET_PREFIX) + 4
"""Of the secret that is kept in clear, to tell keys apart; what is hidden still has more than 200 bits."""

AUTHORIZATION_CHARS_MAX: Final = 6 * 1024
"""The longest credential: gRPC refuses header blocks over 8 KiB, and a token of this length says a lot."""

KEPT_S: Final = 2.5
"""How long a checked credential counts without being looked up again. With RECHECK_S it keeps the promise that a revoked key ends
within 5 s everywhere, streams included."""

RECHECK_S: Final = 2.0
"""How often the credential of an open stream is looked at again."""

CALLERS_MAX: Final = 10_000
"""Callers, and refused credentials, that are remembered: some 5 MB each."""

LOOK_UPS_MAX: Final = 2
"""Credentials that are looked up in PostgreSQL at once, of those that are known and of the others: each a quarter of a replica's
connections."""

WAITING_MAX: Final = 1_000
"""Unknown credentials that may be on their way to be looked up: half a second of look-ups."""

OVERLOADED_RETRY_S: Final = 1.0
"""When to come back with one where so many wait."""

_SECRET: Final = re.compile(rf"{SECRET_PREFIX}[A-Za-z0-9_-]{{43}}")
_REQUIRED: Final = "credentials are required: Authorization: ApiKey <key>, or Bearer <token>"
_REFUSED: Final = "the credentials are wrong, have expired or were revoked"

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

FindKey = Callable[[bytes], Awaitable["ApiKeyRow | None"]]
"""Reads the key whose secret has a SHA-256. Raises StoreError."""


class CheckToken(Protocol):
    """Checks tokens that others sign."""

    async def check(self, token: str) -> Caller | None:
        """Answer who a token stands for; None if it is not to be trusted."""
        ...


class Secret(NamedTuple):
    """A new API key's secret, and what is kept of it."""

    text: str
    digest: bytes
    hint: str


def new_secret(clock: Clock) -> Secret:
    """Draw the secret of a new key."""
    drawn = clock.random_bytes(SECRET_BYTES)
    text = SECRET_PREFIX + base64.urlsafe_b64encode(drawn).decode().rstrip("=")
    return Secret(text, digest_of(text), text[:HINT_CHARS])


def digest_of(secret: str) -> bytes:
    """The hash under which a secret is known."""
    return hashlib.sha256(secret.encode()).digest()


def unauthenticated(message: str = _REFUSED) -> FoliotError:
    """The error for a credential that is missing or not to be trusted; it says no more, to tell guessers nothing."""
    return FoliotError(ErrorReason.UNAUTHENTICATED, message)


class _Remembered(NamedTuple):
    caller: Caller
    until_s: float
    """By the monotonic clock."""


class Authenticator:
    """Says who credentials stand for: API keys, tokens, and the keys that an installation begins with."""

    def __init__(
        self,
        find_key: FindKey,
        clock: Clock,
        *,
        tokens: CheckToken | None = None,
        bootstrap_key: str | None = None,
        worker_key: str | None = None,
        size_max: int = CALLERS_MAX,
    ) -> None:
        """Take where keys are found, who checks tokens (None: none are taken), and the keys that stand in settings."""
        self._find_key = find_key
        self._clock = clock
        self._tokens = tokens
        fixed = ((bootstrap_key, BOOTSTRAP), (worker_key, WORKERS))
        self._fixed = tuple((digest_of(key), caller) for key, caller in fixed if key is not None)
        self._size_max = size_max
        self._callers: dict[bytes, _Remembered] = {}
        self._refused: dict[bytes, float] = {}
        self._looking: dict[bytes, asyncio.Event] = {}
        self._room_for_known = asyncio.Semaphore(LOOK_UPS_MAX)
        self._room_for_others = asyncio.Semaphore(LOOK_UPS_MAX)
        self._others = 0
        """Unknown credentials that are being looked up, or wait for it."""

    async def __call__(self, authorization: str) -> Caller:
        """See `Authenticate`."""
        if not authorization:
            raise unauthenticated(_REQUIRED)
        if len(authorization) > AUTHORIZATION_CHARS_MAX:
            raise unauthenticated(f"the credentials are longer than {AUTHORIZATION_CHARS_MAX} characters")
        known = digest_of(authorization)
        while True:
            remembered = self._callers.get(known)
            now_s = self._clock.monotonic()
            if remembered is not None and now_s < remembered.until_s:
                caller = remembered.caller
                if caller.expires is None or self._clock.now_us() < caller.expires:
                    return caller
                raise unauthenticated()
            if now_s < self._refused.get(known, 0.0):
                raise unauthenticated()
            under_way = self._looking.get(known)
            if under_way is None:
                return await self._look_up(authorization, known)
            # The calls of one client come together when what is remembered has grown old: one look serves them all.
            await under_way.wait()

    def forget(self) -> None:
        """Look up every credential anew: one was revoked here, and the next call is to notice."""
        for known, (caller, _) in self._callers.items():
            self._callers[known] = _Remembered(caller, float("-inf"))

    async def _look_up(self, authorization: str, known: bytes) -> Caller:
        is_known = known in self._callers
        if not is_known and self._others >= WAITING_MAX:
            message = "too many unknown credentials wait to be looked up"
            raise FoliotError(ErrorReason.OVERLOADED, message, retry_after_s=OVERLOADED_RETRY_S)
        done = self._looking[known] = asyncio.Event()
        self._others += not is_known
        try:
            async with self._room_for_known if is_known else self._room_for_others:
                caller = await self._check(authorization)
        finally:
            self._others -= not is_known
            del self._looking[known]
            done.set()
        until_s = self._clock.monotonic() + KEPT_S
        if caller is None:
            self._callers.pop(known, None)
            _put(self._refused, known, until_s, self._size_max)
            raise unauthenticated()
        _put(self._callers, known, _Remembered(caller, until_s), self._size_max)
        return caller

    async def _check(self, authorization: str) -> Caller | None:
        """Answer who a credential stands for; None if for nobody."""
        scheme, _, credential = authorization.partition(" ")
        scheme, credential = scheme.lower(), credential.strip()
        if scheme not in {"apikey", "bearer"} or not credential:
            return None
        digest = digest_of(credential)
        for known, caller in self._fixed:
            if hmac.compare_digest(digest, known):
                return caller
        # Clients that know one scheme only send keys as bearer tokens (RFC 6750 says nothing of a token's form).
        if _SECRET.fullmatch(credential):
            key = await self._find_key(digest)
            return None if key is None else caller_of(key, self._clock.now_us())
        if scheme == "bearer" and self._tokens is not None:
            return await self._tokens.check(credential)
        return None


BOOTSTRAP: Final = Caller("bootstrap", ANY_PROJECT, Role.ADMIN)
"""Who has the key that an installation begins with."""

WORKERS: Final = Caller("workers", ANY_PROJECT, Role.WORKER)
"""Who has the key that an installation's workers begin with."""


def caller_of(key: ApiKeyRow, now_us: int) -> Caller | None:
    """Answer who has a key; None if it was revoked or has expired."""
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now_us):
        return None
    return Caller(format_uuid(key.id), key.project, key.role, key.requests_per_minute, key.expires_at)


def _put(held: dict[KeyT, ValueT], key: KeyT, value: ValueT, size_max: int) -> None:
    """Remember something as the latest; where there is no room, the one that was learnt first goes."""
    held.pop(key, None)
    if len(held) >= size_max:
        del held[next(iter(held))]
    held[key] = value
