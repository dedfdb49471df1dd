"""Sets of public keys (JWKS, RFC 7517): read from a file or fetched over HTTP, and kept while their source is away.

Theory of operation. The set is read when the scheduler starts, again every REFRESH_S, and when a token names a key that is
not in it, but not more often than every UNKNOWN_EVERY_S: an issuer that has begun to use a new key is understood at once, and
somebody who makes up key ids cannot have us ask without end. A set that cannot be read leaves the last one in force.

A key is taken for what it is: RSA of at least 2,048 bits for RS256, the curve P-256 for ES256. Keys of other kinds, for other
uses, or with another algorithm's name are left out; so is every symmetric one, which has no place in a public set.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from foliot.kit.lifecycle import Part
from foliot.kit.logs import get_logger
from foliot_scheduler.api.tokens import KEY_ID_CHARS_MAX, TrustedKey

if TYPE_CHECKING:
    from foliot.kit.clock import Clock

REFRESH_S: Final = 600.0
"""How often the set is read again, so that a key taken out of it ends."""

UNKNOWN_EVERY_S: Final = 10.0
"""How long after a reading a token with an unknown key id does not cause another."""

FETCH_TIMEOUT_S: Final = 5.0
SET_BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 100
"""Of one set; issuers have a handful."""

RSA_BITS_MIN: Final = 2048
"""RFC 7518, section 3.3."""

RSA_BITS_MAX: Final = 8192
"""A key of a hundred thousand bits would make each check take a second."""

log = get_logger(__name__)


class KeySet(Part):
    """The public keys that an issuer signs with."""

    def __init__(self, source: str | Path, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Take a URL, or a file's path; `transport` stands in for the network."""
        super().__init__("api.key_set")
        self._source = source
        self._clock = clock
        self._transport = transport
        self._keys: dict[str | None, TrustedKey] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def on_start(self) -> None:
        """Read the set. A file must be good, raises ValueError or OSError; a URL may be away for now."""
        if isinstance(self._source, Path):
            self._keys = parse_key_set(self._read_file(self._source))
            self._read_at = self._clock.monotonic()
        else:
            await self.refresh()

    async def run(self) -> None:
        """Read the set again and again."""
        while True:
            await self._clock.sleep(REFRESH_S)
            await self.refresh()

    async def find(self, key_id: str | None) -> TrustedKey | None:
        """See `FindKey`. A token without a key id is signed with the only key there is."""
        found = self._known(key_id)
        if found is not None or not self._may_ask():
            return found
        async with self._reading:
            if self._may_ask():
                await self._read()
        return self._known(key_id)

    async def refresh(self) -> None:
        """Read the set now; if that fails, the last one stays in force."""
        async with self._reading:
            await self._read()

    def _known(self, key_id: str | None) -> TrustedKey | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _may_ask(self) -> bool:
        return self._read_at is None or self._clock.monotonic() - self._read_at >= UNKNOWN_EVERY_S

    async def _read(self) -> None:
        # Before the attempt: one that takes long and fails counts as much as any other.
        self._read_at = self._clock.monotonic()
        try:
            if isinstance(self._source, Path):
                raw = self._read_file(self._source)
            else:
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    raw = await self._fetch(self._source)
            self._keys = parse_key_set(raw)
        except (OSError, ValueError, TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("key_set.not_read", source=str(self._source), error=str(error) or type(error).__name__)

    def _read_file(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(SET_BYTES_MAX + 1)

    async def _fetch(self, url: str) -> bytes:
        read = bytearray()
        async with (
            httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False, transport=self._transport) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"the answer has status {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) > SET_BYTES_MAX:
                    break
        return bytes(read)


def parse_key_set(raw: bytes) -> dict[str | None, TrustedKey]:
    """Read a set; keys that are not for checking tokens are left out. Raises ValueError for what is no set, or has none."""
    if len(raw) > SET_BYTES_MAX:
        raise ValueError(f"a set of keys may have {SET_BYTES_MAX // 1024} KiB at most")
    try:
        entries = json.loads(raw)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("is no JSON Web Key Set") from None
    if not isinstance(entries, list) or len(entries) > KEYS_MAX:
        raise ValueError(f"is no JSON Web Key Set of at most {KEYS_MAX} keys")
    found: dict[str | None, TrustedKey] = {}
    for entry in entries:
        key = _key_of(entry) if isinstance(entry, dict) else None
        if key is not None:
            found[entry.get("kid")] = key
    if not found:
        raise ValueError("has no key for RS256 (RSA of 2,048 to 8,192 bits) or ES256 (P-256)")
    return found


def _key_of(entry: dict[str, Any]) -> TrustedKey | None:
    key_id = entry.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= KEY_ID_CHARS_MAX):
        return None
    if entry.get("use", "sig") != "sig":
        return None
    # The public members alone: a set that was published with its private half by mistake is no secret of ours to hold.
    public: dict[str, Any] = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
    try:
        match entry.get("kty"), entry.get("crv"), entry.get("alg"):
            case "RSA", _, None | "RS256":
                rsa = RSAAlgorithm.from_jwk(public)
                if isinstance(rsa, RSAPublicKey) and RSA_BITS_MIN <= rsa.key_size <= RSA_BITS_MAX:
                    return TrustedKey("RS256", rsa)
            case "EC", "P-256", None | "ES256":
                curve = ECAlgorithm.from_jwk(public)
                if isinstance(curve, EllipticCurvePublicKey) and isinstance(curve.curve, SECP256R1):
                    return TrustedKey("ES256", curve)
            case _:
                return None
    except (PyJWTError, ValueError, TypeError):
        return None
    return None
