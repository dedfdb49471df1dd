"""Downloaded executables, kept by the SHA-256 of their contents.

A file gets its name and its execute bit only once its digest is right. Programs run as the same user as the worker, so one could
write over a kept file: a file whose inode, size or times differ from when it was verified is verified again before it is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpcore
import httpx

from foliot.kit.clock import Clock
from foliot.kit.guarded_http import AddressRefusedError
from foliot.kit.logs import get_logger
from foliot_worker.attempt import FAILED, SUCCEEDED
from foliot_worker.executors.http import REDIRECTS_MAX, outcome_of

_log = get_logger(__name__)

_READ_BYTES: Final = 1024 * 1024
_EXECUTABLE: Final = 0o500

_Signature = tuple[int, int, int, int]


class DownloadError(Exception):
    """An executable cannot be had; `retryable` says whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class Downloads:
    """A cache of at most `size_max` bytes, which also bounds one file. Used from the event loop's thread only.

    `client` keeps to the address policy and stays the caller's.
    """

    def __init__(self, directory: Path, client: httpx.AsyncClient, *, size_max: int, clock: Clock) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory.resolve()
        self._client = client
        self._size_max = size_max
        self._clock = clock
        self._verified: dict[str, _Signature] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._in_use: dict[str, int] = {}

    @contextlib.contextmanager
    def kept(self, digest: str) -> Iterator[None]:
        """Keep a digest's file from being evicted meanwhile."""
        self._in_use[digest] = self._in_use.get(digest, 0) + 1
        try:
            yield
        finally:
            self._in_use[digest] -= 1
            if not self._in_use[digest]:
                del self._in_use[digest]

    async def fetch(self, url: str, digest: str) -> str:
        """Answer the path of the executable with a SHA-256 (64 lower-case hexadecimal digits), downloading it if need be.

        Calls for one digest share one download. Raises `DownloadError`.
        """
        path = self._directory / digest
        verified = self._verified.get(digest)
        if verified is not None and verified == _signature(path):
            self._note_verified(digest, path)
            return str(path)
        task = self._fetching.get(digest)
        if task is None:
            task = asyncio.create_task(self._provide(url, digest, path), name="worker.download")
            self._fetching[digest] = task
            task.add_done_callback(lambda done: self._fetched(digest, done))
        # Shielded: one attempt's cancellation must not take the file from the others.
        await asyncio.shield(task)
        return str(path)

    async def close(self) -> None:
        """Give up downloads that go on."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetched(self, digest: str, task: asyncio.Task[None]) -> None:
        self._fetching.pop(digest, None)
        if not task.cancelled():
            task.exception()  # seen here, in case everyone who waited for it was cancelled

    async def _provide(self, url: str, digest: str, path: Path) -> None:
        if await asyncio.to_thread(_holds, path, digest):
            self._note_verified(digest, path)
            return
        part = self._directory / f"{digest}.{self._clock.random_bytes(4).hex()}.part"
        try:
            await self._download(url, digest, part)
            part.chmod(_EXECUTABLE)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._note_verified(digest, path)
        with self.kept(digest):
            self._evict()

    def _note_verified(self, digest: str, path: Path) -> None:
        """Remember what the file looks like, and that it was used now."""
        now_ns = self._clock.now_us() * 1_000  # finer than the time a file system notes by itself
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, ns=(now_ns, now_ns))
        signature = _signature(path)
        if signature is not None:
            self._verified[digest] = signature

    async def _download(self, url: str, digest: str, part: Path) -> None:
        hasher = hashlib.sha256()
        size = 0
        try:
            response = await self._get(httpx.URL(url))
            try:
                outcome = outcome_of(response.status_code)
                if outcome != SUCCEEDED:
                    message = f"the download was answered with HTTP status {response.status_code}"
                    raise DownloadError(message, retryable=outcome == FAILED)
                with part.open("xb") as file:
                    async for chunk in response.aiter_bytes(_READ_BYTES):
                        size += len(chunk)
                        if size > self._size_max:
                            raise DownloadError(f"the file has over {self._size_max} bytes", retryable=False)
                        hasher.update(chunk)
                        file.write(chunk)
            finally:
                await response.aclose()
        except (AddressRefusedError, httpx.InvalidURL, httpcore.UnsupportedProtocol, UnicodeError) as error:
            raise DownloadError(str(error), retryable=False) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpx.HTTPError, OSError) as error:
            raise DownloadError(f"the download failed: {type(error).__name__}: {error}", retryable=True) from error
        if hasher.hexdigest() != digest:
            message = f"the file's SHA-256 is {hasher.hexdigest()}, not {digest}: it was not run"
            raise DownloadError(message, retryable=False)

    async def _get(self, url: httpx.URL) -> httpx.Response:
        """Send the request and follow redirects to any host: the digest vouches for the file, and no secret goes along."""
        for _ in range(REDIRECTS_MAX):
            response = await self._client.send(self._client.build_request("GET", url), stream=True)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            url = url.join(response.headers["location"])
        raise DownloadError(f"the download was redirected over {REDIRECTS_MAX} times", retryable=False)

    def _evict(self) -> None:
        """Remove the least recently used files until the rest fits."""
        files = []
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        size = sum(entry[1] for entry in files)
        for _, file_size, path in sorted(files):
            if size <= self._size_max:
                return
            # A part is somebody's download, here or in another process of this data directory.
            if path.name not in self._in_use and path.suffix != ".part":
                path.unlink(missing_ok=True)
                self._verified.pop(path.name, None)
                size -= file_size


def _signature(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _holds(path: Path, digest: str) -> bool:
    """Answer whether the file has the digest; one that has another is removed."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    if found != digest:
        _log.warning("worker.cached_binary_changed", sha256=digest)
        path.unlink(missing_ok=True)
    return found == digest
