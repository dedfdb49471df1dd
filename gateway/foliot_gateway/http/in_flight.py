"""The requests that a gateway serves at once: more are told to come back, before their bodies are read.

Nearly all of them wait for a scheduler. One that has too much to do says so at once; one that is slow or away has them wait, and
then this bounds what they hold.
"""

from __future__ import annotations

from typing import Final

from foliot_gateway.http.fault import Fault, FaultError

REQUESTS_MAX: Final = 2_000
"""Requests at once: with some 50 KiB each, 100 MB."""

BYTES_MAX: Final = 256 * 1024 * 1024
"""What their bodies may have together, by what they declare."""

SMALL_BYTES: Final = 64 * 1024
"""A body of at most so many bytes is never refused for what others hold."""

WATCHERS_MAX: Final = 50
"""Places kept for those who watch over the service: who asks after its health must not take a busy gateway for a broken one."""

RETRY_S: Final = 1.0
"""When to come back."""


class InFlight:
    """Counts requests from their headers to the end of their answers."""

    def __init__(self, *, requests_max: int = REQUESTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Take how many there may be, and what their bodies may have together."""
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self.requests = 0
        self.size = 0

    def begin(self, size: int, *, watches: bool = False) -> None:
        """Count a request with a body of at most so many bytes; `watches` says that it asks after the service's health.

        Raises FaultError 503 if there is no room for it.
        """
        if self.requests >= self._requests_max + (WATCHERS_MAX if watches else 0):
            raise _overloaded(f"The gateway serves {self._requests_max} requests, which is as many as it can.")
        if size > SMALL_BYTES and self.size + size > self._bytes_max:
            raise _overloaded("The gateway serves as many large requests as it can.")
        self.requests += 1
        self.size += size

    def end(self, size: int) -> None:
        """Count it out."""
        self.requests -= 1
        self.size -= size


def body_size(headers: dict[str, str], bytes_max: int) -> int:
    """Return how many bytes a request's body may have: what it declares, the most that is taken if it does not, 0 without one."""
    declared = headers.get("content-length", "")
    if declared.isdigit():
        return min(int(declared), bytes_max)
    return bytes_max if "transfer-encoding" in headers else 0


def _overloaded(detail: str) -> FaultError:
    return FaultError(Fault(status=503, code="overloaded", detail=detail, retry_after_s=RETRY_S))
