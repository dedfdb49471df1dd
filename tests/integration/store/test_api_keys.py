"""API keys in PostgreSQL: found by their hash, listed by project, revoked once, and not without end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.types import Micros, Project
from foliot_scheduler.store import api_keys
from foliot_scheduler.store.api_keys import ApiKeyRow
from foliot_scheduler.store.pool import Pool

ACME, OTHER = Project("acme"), Project("other")
KEY = ApiKeyRow(bytes(16), "ci", ACME, Role.OPERATOR, "fol_abcd", Micros(1_000), Micros(9_000), None, 60)


def key(number: int, project: Project = ACME) -> ApiKeyRow:
    return replace(KEY, id=number.to_bytes(16, "big"), project=project)


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def test_a_key_is_found_by_the_hash_of_its_secret_alone(pool: Pool) -> None:
    assert await api_keys.insert_key(pool, key(1), digest(1))
    assert await api_keys.find_key(pool, digest(1)) == key(1)
    assert await api_keys.find_key(pool, digest(2)) is None


async def test_keys_are_listed_newest_first_by_project(pool: Pool) -> None:
    for number in range(1, 6):
        await api_keys.insert_key(pool, key(number, OTHER if number == 3 else ACME), digest(number))
    first = await api_keys.list_keys(pool, ACME, limit=2)
    assert [found.id[-1] for found in first] == [5, 4]
    assert [found.id[-1] for found in await api_keys.list_keys(pool, ACME, limit=9, end=first[-1].id)] == [2, 1]
    assert len(await api_keys.list_keys(pool, None, limit=9)) == 5


async def test_a_key_is_revoked_once_and_by_its_own_project(pool: Pool) -> None:
    await api_keys.insert_key(pool, key(1), digest(1))
    assert await api_keys.revoke_key(pool, key(1).id, OTHER, now=Micros(2_000)) is None
    revoked = replace(key(1), revoked_at=Micros(2_000))
    assert await api_keys.revoke_key(pool, key(1).id, ACME, now=Micros(2_000)) == revoked
    assert await api_keys.revoke_key(pool, key(1).id, None, now=Micros(3_000)) == revoked
    assert await api_keys.find_key(pool, digest(1)) == revoked


async def test_a_project_has_so_many_keys_that_work(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "KEYS_MAX", 2)
    assert await api_keys.insert_key(pool, key(1), digest(1))
    assert await api_keys.insert_key(pool, key(2), digest(2))
    assert not await api_keys.insert_key(pool, key(3), digest(3))
    assert await api_keys.insert_key(pool, key(3, OTHER), digest(3))
    await api_keys.revoke_key(pool, key(1).id, ACME, now=Micros(2_000))
    assert await api_keys.insert_key(pool, key(4), digest(4))
