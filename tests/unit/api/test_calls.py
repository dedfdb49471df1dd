"""Who calls: the caller and the project of a call, and whether it may be made."""

from __future__ import annotations

import pytest

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.api.calls import Call, CallReader
from foliot_scheduler.api.credentials import unauthenticated
from foliot_scheduler.core.access import (
    ADMINISTER,
    ANY_PROJECT,
    ANYONE,
    NOBODY,
    OPEN,
    READ,
    READ_ALL,
    WORK,
    WRITE,
    Access,
    Caller,
    Role,
)
from foliot_scheduler.core.types import Project

ACME = Project("acme")
CALLERS = {
    "viewer": Caller("v", ACME, Role.VIEWER),
    "operator": Caller("o", ACME, Role.OPERATOR),
    "admin": Caller("a", ACME, Role.ADMIN),
    "worker": Caller("w", ACME, Role.WORKER),
    "all": Caller("all", ANY_PROJECT, Role.VIEWER),
}


async def authenticate(authorization: str) -> Caller:
    """Know everybody by their name."""
    if authorization not in CALLERS:
        raise unauthenticated()
    return CALLERS[authorization]


OFF = CallReader()
REQUIRED = CallReader(authenticate)


async def refused(metadata: tuple[tuple[str, str], ...], access: Access, reader: CallReader = REQUIRED) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        await reader.read_call(metadata, access)
    return caught.value


async def test_a_call_without_metadata_works_in_the_default_project() -> None:
    assert await OFF.read_call(None, WRITE) == Call(Project("default"))
    assert await OFF.read_call((("foliot-project", ""),), WRITE) == Call(Project("default"))


@pytest.mark.parametrize("name", ["*", "p" * 101, "a b", "a/b", "a:b", "caf\u00e9", "a\n", "'"])
async def test_a_project_has_a_name_that_stands_anywhere_as_it_is(name: str) -> None:
    error = await refused((("foliot-project", name),), READ, OFF)
    assert [found.field for found in error.fields] == ["foliot-project"]


async def test_where_authentication_is_off_a_call_names_its_project() -> None:
    assert await OFF.read_call((("user-agent", "x"), ("foliot-project", "p" * 100)), READ) == Call(Project("p" * 100))


async def test_a_call_says_that_its_key_was_made_for_it() -> None:
    assert await OFF.read_call((("foliot-new-key", "1"),), WRITE) == Call(Project("default"), key_is_new=True)
    named = (("foliot-new-key", "1"), ("foliot-project", "p"))
    assert await OFF.read_call(named, WRITE) == Call(Project("p"), key_is_new=True)
    assert (await REQUIRED.read_call((("foliot-new-key", "1"), ("authorization", "admin")), WRITE)).key_is_new


async def test_where_authentication_is_off_credentials_are_not_looked_at() -> None:
    assert await OFF.read_call((("authorization", "nonsense"),), ADMINISTER) == Call(Project("default"))


async def test_a_forwarded_call_is_known_and_checked_again() -> None:
    assert await OFF.read_call((("foliot-forwarded", "1"),), READ) == Call(Project("default"), forwarded=True)
    assert (await refused((("foliot-forwarded", "1"),), READ)).reason is ErrorReason.UNAUTHENTICATED


@pytest.mark.parametrize("name", ["p" * 101, "*", "a\nb", "\x1f"])
async def test_a_bad_project_is_refused(name: str) -> None:
    for reader in (OFF, REQUIRED):
        error = await refused((("foliot-project", name), ("authorization", "all")), READ, reader)
        assert [violation.field for violation in error.fields] == ["foliot-project"]


async def test_the_project_is_the_credentials_own() -> None:
    own = Call(ACME, caller=CALLERS["viewer"])
    assert await REQUIRED.read_call((("authorization", "viewer"),), READ) == own
    assert await REQUIRED.read_call((("authorization", "viewer"), ("foliot-project", "acme")), READ) == own


async def test_another_project_is_denied() -> None:
    error = await refused((("authorization", "admin"), ("foliot-project", "other")), READ)
    assert (error.reason, error.message) == (ErrorReason.PERMISSION_DENIED, "the credential is for the project acme alone")


async def test_a_credential_for_every_project_names_one() -> None:
    everywhere = CALLERS["all"]
    assert await REQUIRED.read_call((("authorization", "all"),), READ) == Call(Project("default"), caller=everywhere)
    named = (("authorization", "all"), ("foliot-project", "other"))
    assert await REQUIRED.read_call(named, READ) == Call(Project("other"), caller=everywhere)


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (READ, {"viewer", "operator", "admin", "all"}),
        (READ_ALL, {"all"}),
        (WRITE, {"operator", "admin"}),
        (ADMINISTER, {"admin"}),
        (WORK, {"worker", "operator", "admin"}),
        (ANYONE, set(CALLERS)),
        (OPEN, set(CALLERS)),
    ],
)
async def test_each_role_may_do_its_own(access: Access, allowed: set[str]) -> None:
    for name, caller in CALLERS.items():
        metadata = (("authorization", name),)
        if name in allowed:
            assert (await REQUIRED.read_call(metadata, access)).caller is caller
        else:
            assert (await refused(metadata, access)).reason is ErrorReason.PERMISSION_DENIED


async def test_a_denied_call_is_told_what_it_needs() -> None:
    error = await refused((("authorization", "worker"),), WRITE)
    assert error.message == "this needs the role operator or admin; the credential's role is worker"
    error = await refused((("authorization", "viewer"),), READ_ALL)
    assert error.message == "this needs a credential for every project; the credential's project is acme"


async def test_an_open_call_needs_no_credential_but_takes_no_wrong_one() -> None:
    assert await REQUIRED.read_call((), OPEN) == Call(Project("default"), caller=NOBODY)
    assert (await refused((("authorization", "thief"),), OPEN)).reason is ErrorReason.UNAUTHENTICATED


async def test_two_credentials_are_none() -> None:
    error = await refused((("authorization", "viewer"), ("authorization", "admin")), READ)
    assert error.reason is ErrorReason.UNAUTHENTICATED
