"""Who a request is charged to, whether it may pass, and what the response says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from foliot.kit.clock import Clock
from foliot.kit.errors import FoliotError
from foliot_gateway.http.callers import Caller, Callers
from foliot_gateway.http.client_address import Network, client_address
from foliot_gateway.http.fault import Fault, FaultError
from foliot_gateway.http.limits.gcra import WINDOW_S, Decision
from foliot_gateway.http.limits.limiter import Limiter

FREE_PATHS: Final = frozenset({b"/api/v1/health"})
"""What is never limited: those who watch over the service must hear from it also when it is busiest."""

FORWARDED_CHARS_MAX: Final = 512
"""How much of X-Forwarded-For is read, from its end, where the proxies write: a dozen addresses."""

_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Account:
    """Where a request is counted."""

    key: str
    limit: int


class Gate:
    """Admits requests, by the limit of their credential or, where there is none that is known, of their address."""

    def __init__(
        self,
        limiter: Limiter,
        callers: Callers,
        clock: Clock,
        *,
        limit: int,
        trusted_proxies: tuple[Network, ...] = (),
    ) -> None:
        """Take the default limit in requests a minute; 0 limits only credentials that have a limit of their own."""
        self._limiter = limiter
        self._callers = callers
        self._clock = clock
        self._limit = limit
        self._trusted_proxies = trusted_proxies

    async def admit(self, peer: str | None, raw_path: bytes, headers: Mapping[str, str]) -> Decision | None:
        """Count a request and decide on it; nothing where no limit applies."""
        address = self._address_account(peer, headers)
        authorization = headers.get("authorization", "")
        if raw_path in FREE_PATHS:
            account = self._known_account(authorization) or address
            if not account.limit:
                return None
            seen = self._limiter.peek(account.key, account.limit)
            return Decision(True, seen.limit, seen.level)
        account = address
        if authorization:
            account = self._known_account(authorization) or await self._found_account(authorization, address)
        return await self._limiter.take(account.key, account.limit) if account.limit else None

    def fields(self, decision: Decision) -> list[tuple[bytes, bytes]]:
        """Return the response header fields that tell of a decision.

        `X-RateLimit-*` as the `tasks` API documents them, and the fields of draft-ietf-httpapi-ratelimit-headers-10.
        """
        limit, remaining = decision.limit, decision.remaining
        reset_after_us = decision.reset_after_us
        reset_at_s = -(-(self._clock.now_us() + reset_after_us) // _US)
        return [
            (b"x-ratelimit-limit", b"%d" % limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % reset_at_s),
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (limit, WINDOW_S)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (remaining, -(-reset_after_us // _US))),
        ]

    def _address_account(self, peer: str | None, headers: Mapping[str, str]) -> _Account:
        # What is remembered of the callers' own text is bounded.
        forwarded_for = headers.get("x-forwarded-for", "")[-FORWARDED_CHARS_MAX:] if self._trusted_proxies else ""
        address = client_address(peer, forwarded_for, self._trusted_proxies)
        return _Account(f"address:{address}", self._limit)

    def _known_account(self, authorization: str) -> _Account | None:
        """Return the account of a caller who is known already and has one of its own."""
        caller = self._callers.known(authorization) if authorization else None
        return self._account(caller) if isinstance(caller, Caller) else None

    async def _found_account(self, authorization: str, address: _Account) -> _Account:
        """Return the account of a caller who has to be asked for; the address's for one who is not known then either."""
        if address.limit and not self._limiter.peek(address.key, address.limit).allowed:
            # Credentials that are made up cost a question each: not from an address that has used up its limit.
            return address
        try:
            caller = await self._callers.find(authorization)
        except (FoliotError, FaultError):
            return address
        return self._account(caller) or address

    def _account(self, caller: Caller) -> _Account | None:
        if not caller.subject:
            return None
        # A token's subject may be any text of any length, and the same one in two projects is two callers.
        name = hashlib.blake2b(f"{caller.project}\0{caller.subject}".encode(), digest_size=16).hexdigest()
        return _Account(f"caller:{name}", caller.requests_per_minute or self._limit)


def exceeded(decision: Decision) -> Fault:
    """Return the refusal of a request over the limit."""
    return Fault(
        status=429,
        code="rate_limited",
        detail=f"More than {decision.limit} requests a minute, which is the limit of these credentials or this address.",
        retry_after_s=decision.more_after_us / _US,
    )
