"""Who may do what: roles, what an RPC asks of its caller, and what is known of one.

Theory of operation. A credential stands for one caller: a role, and one project or every project (ANY_PROJECT). Each RPC
declares an `Access`: the roles that may call it. Roles do not contain one another as sets of rights are concerned: a worker may
report results, which a viewer may not, and may not read lists, which a viewer may. So each Access names its roles in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from foliot_scheduler.core.types import DEFAULT_PROJECT, Micros, Project


class Role(StrEnum):
    """What a caller may do."""

    VIEWER = "viewer"
    """Reads everything of its project."""
    OPERATOR = "operator"
    """Also creates, changes and ends jobs, runs and tasks, and works as an executor."""
    ADMIN = "admin"
    """Also manages API keys and webhooks."""
    WORKER = "worker"
    """Works: the stream, logs, and the calls of executors. Nothing else."""


ANY_PROJECT: Final = Project("*")
"""The project of credentials that reach every project; no project has this name."""

_STRONGEST_FIRST: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.WORKER)


@dataclass(frozen=True, slots=True)
class Access:
    """What an RPC asks of its caller."""

    roles: tuple[Role, ...]
    """Those that may call it, the weakest first."""
    any_project: bool = False
    """Whether only credentials that reach every project will do: the answer tells of all of them."""
    open: bool = False
    """Whether it is answered without credentials too; wrong ones are refused all the same."""


READ: Final = Access((Role.VIEWER, Role.OPERATOR, Role.ADMIN))
READ_ALL: Final = Access((Role.VIEWER, Role.OPERATOR, Role.ADMIN), any_project=True)
WRITE: Final = Access((Role.OPERATOR, Role.ADMIN))
ADMINISTER: Final = Access((Role.ADMIN,))
WORK: Final = Access((Role.WORKER, Role.OPERATOR, Role.ADMIN))
ANYONE: Final = Access((Role.WORKER, Role.VIEWER, Role.OPERATOR, Role.ADMIN))
OPEN: Final = Access((Role.WORKER, Role.VIEWER, Role.OPERATOR, Role.ADMIN), open=True)


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a caller."""

    subject: str
    """The API key's id, or the token's subject; empty where nobody had to say who they are."""
    project: Project
    """The one it reaches, or ANY_PROJECT."""
    role: Role
    requests_per_minute: int = 0
    """Its rate limit at the gateways; 0: theirs."""
    expires: Micros | None = None
    """When its credential ends; None: never."""
    authenticated: bool = True
    """Whether a credential was checked."""

    @property
    def any_project(self) -> bool:
        """Whether it reaches every project."""
        return self.project == ANY_PROJECT


TRUSTED: Final = Caller("", ANY_PROJECT, Role.ADMIN, authenticated=False)
"""Every caller where authentication is off."""

NOBODY: Final = Caller("", DEFAULT_PROJECT, Role.VIEWER, authenticated=False)
"""A caller without credentials, where an RPC is open to such."""


def denial(caller: Caller, access: Access) -> str | None:
    """Say why a caller may not call an RPC, for people; None if it may."""
    if caller.role not in access.roles:
        return f"this needs the role {' or '.join(access.roles)}; the credential's role is {caller.role}"
    if access.any_project and not caller.any_project:
        return f"this needs a credential for every project; the credential's project is {caller.project}"
    return None


def strongest_role(names: Iterable[str]) -> Role | None:
    """Choose among the roles that a token names: the strongest; worker only if there is no other. Unknown names do not count."""
    named = set(names)
    return next((role for role in _STRONGEST_FIRST if role in named), None)
