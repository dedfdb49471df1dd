"""Who calls, in which project, and whether they may: what every call's metadata says. The one place that reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.following import NEW_KEY_ENTRY
from foliot_scheduler.core.access import NOBODY, TRUSTED, Access, Caller, denial
from foliot_scheduler.core.types import DEFAULT_PROJECT, Project

if TYPE_CHECKING:
    from foliot_scheduler.api.ports import ServicerContext

AUTHORIZATION_ENTRY: Final = "authorization"
"""Metadata entry that carries the credential, as HTTP's header of this name does."""

PROJECT_ENTRY: Final = "foliot-project"
"""Metadata entry that names the project."""

FORWARDED_ENTRY: Final = "foliot-forwarded"
"""Metadata entry of a call that another replica passed on; it is not passed on again."""

PROJECT_CHARS_MAX: Final = 100
_PROJECT_NAME: Final = re.compile(rf"[A-Za-z0-9._~@-]{{1,{PROJECT_CHARS_MAX}}}")
"""What stands in paths and headers as it is: ids of the API `schedules` end in the project's name."""

MetadataEntries = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Call:
    """What a service knows of its caller."""

    project: Project
    """Everything the call sees or makes belongs to it."""
    forwarded: bool = False
    """Whether another replica passed it on."""
    key_is_new: bool = False
    """Whether its idempotency key was made for it, by a client that says so of no second try."""
    caller: Caller = TRUSTED
    """Who calls."""


class Authenticate(Protocol):
    """Says who a credential stands for."""

    async def __call__(self, authorization: str) -> Caller:
        """Check the value of an Authorization entry. Raises FoliotError UNAUTHENTICATED, or StoreError where nobody can say."""
        ...


def remaining_s(context: ServicerContext) -> float | None:
    """What is left of a call's deadline; None if it has none, which gRPC's stubs do not say."""
    return cast("float | None", context.time_remaining())


class CallReader:
    """Reads the metadata of calls and lets in those that may come.

    A forwarded call carries its caller's credential, and is checked again where it arrives: replicas need not trust each other.
    """

    def __init__(self, authenticate: Authenticate | None = None) -> None:
        """Take who checks credentials; None: authentication is off, and every caller may do everything."""
        self._authenticate = authenticate

    @property
    def checks(self) -> bool:
        """Whether callers have to say who they are."""
        return self._authenticate is not None

    async def read_call(self, metadata: MetadataEntries | None, access: Access) -> Call:
        """Answer who calls and in which project.

        Raises FoliotError: UNAUTHENTICATED, PERMISSION_DENIED, INVALID_FIELD for what breaks a rule; StoreError.
        """
        project, authorization, forwarded, key_is_new = "", "", False, False
        for key, value in metadata or ():
            if key == PROJECT_ENTRY and isinstance(value, str):
                project = value
            elif key == AUTHORIZATION_ENTRY and isinstance(value, str):
                if authorization:
                    raise FoliotError(ErrorReason.UNAUTHENTICATED, "the authorization is given twice")
                authorization = value
            elif key == FORWARDED_ENTRY:
                forwarded = True
            elif key == NEW_KEY_ENTRY:
                key_is_new = True
        if project:
            check_project(PROJECT_ENTRY, project)
        if self._authenticate is None:
            if not project and not forwarded:
                return _DEFAULT_WITH_NEW_KEY if key_is_new else _DEFAULT
            return Call(Project(project) if project else DEFAULT_PROJECT, forwarded, key_is_new)
        if not authorization and access.open:
            return Call(DEFAULT_PROJECT, forwarded, caller=NOBODY)
        caller = await self._authenticate(authorization)
        refusal = denial(caller, access)
        if refusal is not None:
            raise FoliotError(ErrorReason.PERMISSION_DENIED, refusal)
        return Call(_project_of(caller, project), forwarded, key_is_new, caller)


_DEFAULT: Final = Call(DEFAULT_PROJECT)
_DEFAULT_WITH_NEW_KEY: Final = Call(DEFAULT_PROJECT, key_is_new=True)


def _project_of(caller: Caller, named: str) -> Project:
    if caller.any_project:
        return Project(named) if named else DEFAULT_PROJECT
    if named and named != caller.project:
        raise FoliotError(
            ErrorReason.PERMISSION_DENIED,
            f"the credential is for the project {caller.project} alone",
            metadata={"project": caller.project},
        )
    return caller.project


def check_project(field: str, name: str) -> None:
    """Hold the name of one project to its rules. Raises FoliotError INVALID_FIELD naming the field."""
    if not _PROJECT_NAME.fullmatch(name):
        rule = f"must name one project: 1 to {PROJECT_CHARS_MAX} letters, digits and . _ ~ @ -"
        raise FoliotError.invalid(field, rule, rule="malformed")
