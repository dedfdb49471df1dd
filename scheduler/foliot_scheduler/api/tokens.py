"""Tokens that others sign: JSON Web Tokens (RFC 7519), checked against a secret or a set of public keys.

Theory of operation. Which algorithm is right follows from the key that is configured, never from the token: a secret means
HS256, a public key of a set the one algorithm of its kind (see `key_sets.py`). So neither `none`, nor an HMAC made with a public
key as its secret, nor any other change of the header gets through. What the header is read for is the name of the key alone.

A token must have `exp`, a subject (`sub` or `user_id`), a project (`project_id` or `team_id`) and a known role (`role`, a text,
or `roles`, a list of texts). Of several roles the strongest counts, and `worker` only if it is the only known one. A token never
reaches every project: that takes an API key. A token that names an audience is refused unless one of those configured is among
them (RFC 7519, section 4.1.3).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import jwt
from jwt.exceptions import PyJWTError

from foliot.kit.errors import FoliotError
from foliot.kit.logs import get_logger
from foliot_scheduler.api.calls import check_project
from foliot_scheduler.core.access import Caller, strongest_role
from foliot_scheduler.core.types import Micros, Project

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from foliot.kit.clock import Clock

LEEWAY_US: Final = 10_000_000
"""How far the clocks of issuer and scheduler may differ."""

SUBJECT_CHARS_MAX: Final = 255
KEY_ID_CHARS_MAX: Final = 255
SECRET_BYTES_MIN: Final = 32
"""Of the secret of HS256: as many as its hash has (RFC 7518, section 3.2)."""

_INSTANT_MAX: Final = 253_402_300_799
"""The end of the year 9999, in seconds."""

log = get_logger(__name__)


class TrustedKey:
    """A key that tokens are checked with, and its one algorithm."""

    __slots__ = ("algorithm", "key")

    def __init__(self, algorithm: str, key: bytes | RSAPublicKey | EllipticCurvePublicKey) -> None:
        self.algorithm = algorithm
        self.key = key


class FindKey(Protocol):
    """Finds the key that a token says it is signed with."""

    async def find(self, key_id: str | None) -> TrustedKey | None:
        """Answer the key of a name; None if it is not known. A token may name none."""
        ...


class OneSecret:
    """A secret that issuer and scheduler share."""

    def __init__(self, secret: bytes) -> None:
        """Take the secret; raises ValueError for one that is too short."""
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the secret must have at least {SECRET_BYTES_MIN} bytes")
        self._key = TrustedKey("HS256", secret)

    async def find(self, key_id: str | None) -> TrustedKey:
        """See `FindKey`; whatever name a token gives, there is one secret."""
        return self._key


class _UntrustedError(Exception):
    """Why a token is not trusted, for the log of whoever runs the scheduler; callers are not told."""


class TokenChecker:
    """Says who tokens stand for."""

    def __init__(self, keys: FindKey, clock: Clock, *, audiences: Collection[str] = (), issuer: str | None = None) -> None:
        """Take the keys; the audiences of which a token must name one, and who must have issued it (None: anybody with a key)."""
        self._keys = keys
        self._clock = clock
        self._audiences = frozenset(audiences)
        self._issuer = issuer

    async def check(self, token: str) -> Caller | None:
        """See `CheckToken`."""
        try:
            return self._caller(await self._claims(token))
        except _UntrustedError as error:
            log.info("tokens.refused", reason=str(error))
        except (PyJWTError, ValueError, TypeError, RecursionError) as error:
            log.info("tokens.refused", reason=type(error).__name__)
        return None

    async def _claims(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        if "crit" in header:
            raise _UntrustedError("its header has extensions that must be understood")
        key_id = header.get("kid")
        if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARS_MAX):
            raise _UntrustedError("its key id is no text, or too long")
        key = await self._keys.find(key_id)
        if key is None:
            raise _UntrustedError("it is signed with an unknown key")
        # The claims are checked below, by our clock.
        options = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        claims: Mapping[str, Any] = jwt.decode(token, key.key, algorithms=[key.algorithm], options=options)  # type: ignore[arg-type] # a TypedDict
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        now = self._clock.now_us()
        expires = _instant(claims, "exp")
        if expires is None:
            raise _UntrustedError("it never expires")
        if expires + LEEWAY_US <= now:
            raise _UntrustedError("it has expired")
        begins = _instant(claims, "nbf")
        if begins is not None and begins - LEEWAY_US > now:
            raise _UntrustedError("its time has not begun")
        self._check_origin(claims)
        project = _text(claims, "project_id", "team_id")
        try:
            check_project("project_id", project)
        except FoliotError as error:
            raise _UntrustedError(error.message) from None
        role = strongest_role(_role_names(claims))
        if role is None:
            raise _UntrustedError("it names no role of ours")
        return Caller(_text(claims, "sub", "user_id"), Project(project), role, expires=Micros(expires + LEEWAY_US))

    def _check_origin(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [] if audience is None else [audience]
        if not all(isinstance(one, str) for one in named):
            raise _UntrustedError("its audience is no text")
        if (named or self._audiences) and self._audiences.isdisjoint(named):
            raise _UntrustedError("it is for another audience")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise _UntrustedError("somebody else issued it")


def _instant(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _INSTANT_MAX:
        raise _UntrustedError(f"its {name} is no instant")
    return int(value * 1_000_000)


def _text(claims: Mapping[str, Any], *names: str) -> str:
    """Read the first of several claims that is there; it must be a text."""
    for name in names:
        value = claims.get(name)
        if value is not None:
            if not isinstance(value, str) or not value or len(value) > SUBJECT_CHARS_MAX:
                raise _UntrustedError(f"its {name} is no text, empty or too long")
            return value
    raise _UntrustedError(f"it has no {names[0]}")


def _role_names(claims: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in ("role", "roles"):
        value = claims.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        found += [one for one in values if isinstance(one, str)]
    return found
