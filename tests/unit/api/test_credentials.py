"""API keys: their text, who they stand for, and how long that is remembered."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from foliot.kit.clock import ManualClock
from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.api import credentials
from foliot_scheduler.api.credentials import (
    AUTHORIZATION_CHARS_MAX,
    KEPT_S,
    LOOK_UPS_MAX,
    RECHECK_S,
    Authenticator,
    new_secret,
)
from foliot_scheduler.core.access import ANY_PROJECT, Caller, Role
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store.api_keys import ApiKeyRow
from foliot_scheduler.store.errors import StoreUnavailable

KEY = ApiKeyRow(b"\x07" * 16, "ci", Project("acme"), Role.OPERATOR, "fol_abcd", Micros(1), None, None, 60)
CALLER = Caller("07070707-0707-0707-0707-070707070707", Project("acme"), Role.OPERATOR, 60)
BOOTSTRAP_KEY = "b" * 32
WORKER_KEY = "w" * 32


class Keys:
    """The table of keys, in memory."""

    def __init__(self, clock: ManualClock) -> None:
        self.secret = new_secret(clock)
        self.row: ApiKeyRow | None = KEY
        self.looked_up = 0
        self.away = False
        self.gate: asyncio.Event | None = None
        self.busy = self.most_busy = 0

    async def find(self, digest: bytes) -> ApiKeyRow | None:
        self.looked_up += 1
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        if self.gate is not None:
            await self.gate.wait()
        self.busy -= 1
        if self.away:
            raise StoreUnavailable("gone")
        return self.row if digest == self.secret.digest else None


class World:
    """An authenticator, and what it stands on."""

    def __init__(self, size_max: int = 100) -> None:
        self.clock = ManualClock()
        self.keys = Keys(self.clock)
        self.authenticate = Authenticator(
            self.keys.find, self.clock, bootstrap_key=BOOTSTRAP_KEY, worker_key=WORKER_KEY, size_max=size_max
        )
        self.good = f"ApiKey {self.keys.secret.text}"

    async def refused(self, authorization: str) -> FoliotError:
        with pytest.raises(FoliotError) as caught:
            await self.authenticate(authorization)
        assert caught.value.reason is ErrorReason.UNAUTHENTICATED
        assert "fol_" not in caught.value.message
        return caught.value


@pytest.fixture
def world() -> World:
    return World()


def wrong_key(number: int) -> str:
    return f"ApiKey fol_{number:043d}"


def test_a_secret_has_a_mark_and_32_random_bytes() -> None:
    first, second = (new_secret(ManualClock(seed=seed)) for seed in (1, 2))
    assert first.text.startswith("fol_")
    assert len(first.text) == 47
    assert first.text != second.text
    assert first.digest == hashlib.sha256(first.text.encode()).digest()
    assert first.text.startswith(first.hint)
    assert len(first.hint) == 8


@pytest.mark.parametrize("scheme", ["ApiKey", "apikey", "APIKEY", "Bearer", "bearer"])
async def test_a_key_is_taken_under_either_scheme(world: World, scheme: str) -> None:
    assert await world.authenticate(f"{scheme} {world.keys.secret.text}") == CALLER


@pytest.mark.parametrize(
    "authorization",
    [
        "ApiKey",
        "ApiKey ",
        "Basic dXNlcjpwYXNz",
        "fol_",
        "ApiKey fol_short",
        "ApiKey fol_" + "ü" * 43,
        "ApiKey fol_" + "a" * 44,
        "ApiKey ' OR 1=1 --",
        "Bearer not.a.token",
        "Bearer " + "b" * 33,
    ],
)
async def test_what_is_no_key_is_refused_without_looking(world: World, authorization: str) -> None:
    await world.refused(authorization)
    assert world.keys.looked_up == 0


async def test_a_call_without_credentials_is_told_what_to_send(world: World) -> None:
    assert "Authorization: ApiKey" in (await world.refused("")).message


async def test_a_huge_credential_is_not_even_hashed(world: World) -> None:
    error = await world.refused("Bearer " + "x" * AUTHORIZATION_CHARS_MAX)
    assert str(AUTHORIZATION_CHARS_MAX) in error.message


async def test_the_bootstrap_key_is_an_admin_of_every_project(world: World) -> None:
    for scheme in ("ApiKey", "Bearer"):
        assert await world.authenticate(f"{scheme} {BOOTSTRAP_KEY}") == Caller("bootstrap", ANY_PROJECT, Role.ADMIN)


async def test_the_key_that_workers_begin_with_lets_them_work_and_nothing_else(world: World) -> None:
    assert await world.authenticate(f"ApiKey {WORKER_KEY}") == Caller("workers", ANY_PROJECT, Role.WORKER)


async def test_a_caller_is_remembered_for_a_while_and_no_longer(world: World) -> None:
    for _ in range(3):
        assert await world.authenticate(world.good) == CALLER
    assert world.keys.looked_up == 1
    world.clock.advance(KEPT_S)
    assert await world.authenticate(world.good) == CALLER
    assert world.keys.looked_up == 2


async def test_a_revoked_key_ends_within_five_seconds(world: World) -> None:
    assert KEPT_S + RECHECK_S < 5
    await world.authenticate(world.good)
    world.keys.row = replace(KEY, revoked_at=Micros(2))
    world.clock.advance(KEPT_S)
    await world.refused(world.good)


async def test_where_a_key_is_revoked_it_ends_at_once(world: World) -> None:
    await world.authenticate(world.good)
    world.keys.row = replace(KEY, revoked_at=Micros(2))
    world.authenticate.forget()
    await world.refused(world.good)


async def test_a_key_ends_at_its_expiry_even_if_it_is_remembered(world: World) -> None:
    expires = Micros(world.clock.now_us() + 1_000_000)
    world.keys.row = replace(KEY, expires_at=expires)
    assert (await world.authenticate(world.good)).expires == expires
    world.clock.advance(1)
    await world.refused(world.good)
    world.clock.advance(KEPT_S)
    await world.refused(world.good)


async def test_a_wrong_key_is_remembered_too_but_not_for_long(world: World) -> None:
    for _ in range(3):
        await world.refused(wrong_key(1))
    assert world.keys.looked_up == 1
    world.clock.advance(KEPT_S)
    await world.refused(wrong_key(1))
    assert world.keys.looked_up == 2


async def test_guesses_push_out_no_caller_and_take_no_more_room() -> None:
    world = World(size_max=10)
    await world.authenticate(world.good)
    for number in range(50):
        await world.refused(wrong_key(number))
    assert world.keys.looked_up == 51
    await world.authenticate(world.good)
    assert world.keys.looked_up == 51
    assert len(world.authenticate._refused) == 10


async def test_more_callers_than_there_is_room_for_are_looked_up_again() -> None:
    world = World(size_max=1)
    await world.authenticate(world.good)
    await world.authenticate(f"ApiKey {BOOTSTRAP_KEY}")
    await world.authenticate(world.good)
    assert world.keys.looked_up == 2


async def test_calls_that_come_together_share_one_look(world: World) -> None:
    world.keys.gate = asyncio.Event()
    calls = [asyncio.create_task(world.authenticate(world.good)) for _ in range(20)]
    await world.clock.sleep(0)
    world.keys.gate.set()
    assert await asyncio.gather(*calls) == [CALLER] * 20
    assert world.keys.looked_up == 1


async def test_guesses_do_not_take_every_connection(world: World) -> None:
    world.keys.gate = asyncio.Event()
    calls = [asyncio.create_task(world.refused(wrong_key(number))) for number in range(20)]
    for _ in range(5):
        await world.clock.sleep(0)
    world.keys.gate.set()
    await asyncio.gather(*calls)
    assert world.keys.most_busy == LOOK_UPS_MAX


async def test_guesses_keep_nobody_out_who_is_known(world: World) -> None:
    await world.authenticate(world.good)
    world.clock.advance(KEPT_S)
    world.keys.gate = asyncio.Event()
    guesses = [asyncio.create_task(world.refused(wrong_key(number))) for number in range(20)]
    for _ in range(5):
        await world.clock.sleep(0)
    busy = world.keys.busy
    known = asyncio.create_task(world.authenticate(world.good))
    for _ in range(5):
        await world.clock.sleep(0)
    assert world.keys.busy == busy + 1, "it is looked up beside them, not after them"
    world.keys.gate.set()
    assert await known == CALLER
    await asyncio.gather(*guesses)


async def test_more_unknown_credentials_than_may_wait_are_told_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "WAITING_MAX", 3)
    world.keys.gate = asyncio.Event()
    guesses = [asyncio.create_task(world.refused(wrong_key(number))) for number in range(3)]
    for _ in range(5):
        await world.clock.sleep(0)
    with pytest.raises(FoliotError) as caught:
        await world.authenticate(wrong_key(3))
    assert (caught.value.reason, caught.value.retry_after_s) == (ErrorReason.OVERLOADED, 1.0)
    world.keys.gate.set()
    await asyncio.gather(*guesses)
    await world.refused(wrong_key(3))


async def test_a_database_that_is_away_refuses_nobody(world: World) -> None:
    world.keys.away = True
    with pytest.raises(StoreUnavailable):
        await world.authenticate(world.good)
    world.keys.away = False
    assert await world.authenticate(world.good) == CALLER
