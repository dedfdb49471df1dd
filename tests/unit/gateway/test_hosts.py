"""Names that a gateway on the loopback answers to while nobody has to say who they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foliot.client import Client
from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot_gateway.http.callers import ANYBODY, Caller, Callers
from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.hosts import HostGuard


class Knowing(Callers):
    """Knows one answer to who calls."""

    def __init__(self, answer: Caller | FoliotError) -> None:
        super().__init__(Client("127.0.0.1:1"), ManualClock())  # never asked
        self._answer = answer

    async def find(self, authorization: str) -> Caller:
        if isinstance(self._answer, FoliotError):
            raise self._answer
        return self._answer


def guard(answer: Caller | FoliotError = ANYBODY) -> HostGuard:
    return HostGuard(Knowing(answer), ["tasks.example.com"])


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "localhost:8080", "LOCALHOST.:8080", "app.localhost:8080", "127.0.0.1:8080", "[::1]:8080", "10.1.2.3",
     "tasks.example.com", "Tasks.Example.COM:443"],
)  # fmt: skip
async def test_what_no_page_can_be_called_is_let_in(host: str) -> None:
    await guard().check(host, b"/jobs", "")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "x:y:z"],
)
async def test_a_name_that_a_page_may_have_is_refused_but_for_health(host: str) -> None:
    with pytest.raises(FaultError) as raised:
        await guard().check(host, b"/jobs", "ApiKey made-up")
    assert raised.value.fault.status == 403
    await guard().check(host, b"/api/v1/health", "")


@pytest.mark.parametrize(
    "answer",
    [replace(ANYBODY, authenticated=True, subject="key-a"), FoliotError(ErrorReason.UNAUTHENTICATED, "nobody knows you")],
)
async def test_where_credentials_are_asked_for_the_name_does_not_matter(answer: Caller | FoliotError) -> None:
    await guard(answer).check("proxied.example", b"/jobs", "")


async def test_while_nobody_can_say_whether_they_are_it_is_refused() -> None:
    with pytest.raises(FaultError):
        await guard(FoliotError(ErrorReason.NO_LEADER, "away")).check("evil.example", b"/jobs", "")
