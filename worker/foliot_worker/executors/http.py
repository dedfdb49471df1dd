"""HTTP requests."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import httpcore
import httpx

from foliot.kit.clock import Clock
from foliot.kit.guarded_http import AddressRefusedError
from foliot.kit.logs import get_logger
from foliot.v1 import spec_pb2
from foliot.v1.spec_pb2 import HttpWork
from foliot.v1.worker_pb2 import Result
from foliot_worker.attempt import CANCELLED, FAILED, NON_RETRYABLE, OUTPUT_BYTES_MAX, SUCCEEDED, TIMED_OUT, Attempt
from foliot_worker.executors.outputs import cut_head
from foliot_worker.runner import Host
from foliot_worker.secrets import SCHEME, SecretError, Secrets

log = get_logger(__name__)

REDIRECTS_MAX: Final = 5
"""Redirects followed in a row; browsers follow 20, but a schedule's target has no business moving about."""

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500
_SEE_OTHER: Final = 303
_METHOD_BECOMES_GET: Final = frozenset({301, 302})

# Mistakes in the request itself, which do not get better by trying again.
_BAD_REQUEST: Final = (
    AddressRefusedError,
    SecretError,
    httpcore.LocalProtocolError,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    UnicodeError,
)
_TROUBLE: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpx.HTTPError,
    OSError,
)
"""What may go away by itself."""


class HttpExecutor:
    """Sends requests with a client that keeps to an address policy; the client is its own and closed with it."""

    def __init__(self, client: httpx.AsyncClient, secrets: Secrets, *, clock: Clock) -> None:
        self._client = client
        self._secrets = secrets
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Result]] = set()

    def start(self, attempt: Attempt, host: Host) -> None:
        """See `Executor.start`."""
        attempt.started_at_us = self._clock.now_us()
        host.watch(attempt)
        task = self._loop.create_task(self._request(attempt, cast("HttpWork", attempt.plan.work)), name="worker.http")
        attempt.state = task
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(attempt, host, ended))

    def stop(self, attempt: Attempt, grace_s: float) -> None:  # noqa: ARG002 -- nobody is there to be asked
        """See `Executor.stop`. A request ends at once."""
        task: asyncio.Task[Result] = attempt.state
        task.cancel()

    async def close(self) -> None:
        """See `Executor.close`."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def _ended(self, attempt: Attempt, host: Host, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        # A task that is cancelled before its first step never runs any of its code: so it is judged from outside.
        if task.cancelled():
            result = self._result(attempt, CANCELLED, "it was stopped")
        elif (error := task.exception()) is not None:
            # Whatever it was, the attempt has ended: one that is never reported would hold its slot for good.
            log.error("http.failed", exc_info=error)
            result = self._result(attempt, FAILED, f"{type(error).__name__}: {error}")
        else:
            result = task.result()
        host.report([result])

    async def _request(self, attempt: Attempt, work: HttpWork) -> Result:
        timeout_s = attempt.plan.timeout_s
        if work.HasField("request_timeout"):
            timeout_s = work.request_timeout.ToMicroseconds() / 1e6
        try:
            headers = self._headers(attempt, work)
            async with asyncio.timeout(timeout_s):
                response, body = await self._exchange(work, headers)
        except TimeoutError:
            return self._result(attempt, TIMED_OUT, f"no complete response within {timeout_s:g} s")
        except _BAD_REQUEST as error:
            return self._result(attempt, NON_RETRYABLE, str(error) or type(error).__name__)
        except _TROUBLE as error:
            return self._result(attempt, FAILED, f"{type(error).__name__}: {error}")
        outcome = outcome_of(response.status_code)
        error_text = ""
        if outcome != SUCCEEDED:
            error_text = f"HTTP status {response.status_code} {response.reason_phrase}".rstrip()
            if response.has_redirect_location:
                error_text += " (redirects to another host, and more than a few, are not followed)"
        return self._result(attempt, outcome, error_text, cut_head(body))

    def _headers(self, attempt: Attempt, work: HttpWork) -> httpx.Headers:
        expanded = self._secrets.expanded
        headers = httpx.Headers([(name, expanded(value)) for name, value in work.headers.items()])
        if work.bearer_secret:
            if not work.bearer_secret.startswith(SCHEME):
                raise SecretError(f"bearer_secret must begin with {SCHEME}")
            headers["authorization"] = f"Bearer {expanded(work.bearer_secret)}"
        if attempt.lease.traceparent and "traceparent" not in headers:
            headers["traceparent"] = attempt.lease.traceparent
        return headers

    async def _exchange(self, work: HttpWork, headers: httpx.Headers) -> tuple[httpx.Response, bytes]:
        """Send the request, follow redirects within the host, answer the response and its body up to just over the cap."""
        method, url, content = work.method or "GET", httpx.URL(work.url), work.body
        redirects = 0
        while True:
            request = self._client.build_request(method, url, headers=headers, content=content or None)
            response = await self._client.send(request, stream=True)
            try:
                target = next_url(url, response)
                if target is None or redirects == REDIRECTS_MAX:
                    return response, await _body(response)
            finally:
                # Closes the connection if the body was not read to its end: cheaper than reading what nobody wants.
                await response.aclose()
            status = response.status_code
            if status == _SEE_OTHER or (status in _METHOD_BECOMES_GET and method == "POST"):
                method, content = ("HEAD" if method == "HEAD" else "GET"), b""
            url = target
            redirects += 1

    def _result(self, attempt: Attempt, outcome: spec_pb2.Outcome.ValueType, error: str, output: bytes = b"") -> Result:
        return attempt.result(outcome, self._clock.now_us(), error=error, output=output)


def outcome_of(status: int) -> spec_pb2.Outcome.ValueType:
    """Answer what an HTTP status means for an attempt, as the contract's `Outcome` says."""
    if 200 <= status < 300:  # noqa: PLR2004 -- HTTP's own classes
        return SUCCEEDED
    if status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS:
        return FAILED
    return NON_RETRYABLE


def next_url(url: httpx.URL, response: httpx.Response) -> httpx.URL | None:
    """Answer where a redirect leads, if it stays on the host and does not give up encryption; else None."""
    if not response.has_redirect_location:
        return None
    target = url.join(response.headers["location"])
    same_origin = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    # From http to https on the usual ports: what servers answer that want to be spoken to over TLS.
    secured = target.host == url.host and (url.scheme, target.scheme, url.port, target.port) == (
        "http", "https", None, None,
    )  # fmt: skip
    return target if same_origin or secured else None


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > OUTPUT_BYTES_MAX:
            break
    return bytes(body)
