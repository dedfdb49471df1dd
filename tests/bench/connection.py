"""One HTTP/1.1 connection that costs the benchmark little: a client library takes as long for a request as the gateway does."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Connection:
    """A connection that is kept open, as an async context manager; one request at a time."""

    def __init__(self, url: str) -> None:
        """Take the service's address."""
        self._address = urlsplit(url)

    async def __aenter__(self) -> Self:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._writer.close()

    async def send(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Send JSON and answer the status and the body of the response."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        raw = await self._reader.readuntil(b"\r\n\r\n")
        first, *fields = raw.decode("latin-1").split("\r\n")
        length = next((int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length:")), 0)
        return int(first.split()[1]), await self._reader.readexactly(length)

    async def ask(self, method: str, path: str, body: bytes, status: int) -> Any:
        """Send JSON and answer the JSON of a response of this status; None for an empty one."""
        found, content = await self.send(method, path, body)
        assert found == status, f"{method} {path}: {found} {content[:500]!r}"
        return json.loads(content) if content else None
